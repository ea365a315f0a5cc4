"""How many queries one replica of cluster DNS answers, how fast, and how soon a new Service has a name.

Run as root: `python benchmarks/dns.py [--seconds N]`; needs Debian's dnsperf. Everything happens in private namespaces,
which go with the program. A cluster has 200 Services; dnsperf stands on a replica's node and asks it at its address:

- floor: the same library, uvloop over UDP, that sends one fixed answer back, on that node;
- mixed: names of Services, endpoints' search lists (two of three do not exist), SRV, PTR and AAAA (no such record);
- changing: the same while a Service comes or goes 20 times a second, which empties the cache of answers each time;
- p99: latency at 5,000 queries a second, mixed;
- fresh: from a Service's POST to its first positive answer, asked again every 2 ms.
"""

import argparse
import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# This file has the name of a library, which must come first.
sys.path.remove(str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parent))
import dns.message
import dns.rcode
import startup

from netpod.client.blocking import BlockingClient
from netpod.errors import ApiError
from netpod.linux import netns, process
from netpod.paths import Paths

SERVICES = 200
RATE = 5000
FRESH = 50
LIMITS = {"mixed": 5000.0, "p99": 5.0, "fresh": 50.0}
FLOOR_PORT = 5353
PATH = "/api/v1/namespaces/default/services"
_QPS = re.compile(r"Queries per second:\s+([0-9.]+)")
_LOST = re.compile(r"Queries lost:\s+(\d+)")
_SEEN = re.compile(r"^> \w+ \S+ \w+ ([0-9.]+)$", re.MULTILINE)


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    seconds = max(1, min(parser.parse_args().seconds, 30))
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    startup.netpod("up")
    try:
        return _measure(seconds)
    finally:
        startup.netpod("down")


def _measure(seconds: int) -> int:
    paths = Paths(startup.NAME)
    api = BlockingClient(paths.api_socket)
    for number in range(SERVICES):
        api.request("POST", PATH, body=_service(f"web-{number}"))
    pods = api.request("GET", "/api/v1/namespaces/kube-system/pods")["items"]
    pod = next(p for p in pods if p["metadata"]["name"].startswith("dns-"))
    node, address = paths.netns_node(pod["spec"]["nodeName"]), pod["status"]["podIP"]
    with tempfile.NamedTemporaryFile("w", suffix=".queries") as file:
        file.write("".join(_queries(api)))
        file.flush()
        perf = ["dnsperf", "-d", file.name, "-l", str(seconds), "-c", "8", "-W"]
        with _floor(node):
            floor = _qps([*perf, "-s", "127.0.0.1", "-p", str(FLOOR_PORT)], node)
        mixed = _qps([*perf, "-s", address], node)
        with _changes(api):
            changing = _qps([*perf, "-s", address], node)
        said = _run([*perf, "-s", address, "-Q", str(RATE), "-v"], node)
        latencies = sorted(float(text) * 1000 for text in _SEEN.findall(said))
    fresh = sorted(_fresh(api, node, address, f"fresh-{number}") for number in range(FRESH))
    found = {
        "floor": (floor, "queries/s"),
        "mixed": (mixed, f"queries/s  {mixed / floor:4.2f} x floor"),
        "changing": (changing, f"queries/s  {changing / floor:4.2f} x floor"),
        "p50": (latencies[len(latencies) // 2], "ms"),
        "p99": (latencies[len(latencies) * 99 // 100], "ms"),
        "fresh": (fresh[-1], f"ms at most, median {statistics.median(fresh):.1f}, of {FRESH}"),
    }
    print(f"{SERVICES} Services, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    missed = False
    for what, (value, unit) in found.items():
        limit = LIMITS.get(what)
        wrong = limit is not None and (value < limit if what == "mixed" else value > limit)
        missed = missed or wrong
        text = f"  limit {limit:g}{', MISSED' if wrong else ''}" if limit is not None else ""
        print(f"{what:9}{value:10.2f} {unit}{text}")
    return int(missed)


def _service(name: str) -> dict[str, object]:
    ports = [{"name": "http", "port": 80}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}


def _queries(api: BlockingClient) -> Iterator[str]:
    zone = "default.svc.cluster.local"
    for item in api.request("GET", PATH)["items"]:
        name = item["metadata"]["name"]
        turned = ".".join(reversed(item["spec"]["clusterIP"].split(".")))
        yield f"{name}.{zone} A\n{name}.{zone} AAAA\n"
        yield f"{name}.default.{zone} A\n{name}.default.svc.cluster.local A\n"
        yield f"{name}.default.cluster.local A\n"
        yield f"_http._tcp.{name}.{zone} SRV\n{turned}.in-addr.arpa PTR\n"


def _run(argv: list[str], node: str) -> str:
    return process.run(argv, netns=node, timeout=120).stdout.decode()


def _qps(argv: list[str], node: str) -> float:
    said = _run(argv, node)
    qps, lost = _QPS.search(said), _LOST.search(said)
    assert qps is not None, said
    assert lost is not None, said
    assert int(lost[1]) < 10, f"{lost[1]} queries lost"
    return float(qps[1])


_FLOOR = """
import asyncio, uvloop
class Same(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, addr):
        self.transport.sendto(data[:2] + b"\\x84\\x80" + data[4:], addr)
async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Same, local_addr=("127.0.0.1", %d))
    await asyncio.Event().wait()
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())
"""


@contextmanager
def _floor(node: str) -> Iterator[None]:
    pid = process.spawn([sys.executable, "-c", _FLOOR % FLOOR_PORT], netns=node)
    try:
        with netns.socket_in(node, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            sock.connect(("127.0.0.1", FLOOR_PORT))
            query = dns.message.make_query("a.b", "A").to_wire()
            for _ in range(100):
                try:
                    sock.send(query)
                    sock.recv(512)
                    break
                except OSError:
                    threading.Event().wait(0.05)
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@contextmanager
def _changes(api: BlockingClient) -> Iterator[None]:
    stop = threading.Event()
    other = BlockingClient(Paths(startup.NAME).api_socket)

    def change() -> None:
        number = 0
        while not stop.wait(0.05):
            name = f"change-{number // 2}"
            try:
                if number % 2:
                    other.request("DELETE", f"{PATH}/{name}")
                else:
                    other.request("POST", PATH, body=_service(name))
            except ApiError:
                pass
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _fresh(api: BlockingClient, node: str, address: str, name: str) -> float:
    """Milliseconds until a new Service has a name."""
    query = dns.message.make_query(f"{name}.default.svc.cluster.local", "A").to_wire()
    with netns.socket_in(node, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((address, 53))
        began = time.monotonic()
        api.request("POST", PATH, body=_service(name))
        while True:
            sock.send(query)
            if dns.message.from_wire(sock.recv(4096)).rcode() == dns.rcode.NOERROR:
                return (time.monotonic() - began) * 1000
            assert time.monotonic() - began < 10, f"{name} has no name after 10 s"
            threading.Event().wait(0.002)


if __name__ == "__main__":
    sys.exit(main())
