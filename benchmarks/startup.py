"""How long `netpod up` takes until DNS, ingress and load balancer answer, what it costs, and `down`.

Run as root: `python benchmarks/startup.py [--runs N]`. Everything happens in private namespaces, which go with the
program. Each run measures, in turn, so that whatever else the machine does meets all of them:

- floor: an interpreter that imports what every process of a cluster needs, then the same network namespaces made bare;
- up: the command, from its start to its end: all parts answered real packets;
- get: `netpod get pods`, the whole command;
- down: the command, with the idle cluster.

Memory is the proportional set size (PSS) of all processes of the idle cluster, one second after it started.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from netpod.cluster import cleanup, status
from netpod.cluster.config import ClusterConfig
from netpod.linux import netns, process

INSIDE = "NETPOD_BENCHMARK_INSIDE"
ROOT = Path(__file__).resolve().parents[1]
NETPOD = (sys.executable, "-c", "from netpod_cli.main import entry; entry()")
NAME = "bench"
LIMITS = {"up": 2.0, "get": 0.150, "PSS": 150.0}
SETTLE_SECONDS = 1.0


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = min(parser.parse_args().runs, 50)
    if os.environ.get(INSIDE) != "1":
        enter_private_namespaces()
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        for what, value in _run().items():
            found.setdefault(what, []).append(value)
    print(f"median of {runs} runs, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    medians = {what: statistics.median(values) for what, values in found.items()}
    for what, value in medians.items():
        unit = "MB" if what == "PSS" else "s"
        limit = f"  limit {LIMITS[what]:g} {unit}" if what in LIMITS else ""
        ratio = "" if unit == "MB" else f"  {value / medians['floor']:5.2f} x floor"
        print(
            f"{what:6}{value:9.3f} {unit:2}{ratio}  ({min(found[what]):.3f} to {max(found[what]):.3f}){limit}"
        )
    return int(any(medians[what] > limit for what, limit in LIMITS.items()))


def enter_private_namespaces() -> None:
    """Replace this process by the same program in namespaces of its own, with the checkout importable."""
    os.environ[INSIDE] = "1"
    prepare = (
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && mkdir -p /run/source && "
        'ln -s "$0/netpod" /run/source/netpod && ln -s "$0/cli" /run/source/netpod_cli && '
        'ip link set lo up && PYTHONPATH=/run/source exec "$@"'
    )
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp(argv[0], [*argv, "sh", "-c", prepare, str(ROOT), sys.executable, *sys.argv])


def netpod(*argv: str) -> float:
    """Run a command and return the seconds it took."""
    return _timed([*NETPOD, "--cluster", NAME, *argv])


def _run() -> dict[str, float]:
    took = {"floor": _floor(), "up": netpod("up")}
    threading.Event().wait(SETTLE_SECONDS)
    pids = cleanup.processes(NAME, cleanup.namespaces(NAME))
    took["PSS"] = sum(map(status.pss, pids)) / 1e6
    took["get"] = netpod("get", "pods")
    took["down"] = netpod("down")
    return took


def _floor() -> float:
    """Seconds to import all of it once, and to make the namespaces of the default cluster with nothing in them."""
    began = time.monotonic()
    _timed(
        [sys.executable, "-P", "-c", "import netpod.cluster.controlplane, netpod.cluster.processes"]
    )
    names = [f"netpod-floor-{number}" for number in range(3 + len(ClusterConfig().nodes))]
    for name in names:
        netns.create(name)
    took = time.monotonic() - began
    for name in names:
        netns.delete_netns(name)
    return took


def _timed(argv: Sequence[str]) -> float:
    began = time.monotonic()
    process.run(argv, timeout=120)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
