"""How fast pods get Ready and go, and what they cost in CPU time and memory.

Run as root: `python benchmarks/pods.py [--pods N] [--runs N]`. Everything happens in private namespaces, which go
with the program. A Deployment of stand-ins is created at 0 replicas, scaled to N, and back to 0. Pods are seen by a
watch, as any client sees them.

CPU is user and system time of all processes of the cluster, from the scaling to the last Ready, divided by N. Memory is
proportional set size (PSS): what all processes have more with the pods than without, divided by N.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent))
import startup

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.cluster import cleanup, role, status
from netpod.cluster.role import Role
from netpod.linux import process
from netpod.paths import Paths

PODS_PER_SECOND, GONE_PER_SECOND = 100, 200
MEGABYTES, IDLE_SHARE = 4.0, 0.01
IDLE_SECONDS, SETTLE_SECONDS = 5.0, 60
PODS = "/api/v1/namespaces/default/pods"
SCALE = "/apis/apps/v1/namespaces/default/deployments/many/scale"
TIMEOUT_SECONDS = 120
MANY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 0
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 2
      containers: [{name: web, image: netpod.dev/echo, ports: [{containerPort: 8080}]}]
"""


def main() -> int:
    """Measure and print; 1 when pods take longer than the limit (of 100, in proportion)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    pods, runs = min(arguments.pods, 1000), min(arguments.runs, 20)
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("nodeCIDRMaskSize: 22\n")
        file.flush()
        startup.netpod("up", "--config", file.name)
    try:
        process.run(
            [*startup.NETPOD, "--cluster", startup.NAME, "apply", "-f", "-"], stdin=MANY.encode()
        )
        rounds = [_round(pods) for _ in range(runs)]
    finally:
        startup.netpod("down")
    limit = pods / PODS_PER_SECOND
    found = {what: statistics.median(each[what] for each in rounds) for what in rounds[0]}
    print(f"median of {runs} runs, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    created, deleted = pods / found["created"], pods / found["deleted"]
    print(
        f"{pods} pods created to Ready {found['created']:6.2f} s {created:5.0f}/s  limit {PODS_PER_SECOND}/s"
    )
    print(
        f"{pods} pods deleted to gone  {found['deleted']:6.2f} s {deleted:5.0f}/s  limit {GONE_PER_SECOND}/s"
    )
    print(f"CPU per pod, all processes   {found['cpu'] * 1e3:6.1f} ms")
    print(f"PSS per pod, all processes   {found['pss']:6.2f} MB  limit {MEGABYTES:g} MB")
    print(f"CPU of an idle control plane {found['idle']:6.1%}  limit {IDLE_SHARE:.0%}")
    good = (
        found["created"] <= limit
        and deleted >= GONE_PER_SECOND
        and found["pss"] <= MEGABYTES
        and found["idle"] <= IDLE_SHARE
    )
    return int(not good)


def _round(pods: int) -> dict[str, float]:
    """Seconds up and down, CPU seconds and PSS in MB per pod, share of a processor an idle control plane takes."""
    client = BlockingClient(Paths(startup.NAME).api_socket)
    spent, memory = _cpu(), _pss()
    began = time.monotonic()
    _scale_and_see(client, pods, lambda ready, _: ready == pods)
    created = time.monotonic() - began
    spent, memory = _cpu() - spent, _pss() - memory
    # Events of a burst are written afterwards, a few at a time; that is not idleness.
    for _ in range(SETTLE_SECONDS):
        if _busy(1.0) < IDLE_SHARE:
            break
    idle = _busy(IDLE_SECONDS)
    began = time.monotonic()
    _scale_and_see(client, 0, lambda _, seen: not seen)
    deleted = time.monotonic() - began
    client.close()
    return {
        "created": created,
        "deleted": deleted,
        "cpu": spent / pods,
        "pss": memory / pods,
        "idle": idle,
    }


def _busy(seconds: float) -> float:
    """Share of a processor that the control plane takes."""
    pid = role.holder(Paths(startup.NAME), Role("controlplane"))
    before = _ticks(pid)
    threading.Event().wait(seconds)
    return (_ticks(pid) - before) / seconds


def _pss() -> float:
    """PSS of the cluster's processes in MB."""
    pids = cleanup.processes(startup.NAME, cleanup.namespaces(startup.NAME))
    return sum(map(status.pss, pids)) / 1e6


def _scale_and_see(client: BlockingClient, replicas: int, done: Callable[[int, int], bool]) -> None:
    """Scale and follow the pods until so many are Ready, of so many, as are wanted."""
    listing = client.request("GET", PODS)
    seen = {pod["metadata"]["name"]: _ready(pod) for pod in listing["items"]}
    ready = sum(seen.values())
    query = {
        "watch": "true",
        "resourceVersion": listing["metadata"]["resourceVersion"],
        "timeoutSeconds": str(TIMEOUT_SECONDS),
    }
    with client.stream(PODS, query=query) as lines:
        body = {"spec": {"replicas": replicas}}
        client.request("PATCH", SCALE, body=body, content_type=MERGE_PATCH)
        for line in lines:
            event = orjson.loads(line)
            name = event["object"]["metadata"]["name"]
            ready -= seen.pop(name, False)
            if event["type"] != "DELETED":
                seen[name] = _ready(event["object"])
                ready += seen[name]
            if done(ready, len(seen)):
                return
    raise SystemExit(f"not within {TIMEOUT_SECONDS} s: {len(seen)} pods, {replicas} wanted")


def _ready(pod: dict[str, Any]) -> bool:
    found = pod["status"].get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in found)


def _cpu() -> float:
    """User and system seconds of the cluster's processes and of their children that ended."""
    return sum(map(_ticks, cleanup.processes(startup.NAME, cleanup.namespaces(startup.NAME))))


def _ticks(pid: int) -> float:
    """User and system seconds of a process and of its children that ended. Source: proc(5), stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
