"""Requests a second through the ingress against a bare HAProxy, and requests that fail while routes change.

Run as root: `python benchmarks/ingress.py [--seconds N] [--rounds N] [--changes N]`; needs Debian's wrk. Everything
happens in private namespaces, which go with the program. Servers are HAProxies in pods that answer 200 themselves. wrk
stands on the node of the ingress' pod. In turn, so that whatever else the machine does meets both, it asks

- bare: a HAProxy with one rule and no log, in the ingress' own pod, in front of the same Service;
- ingress: the ingress, an Ingress among 50 others;
- gateway: the same by a Gateway and an HTTPRoute with 10 rules.

Then it asks the ingress for five times N seconds while routes, Services and endpoints change; no request may fail.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import startup

from netpod.client.blocking import BlockingClient
from netpod.linux import process
from netpod.paths import Paths

LIMIT = 0.95
BARE_PORT = 8888
CONNECTIONS = 16
SERVER = """
global
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 1s
frontend server
    bind :8080
    http-request return status 200 content-type text/plain string "hello, world\\n"
"""
BARE = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 1s
    http-reuse safe
frontend bare
    bind {address}:{port}
    default_backend web
backend web
    server one {service}:80
"""
WEB = """
apiVersion: v1
kind: ConfigMap
metadata: {name: server}
data:
  haproxy.cfg: |
SERVER
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: netpod.dev/host
        command: [haproxy, -db, -f, /cfg/haproxy.cfg]
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}}
        volumeMounts: [{name: cfg, mountPath: /cfg}]
      volumes: [{name: cfg, configMap: {name: server}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: netpod
  listeners: [{name: http, port: 80, protocol: HTTP}]
"""
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_DONE = re.compile(r"(\d+) requests in")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--changes", type=int, default=50)
    arguments = parser.parse_args()
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    startup.netpod("up")
    try:
        return _measure(
            min(arguments.seconds, 20), min(arguments.rounds, 10), min(arguments.changes, 500)
        )
    finally:
        startup.netpod("down")


def _measure(seconds: int, rounds: int, changes: int) -> int:
    paths = Paths(startup.NAME)
    api = BlockingClient(paths.api_socket)
    argv = [*startup.NETPOD, "--cluster", startup.NAME]
    process.run([*argv, "apply", "-f", "-"], stdin=_manifest())
    process.run([*argv, "wait", "--for=condition=Available", "deploy/web"], timeout=60)
    for number in range(50):
        _ingress(api, f"other-{number}")
    _ingress(api, "web")
    _route(api)
    pod = next(
        p
        for p in api.request("GET", "/api/v1/namespaces/kube-system/pods")["items"]
        if p["metadata"]["name"].startswith("ingress-")
    )
    node, address = paths.netns_node(pod["spec"]["nodeName"]), pod["status"]["podIP"]
    inside = paths.netns_pod(pod["spec"]["nodeName"], "kube-system", pod["metadata"]["name"])
    service = api.request("GET", "/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(BARE.format(address=address, port=BARE_PORT, service=service))
        file.flush()
        bare = process.spawn(["haproxy", "-db", "-f", file.name], netns=inside)
        try:
            places = {"bare": BARE_PORT, "ingress": 80, "gateway": 10000}
            for port in places.values():
                _await(node, address, port)
            found: dict[str, list[float]] = {what: [] for what in places}
            for _ in range(rounds):
                for what, port in places.items():
                    found[what].append(_wrk(node, address, port, seconds)[0])
        finally:
            os.kill(bare, 9)
            os.waitpid(bare, 0)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, {CONNECTIONS} connections")
    floor = statistics.median(found["bare"])
    missed = False
    for what, rates in found.items():
        rate = statistics.median(rates)
        limit = "" if what != "ingress" else f"  limit {LIMIT}"
        missed = missed or (what == "ingress" and rate / floor < LIMIT)
        print(f"{what:9}{rate:10.0f} requests/s  {rate / floor:5.2f} x bare{limit}")
    stop = threading.Event()
    changing = threading.Thread(target=_change, args=(api, changes, seconds * 5 / changes, stop))
    changing.start()
    rate, done, bad = _wrk(node, address, 80, seconds * 5 + 1)
    stop.set()
    changing.join()
    print(
        f"changing {rate:10.0f} requests/s  {changes} changes, {done} requests, failed: {bad or 0}"
    )
    return int(missed or bool(bad))


def _manifest() -> bytes:
    lines = "".join(f"    {line}\n" for line in SERVER.splitlines())
    return WEB.replace("SERVER\n", lines).encode()


def _ingress(api: BlockingClient, name: str, service: str = "web") -> None:
    port = {"service": {"name": service, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": port}]
    rules = [{"host": f"{name}.example", "http": {"paths": paths}}]
    body = {"metadata": {"name": name}, "spec": {"rules": rules}}
    api.request("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", body=body)


def _route(api: BlockingClient) -> None:
    web: dict[str, Any] = {"backendRefs": [{"name": "web", "port": 80}]}
    rules = [{**web, "matches": [{"path": {"value": f"/{n}"}, "method": "POST"}]} for n in range(9)]
    spec = {"parentRefs": [{"name": "gw"}], "hostnames": ["web.example"], "rules": [*rules, web]}
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
    api.request("POST", path, body={"metadata": {"name": "web"}, "spec": spec})


def _change(api: BlockingClient, changes: int, pause: float, stop: threading.Event) -> None:
    """In turn: a Service and an Ingress for it (a reload), an Ingress more (none), one less, another number of pods."""
    services = "/api/v1/namespaces/default/services"
    ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    for number in range(changes):
        if stop.is_set():
            return
        match number % 4:
            case 0:
                spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
                body = {"metadata": {"name": f"new-{number}"}, "spec": spec}
                api.request("POST", services, body=body)
                _ingress(api, f"new-{number}", f"new-{number}")
            case 1:
                _ingress(api, f"new-{number}")
            case 2:
                api.request("DELETE", f"{ingresses}/new-{number - 1}")
            case _:
                path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
                replicas = 2 + number % 8 // 4
                patch = {"spec": {"replicas": replicas}}
                api.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
        stop.wait(pause)


def _wrk(node: str, address: str, port: int, seconds: int) -> tuple[float, int, str]:
    """Requests a second, requests, and what failed."""
    argv = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s"]
    argv += ["-H", "Host: web.example", f"http://{address}:{port}/"]
    said = process.run(argv, netns=node, timeout=seconds + 30).stdout.decode()
    rate, done, bad = _RATE.search(said), _DONE.search(said), _BAD.search(said)
    assert rate is not None, said
    assert done is not None, said
    return float(rate[1]), int(done[1]), bad[0] if bad else ""


def _await(node: str, address: str, port: int) -> None:
    """Wait until a request is answered 200."""
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: web.example"]
    for _ in range(500):
        try:
            got = process.run([*argv, f"http://{address}:{port}/"], netns=node).stdout
        except Exception:  # noqa: BLE001 - curl's own code for a refused connection
            got = b""
        if got == b"200":
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{address}:{port} does not answer")


if __name__ == "__main__":
    sys.exit(main())
