"""What a proxy's syncs cost beside the bare tool that is given the same text, in each mode.

Run as root, from a checkout: `PYTHONPATH=. python benchmarks/proxy.py [--mode iptables|nftables] [--services N]
[--endpoints N] [--flips N]`. Everything happens in private namespaces, which go with the program.

- full: from the model in memory to the rules of an empty kernel; beside it `nft -f` or `iptables-restore` of the
  whole text in another namespace;
- flip: one endpoint of one Service changes, from the arrival of the EndpointSlice to the rule in the kernel; beside
  it (iptables) `iptables-restore --noflush` or (nftables) `nft -f` of the same few lines;
- adopt: a proxy that knows nothing starts over rules that are right already.

Both sides of a pair are measured in turn; wall time, and CPU time of this process and its children.

What was found, and why, is in docs/proxy-modes.md.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from netpod.api import discovery
from netpod.api.discovery import EndpointConditions, EndpointPort, EndpointSlice
from netpod.api.meta import ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.linux import iptables, netns, nft
from netpod.proxy import compiled, modes, nftables, nftables_table, restore
from netpod.proxy import iptables as iptables_mode
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.model import Model

INSIDE = "NETPOD_BENCHMARK_INSIDE"
NODE, OTHER = "", "netpod-bench-bare"
"""The proxy's rules are in this process's own namespace, as a node's are."""
CONFIG = ProxyConfig(
    cluster="bench",
    node_name="worker",
    node_ip=IPv4Address("172.18.0.3"),
    cluster_cidr=IPv4Network("10.244.0.0/16"),
    netns=NODE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds of the clock and of the processor."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall * 1000:9.1f} ms, cpu {self.cpu * 1000:9.1f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=list(Mode), action="append")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=3)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--no-bare", action="store_true", help="leave out the bare full load")
    options = parser.parse_args()
    if os.environ.get(INSIDE) != "1":
        os.environ[INSIDE] = "1"
        prepare = 'mount -t tmpfs tmpfs /run && exec "$@"'
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp(argv[0], [*argv, "sh", "-c", prepare, "sh", sys.executable, *sys.argv])
    for mode in map(Mode, options.mode or list(Mode)):
        netns.create(OTHER)
        print(f"{mode}: {options.services} Services x {options.endpoints} endpoints")
        asyncio.run(_measure(mode, options))
        asyncio.run(modes.make(mode, CONFIG).remove())
        netns.delete_netns(OTHER)


async def _measure(mode: Mode, options: argparse.Namespace) -> None:
    before = _resident()
    tracker = ChangeTracker("worker")
    for number in range(options.services):
        tracker.service_changed(None, _service(number))
        tracker.slice_changed(None, _slice(number, range(options.endpoints)))
    tracker.take()
    proxier = modes.make(mode, CONFIG)
    full = _Meter()
    await proxier.full_sync(tracker.model)
    ours = full.took()
    print(f"  full sync      {ours}")
    print(f"  memory of the proxy's state: {_resident() - before} MB")
    if not options.no_bare:
        text = _whole(mode, tracker.model)
        bare = _timed(lambda: _bare(mode, OTHER, text))
        print(f"  bare full load {bare}   ratio {ours.wall / bare.wall:.2f}")
    flips, bares = [], []
    picks = random.Random(1)
    for _ in range(options.flips):
        number = picks.randrange(options.services)
        for endpoints in (range(options.endpoints - 1), range(options.endpoints)):
            meter = _Meter()
            tracker.slice_changed(None, _slice(number, endpoints))
            await proxier.sync(tracker.model, tracker.take())
            flips.append(meter.took())
            await proxier.tidy()
    print(f"  flip           {_spread(flips)}")
    for number in range(min(options.flips, 50)):
        text = _one(mode, tracker.model, number)
        bares.append(_timed(lambda text=text: _bare(mode, NODE, text)))  # type: ignore[misc]
    print(f"  bare flip      {_spread(bares)}")
    del proxier
    meter = _Meter()
    await modes.make(mode, CONFIG).full_sync(tracker.model)
    print(f"  adopt          {meter.took()}")


def _resident() -> int:
    """Megabytes, without what is free: objects of the API that nobody needs any more included."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() >> 20


class _Meter:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def took(self) -> Took:
        return Took(wall=time.perf_counter() - self._wall, cpu=_cpu() - self._cpu)


def _timed(work: Callable[[], None]) -> Took:
    meter = _Meter()
    work()
    return meter.took()


def _cpu() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _spread(found: list[Took]) -> str:
    walls = sorted(took.wall * 1000 for took in found)
    high = walls[min(len(walls) - 1, int(len(walls) * 0.99))]
    cpu = statistics.mean(took.cpu * 1000 for took in found)
    return f"p50 {statistics.median(walls):.1f} ms, p99 {high:.1f} ms, mean cpu {cpu:.1f} ms"


def _whole(mode: Mode, model: Model) -> str:
    if mode is Mode.NFTABLES:
        return nftables_table.list_text(nftables.compile(model, CONFIG))
    made = compiled.Compiled(CONFIG)
    made.rebuild(model)
    return restore.restore_text(made.against({}))


def _one(mode: Mode, model: Model, number: int) -> str:
    """The lines of one Service's chains, as they are."""
    name = sorted(model.services)[number]
    port, endpoints = model.services[name], model.endpoints[name]
    if mode is Mode.NFTABLES:
        chains = nftables.compile_port(port, endpoints, CONFIG).chains
        return nftables_table.transactions(nftables_table.Delta(chains=chains))[0]
    rules = iptables_mode.compile_port(port, endpoints, CONFIG, large=True)
    return restore.restore_text(restore.Delta(changed={"nat": rules.chains}))


def _bare(mode: Mode, where: str, text: str) -> None:
    if mode is Mode.NFTABLES:
        nft.apply(where, text, timeout=600)
    else:
        iptables.restore(where, text, timeout=600)


def _service(number: int) -> Service:
    return Service(
        metadata=ObjectMeta(name=f"service-{number}", namespace="default"),
        spec=ServiceSpec(
            cluster_ip=str(IPv4Address("10.96.0.0") + number + 1),
            ports=(ServicePort(name="http", port=80, protocol="TCP"),),
        ),
    )


def _slice(number: int, endpoints: range) -> EndpointSlice:
    first = IPv4Address("10.128.0.0") + number * 8
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"service-{number}-a",
            namespace="default",
            labels={"kubernetes.io/service-name": f"service-{number}"},
        ),
        address_type="IPv4",
        endpoints=tuple(
            discovery.Endpoint(
                addresses=(str(first + index),),
                node_name="worker",
                conditions=EndpointConditions(ready=True),
            )
            for index in endpoints
        ),
        ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
    )


if __name__ == "__main__":
    main()
