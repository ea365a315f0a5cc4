"""What a packet pays in each proxy mode: one Service among N, asked from a pod through its cluster IP.

Run as root, from a checkout:
`PYTHONPATH=. python benchmarks/proxymodes.py [--services 1,100,1000,10000] [--seconds S] [--hand] [--svg FILE]`.
Everything happens in private namespaces, which go with the program.

- first packet: seconds from connect() to the answered handshake, median and 99th percentile; the first packet of a
  connection is the only one that meets the rules of Services, the others are conntrack's;
- connections/s: opened and reset one after the other, from one thread.

Ways that this kernel cannot go are left out: `vagrant/vm.sh` has one with IPVS and legacy iptables, without nf_tables.

The Service asked is the last of N in iptables' order, which is what most Services of a large cluster are.
`past Services` asks the pod itself past iptables (nft, else legacy). `--hand` compares the rules with the same ones
laid by the bare tool, in turn: connections/s, and bytes/s of one connection.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

import proxyplot

from netpod.linux import iptables, ipvs, netns, nft, process, sysctl
from netpod.proxy import compiled, modes, nftables, nftables_table, restore
from netpod.proxy.config import Mode, ProxyConfig, Variant
from netpod.proxy.model import Endpoint, Model, ServicePort, ServicePortName

INSIDE = "NETPOD_BENCHMARK_INSIDE"
NODE, CLIENT, SERVER = "netpod-bench-node", "netpod-bench-client", "netpod-bench-server"
CONFIG = ProxyConfig(
    cluster="bench",
    node_name="worker",
    node_ip=IPv4Address("172.18.0.3"),
    cluster_cidr=IPv4Network("10.244.0.0/16"),
    netns=NODE,
)
ASKED, POD = ("10.96.255.1", 80), ("10.244.1.5", 8080)
WAYS = ("past Services", "iptables (nft)", "iptables (legacy)", "nftables", "ipvs")
T = TypeVar("T")
_RESET = struct.pack("ii", 1, 0)
_CHUNK = bytes(1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One way with N Services: microseconds of a handshake, connections per second."""

    p50: float
    p99: float
    rate: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", default="1,100,1000,10000")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--hand", action="store_true")
    parser.add_argument("--svg", default="")
    options = parser.parse_args()
    if os.environ.get(INSIDE) != "1":
        os.environ[INSIDE] = "1"
        prepare = 'mount -t tmpfs tmpfs /run && exec "$@"'
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp(argv[0], [*argv, "sh", "-c", prepare, "sh", sys.executable, *sys.argv])
    numbers = [int(text) for text in options.services.split(",")]
    if options.hand:
        for number in numbers:
            _compare_with_hand(number, options.seconds)
        return
    nf_tables, ip_vs = nft.supported(), ipvs.present("")
    left_out = set() if nf_tables else {"iptables (nft)", "nftables"}
    left_out |= set() if ip_vs else {"ipvs"}
    ways = [way for way in WAYS if way not in left_out]
    found: dict[str, dict[int, Found]] = {way: {} for way in ways}
    print(f"{'Services':>8}  {'way':18} {'first packet p50':>16} {'p99':>9} {'connections/s':>14}")
    for number in numbers:
        for way in ways:
            with _lab(), _serving():
                _load(way, _model(number), nf_tables=nf_tables)
                target = POD if way == "past Services" else ASKED
                one = found[way][number] = _connects(target, options.seconds)
            print(f"{number:>8}  {way:18} {one.p50:13.0f} µs {one.p99:6.0f} µs {one.rate:14.0f}")
    if options.svg:
        left = {way: {n: f.p50 for n, f in rows.items()} for way, rows in found.items()}
        right = {way: {n: f.rate for n, f in rows.items()} for way, rows in found.items()}
        text = proxyplot.svg([("first packet, µs (p50)", left), ("connections/s", right)])
        with open(options.svg, "w") as file:
            file.write(text)


def _compare_with_hand(number: int, seconds: float) -> None:
    model = _model(number)
    for mode in (Mode.IPTABLES, Mode.NFTABLES):
        rates: dict[str, list[float]] = {"ours": [], "hand": []}
        flows: dict[str, list[float]] = {"ours": [], "hand": []}
        for turn in range(6):
            for who in ("ours", "hand") if turn % 2 else ("hand", "ours"):
                with _lab(), _serving():
                    if who == "ours":
                        asyncio.run(modes.make(mode, CONFIG).full_sync(model))
                    else:
                        _by_hand(mode, model)
                    rates[who].append(_connects(ASKED, seconds).rate)
                    flows[who].append(_in_client(lambda: _throughput(ASKED, seconds)))
        for what, values in (("connections/s", rates), ("bytes/s", flows)):
            ours, hand = (statistics.median(values[who]) for who in ("ours", "hand"))
            print(
                f"{number:>8} {mode:10} {what:14} ours {ours:14.0f}  by hand {hand:14.0f}  "
                f"ratio {ours / hand:.3f}"
            )


