"""How soon a killed container runs again, a failed probe reaches every node's rules, and a rolling update is through.

Run as root: `python benchmarks/rollout.py [--runs N]`. Everything happens in private namespaces, which go with the
program. Measured are N of the first two, and three updates:

- restart: SIGKILL of a new pod's container, until the API shows the next one running, and until its port answers;
- flip: a readiness probe that failed, until a connection to the Service's address is refused from every node. The
  probe asks this program, which so knows when it failed; the Service has one endpoint and failureThreshold is 1;
- rollout: a new template with maxUnavailable 0, until every replica is of it, while clients ask the Service all along.

Of at most 100 runs the p99 is the slowest.
"""

import argparse
import errno
import http.client
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent))
import startup

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.cluster.config import ClusterConfig
from netpod.linux import netns, process
from netpod.paths import Paths
from netpod.shim import pidfile

RESTART_SECONDS, FLIP_SECONDS = 0.100, 0.050
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.001
CLIENTS = 2
PROBED, FLIPPED, ROLLED = 9999, "10.96.0.77", "10.96.0.78"
T = TypeVar("T")
DEFAULT = "/api/v1/namespaces/default"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PATHS = Paths(startup.NAME)
NODES = [node.name for node in ClusterConfig().nodes]
WORKER = NODES[-1]
WEB = {"name": "web", "image": "netpod.dev/echo", "ports": [{"containerPort": 8080}]}
APPLICATION = """
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec: {clusterIP: %(address)s, selector: {app: %(name)s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: %(replicas)d
  selector: {matchLabels: {app: %(name)s}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      nodeSelector: %(where)s
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: netpod.dev/echo
        ports: [{containerPort: 8080}]
        readinessProbe: {periodSeconds: 1, failureThreshold: 1, httpGet: %(probe)s}
---
"""


def main() -> int:
    """Measure and print; 1 when a limit is missed or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = min(parser.parse_args().runs, 100)
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    startup.netpod("up")
    try:
        client = BlockingClient(PATHS.api_socket)
        probed = _Probed()
        _apply("flip", FLIPPED, 1, f'{{host: 127.0.0.1, port: {PROBED}, path: "/"}}', WORKER)
        _apply("roll", ROLLED, 3, '{port: 8080, path: "/"}')
        _until(lambda: _rolled(client, "flip") and _rolled(client, "roll"), "both are there")
        flips = [_flip(probed) for _ in range(runs)]
        updates = [_update(client, number) for number in range(3)]
        restarts = [_restart(client, number) for number in range(runs)]
    finally:
        startup.netpod("down")
    print(f"{runs} runs, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    shown = [shown for shown, _ in restarts]
    _say("killed container shown running", shown)
    _say("killed container answers", [answers for _, answers in restarts], RESTART_SECONDS)
    _say("failed probe in all nodes' rules", flips, FLIP_SECONDS)
    _say("rolling update of 3 pods", [seconds for seconds, _, _ in updates])
    asked, failed = (sum(each[n] for each in updates) for n in (1, 2))
    print(f"{'requests during the updates':34}{asked:6d}, {failed} failed  limit 0")
    good = (
        statistics.median(answers for _, answers in restarts) <= RESTART_SECONDS
        and _p99(flips) <= FLIP_SECONDS
        and not failed
    )
    return int(not good)


class _Probed:
    """Answers the readiness probe in the worker's namespace: what it is told to, and when it first said no."""

    def __init__(self) -> None:
        self.ready = True
        self.failed = threading.Event()
        self.when = 0.0
        self._listener = netns.socket_in(
            PATHS.netns_node(WORKER), socket.AF_INET, socket.SOCK_STREAM
        )
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", PROBED))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65536)
                line = "200 OK" if self.ready else "503 Service Unavailable"
                if not self.ready and not self.failed.is_set():
                    self.when = time.monotonic()
                    self.failed.set()
                connection.sendall(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode())


def _flip(probed: _Probed) -> float:
    """Seconds from the probe's failure until the last node refuses."""
    _until(lambda: all(_answer(node, FLIPPED) == 0 for node in NODES), "every node lets in")
    probed.failed.clear()
    probed.ready = False
    if not probed.failed.wait(DEADLINE_SECONDS):
        raise SystemExit("the kubelet does not probe")
    for node in NODES:
        _until(lambda node=node: _answer(node, FLIPPED) == errno.ECONNREFUSED, f"{node} refuses")
    took = time.monotonic() - probed.when
    probed.ready = True
    return took


