"""How long 100 pods take from created to Ready, from deleted to gone, and what one costs in CPU time.

Run as root: `python benchmarks/pods.py [--pods N] [--runs N]`. Everything happens in private namespaces, which go
with the program. A Deployment of stand-ins is created at 0 replicas, scaled to N, and back to 0. Pods are seen by a
watch, as any client sees them.

CPU is user and system time of all processes of the cluster, from the scaling to the last Ready, divided by N.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent))
import startup

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.cluster import cleanup
from netpod.linux import process
from netpod.paths import Paths

LIMIT_SECONDS = 3.0
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
    pods, runs = min(arguments.pods, 450), min(arguments.runs, 20)
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    startup.netpod("up")
    try:
        process.run(
            [*startup.NETPOD, "--cluster", startup.NAME, "apply", "-f", "-"], stdin=MANY.encode()
        )
        rounds = [_round(pods) for _ in range(runs)]
    finally:
        startup.netpod("down")
    limit = LIMIT_SECONDS * pods / 100
    created, deleted, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"median of {runs} runs, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    print(
        f"{pods} pods created to Ready  {created:6.2f} s  {pods / created:5.0f} pods/s  limit {limit:g} s"
    )
    print(f"{pods} pods deleted to gone   {deleted:6.2f} s  {pods / deleted:5.0f} pods/s")
    print(f"CPU per pod, all processes {cpu * 1e3:6.1f} ms")
    return int(created > limit)


def _round(pods: int) -> tuple[float, float, float]:
    """Seconds up, seconds down, CPU seconds per pod."""
    client = BlockingClient(Paths(startup.NAME).api_socket)
    spent = _cpu()
    began = time.monotonic()
    _scale_and_see(client, pods, lambda seen: sum(map(_ready, seen.values())) == pods)
    up = time.monotonic() - began
    spent = _cpu() - spent
    began = time.monotonic()
    _scale_and_see(client, 0, lambda seen: not seen)
    down = time.monotonic() - began
    client.close()
    return up, down, spent / pods


def _scale_and_see(
    client: BlockingClient, replicas: int, done: Callable[[dict[str, Any]], bool]
) -> None:
    """Scale and follow the pods by name until they are as wanted."""
    listing = client.request("GET", PODS)
    seen = {pod["metadata"]["name"]: pod for pod in listing["items"]}
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
            if event["type"] == "DELETED":
                seen.pop(name, None)
            else:
                seen[name] = event["object"]
            if done(seen):
                return
    raise SystemExit(f"not within {TIMEOUT_SECONDS} s: {len(seen)} pods, {replicas} wanted")


def _ready(pod: dict[str, Any]) -> bool:
    found = pod["status"].get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in found)


def _cpu() -> float:
    """User and system seconds of the cluster's processes and of their children that ended. Source: proc(5), stat."""
    total = 0
    for pid in cleanup.processes(startup.NAME, cleanup.namespaces(startup.NAME)):
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        total += sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