def _model(number: int) -> Model:
    services: dict[ServicePortName, ServicePort] = {}
    endpoints: dict[ServicePortName, tuple[Endpoint, ...]] = {}
    for index in range(number):
        last = index == number - 1
        name = ServicePortName(namespace="bench", name="zzz" if last else f"service-{index:05}")
        ip = IPv4Address(ASKED[0]) if last else IPv4Address("10.96.0.1") + index
        services[name] = ServicePort(name=name, cluster_ip=ip, port=80)
        first = IPv4Address("10.128.0.0") + index * 4
        where = [IPv4Address(POD[0])] if last else [first + i for i in range(3)]
        endpoints[name] = tuple(Endpoint(ip=ip, port=8080, is_local=True) for ip in where)
    return Model(services=services, endpoints=endpoints)


def _load(way: str, model: Model, *, nf_tables: bool) -> None:
    variant = Variant.NFT if nf_tables else Variant.LEGACY
    if way == "ipvs":
        config = dataclasses.replace(CONFIG, mode=Mode.IPVS, iptables_variant=variant)
        asyncio.run(modes.make(Mode.IPVS, config).full_sync(model))
        return
    if way == "iptables (legacy)" or variant is Variant.LEGACY:
        # The same text by the other tool: these are the same rules, and 80,000 calls of libiptc take a minute.
        text = _iptables_text(model)
        process.run(["iptables-legacy-restore", "-w", "5", "-n"], stdin=text.encode(), netns=NODE)
        return
    mode = Mode.NFTABLES if way == "nftables" else Mode.IPTABLES
    asyncio.run(modes.make(mode, CONFIG).full_sync(model))


def _by_hand(mode: Mode, model: Model) -> None:
    if mode is Mode.NFTABLES:
        text = nftables_table.list_text(nftables.compile(model, CONFIG))
        nft.apply(NODE, text, timeout=600)
    else:
        iptables.restore(NODE, _iptables_text(model), timeout=600)


def _iptables_text(model: Model) -> str:
    made = compiled.Compiled(CONFIG)
    made.rebuild(model)
    return restore.restore_text(made.against({}))


def _connects(target: tuple[str, int], seconds: float) -> Found:
    took = _in_client(lambda: _connect_for(target, seconds))
    times = sorted(took)
    return Found(
        p50=statistics.median(times) * 1e6,
        p99=times[int(len(times) * 0.99)] * 1e6,
        rate=len(times) / seconds,
    )


def _connect_for(target: tuple[str, int], seconds: float) -> list[float]:
    found: list[float] = []
    clock = time.perf_counter
    end = clock() + seconds
    while (start := clock()) < end:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            # Reset on close: no port waits, and the next connection begins with the same tables.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.settimeout(10)
            sock.connect(target)
            found.append(clock() - start)
    return found


def _throughput(target: tuple[str, int], seconds: float) -> float:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect(target)
        sent, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            sent += sock.send(_CHUNK)
        return sent / (time.perf_counter() - start)


def _in_client(work: Callable[[], T]) -> T:
    """The work in the client's namespace, in a thread that goes there."""
    return netns.call_in(CLIENT, work)


@contextlib.contextmanager
def _serving() -> Iterator[None]:
    """Another process accepts, and reads whatever comes."""
    listener = netns.socket_in(SERVER, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", POD[1]))
    listener.listen(1024)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(KeyboardInterrupt):
            _serve(listener)
        os._exit(0)
    listener.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listener: socket.socket) -> None:
    buffer = bytearray(1 << 16)
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while connection.recv_into(buffer):
                pass


@contextlib.contextmanager
def _lab() -> Iterator[None]:
    for name in (NODE, CLIENT, SERVER):
        netns.create(name)
    try:
        _ip(NODE, "link set lo up", "link add cni0 type bridge", "link set cni0 up")
        _ip(NODE, "address add 10.244.1.1/24 dev cni0", f"address add {CONFIG.node_ip}/16 dev lo")
        sysctl.write(NODE, "net.ipv4.ip_forward", 1)
        for index, (name, address) in enumerate(((CLIENT, "10.244.1.9"), (SERVER, POD[0]))):
            _ip(
                NODE,
                f"link add veth{index} type veth peer name eth0 netns {name}",
                f"link set veth{index} master cni0",
                f"link set veth{index} up",
            )
            _ip(name, "link set lo up", "link set eth0 up", f"address add {address}/24 dev eth0")
            _ip(name, "route add default via 10.244.1.1")
        yield
    finally:
        for name in (NODE, CLIENT, SERVER):
            netns.delete_netns(name)


def _ip(namespace: str, *commands: str) -> None:
    process.run(["ip", "-batch", "-"], stdin="\n".join(commands).encode(), netns=namespace)


if __name__ == "__main__":
    main()