def _restart(client: BlockingClient, number: int) -> tuple[float, float]:
    """Seconds from the kill of a fresh pod's container until the API says it runs again, and until it answers."""
    name = f"killed-{number}"
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "nodeName": WORKER,
            "containers": [WEB],
        },
    }
    client.request("POST", f"{DEFAULT}/pods", body=body)
    path = f"{DEFAULT}/pods/{name}"
    pod = _until(lambda: _running(client.request("GET", path), 0), "the pod runs")
    address = pod["status"]["podIP"]
    _until(lambda: _answer(WORKER, address, 8080) == 0, "the pod answers")
    identity = pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
    found = pidfile.read(PATHS.node(WORKER) / "containers" / identity)
    if found is None:
        raise SystemExit(f"no process of container {identity}")
    took: dict[str, float] = {}
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={name}",
        "resourceVersion": pod["metadata"]["resourceVersion"],
        "timeoutSeconds": f"{DEADLINE_SECONDS:.0f}",
    }
    with client.stream(f"{DEFAULT}/pods", query=query) as lines:
        began = time.monotonic()
        os.kill(found.pid, signal.SIGKILL)

        def answers() -> None:
            _until(lambda: _answer(WORKER, address, 8080) == errno.ECONNREFUSED, "it is gone")
            _until(lambda: _answer(WORKER, address, 8080) == 0, "it answers")
            took["answers"] = time.monotonic() - began

        asking = threading.Thread(target=answers)
        asking.start()
        next(line for line in lines if _running(orjson.loads(line)["object"], 1))
        took["shown"] = time.monotonic() - began
        asking.join()
    client.request("DELETE", path)
    return took["shown"], took["answers"]


def _running(pod: dict[str, Any], restarts: int) -> dict[str, Any] | None:
    for found in pod["status"].get("containerStatuses", ()):
        if found["restartCount"] == restarts and "running" in found["state"]:
            return pod
    return None


def _update(client: BlockingClient, number: int) -> tuple[float, int, int]:
    """Seconds of a rolling update, requests meanwhile, and how many of them failed."""
    over = threading.Event()
    asked: list[bool] = []
    clients = [
        threading.Thread(target=_ask, args=(NODES[each % len(NODES)], over, asked))
        for each in range(CLIENTS)
    ]
    for each in clients:
        each.start()
    template = {"metadata": {"annotations": {"update": str(number)}}}
    began = time.monotonic()
    client.request(
        "PATCH",
        f"{DEPLOYMENTS}/roll",
        body={"spec": {"template": template}},
        content_type=MERGE_PATCH,
    )
    _until(lambda: _rolled(client, "roll"), "the update is through", 0.02)
    took = time.monotonic() - began
    threading.Event().wait(1)
    over.set()
    for each in clients:
        each.join()
    return took, len(asked), asked.count(False)


def _ask(node: str, over: threading.Event, asked: list[bool]) -> None:
    while not over.is_set():
        connection = http.client.HTTPConnection(ROLLED, timeout=5)
        try:
            connection.sock = _socket(node, 5)
            connection.sock.connect((ROLLED, 80))
            connection.request("GET", "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            asked.append(answer.status == 200)
        except (OSError, http.client.HTTPException):
            asked.append(False)
        finally:
            connection.close()


def _rolled(client: BlockingClient, name: str) -> bool:
    deployment = client.request("GET", f"{DEPLOYMENTS}/{name}")
    status = deployment["status"]
    counts = {status.get(it, 0) for it in ("replicas", "updatedReplicas", "availableReplicas")}
    return status.get("observedGeneration", 0) >= deployment["metadata"][
        "generation"
    ] and counts == {deployment["spec"]["replicas"]}


def _apply(name: str, address: str, replicas: int, probe: str, node: str = "") -> None:
    where = f"{{kubernetes.io/hostname: {node}}}" if node else "{}"
    text = APPLICATION % {
        "name": name,
        "address": address,
        "replicas": replicas,
        "probe": probe,
        "where": where,
    }
    process.run(
        [*startup.NETPOD, "--cluster", startup.NAME, "apply", "-f", "-"], stdin=text.encode()
    )


def _answer(node: str, address: str, port: int = 80) -> int:
    """What connecting from a node comes to: 0 or the errno."""
    with _socket(node, 1) as asking:
        try:
            return asking.connect_ex((address, port))
        except TimeoutError:
            return errno.ETIMEDOUT


def _socket(node: str, timeout: float) -> socket.socket:
    found = netns.socket_in(PATHS.netns_node(node), socket.AF_INET, socket.SOCK_STREAM)
    found.settimeout(timeout)
    return found


def _until(fact: Callable[[], T], what: str, pause: float = POLL_SECONDS) -> T:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (found := fact()):
        if time.monotonic() > end:
            raise SystemExit(f"not within {DEADLINE_SECONDS:.0f} s: {what}")
        threading.Event().wait(pause)
    return found


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def _say(what: str, values: list[float], limit: float = 0.0) -> None:
    wanted = f"  limit {limit * 1e3:.0f} ms" if limit else ""
    print(
        f"{what:34}{statistics.median(values) * 1e3:8.1f} ms median{_p99(values) * 1e3:9.1f} ms p99{wanted}"
    )


if __name__ == "__main__":
    sys.exit(main())
