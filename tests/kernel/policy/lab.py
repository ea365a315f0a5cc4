"""Two nodes with nine pods, wired by the real pod network; every pod asks every other one at once.

node1 172.18.0.3 cni0 10.244.1.0/24 ---eth0--- node2 172.18.0.4 cni0 10.244.2.0/24
"""

import contextlib
import errno
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netpod.api.meta import Key
from netpod.cni import hostgw, network
from netpod.cni.network import NetworkConfig, PodNetwork
from netpod.linux import netns, process
from tests.unit.policy import builders

PREFIX = "npp-"
PORTS = (80, 81)
PROTOCOLS = ("TCP", "UDP")
NODE_IPS = {"node1": "172.18.0.3", "node2": "172.18.0.4"}
Question = tuple[str, str, str, int]
"""Pod that asks, pod asked, protocol, port."""

QUESTIONS: list[Question] = [
    (source, target, protocol, port)
    for source in builders.ALL
    for target in builders.ALL
    for protocol in PROTOCOLS
    for port in PORTS
]
# A port is used once: the kernel goes on tracking a connection that is over, and lets what looks like its rest pass.
_fresh = {pod: itertools.count(20000) for pod in builders.ALL}
_KIND = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


def node_netns(node: str) -> str:
    """Network namespace of a node."""
    return f"{PREFIX}{node}"


def pod_netns(pod: str) -> str:
    """Network namespace of a pod `namespace/name`."""
    return f"{PREFIX}{pod.replace('/', '-')}"


def config(node: str, state: Path) -> NetworkConfig:
    """Pod network of a node."""
    number = builders.NODES.index(node) + 1
    cidr = IPv4Network(f"10.244.{number}.0/24")
    return NetworkConfig(pod_cidrs=(cidr,), state=state / node, netns=node_netns(node))


def ip(namespace: str, *commands: str) -> None:
    """Run ip(8) commands in a namespace."""
    process.run(["ip", "-batch", "-"], stdin="\n".join(commands).encode(), netns=namespace)


def build(state: Path) -> None:
    """Make nodes and pods."""
    for node in builders.NODES:
        netns.create(node_netns(node))
    ip(
        node_netns("node1"),
        "link set lo up",
        f"link add eth0 type veth peer name eth0 netns {node_netns('node2')}",
    )
    for node, address in NODE_IPS.items():
        name = node_netns(node)
        ip(
            name,
            "link set lo up",
            f"address add {address}/16 dev eth0",
            "link set eth0 up",
            "route add 10.96.0.0/16 dev eth0",  # what a node asks of a cluster IP needs a route before DNAT
        )
        network.prepare(config(node, state))
    for node in builders.NODES:
        others = {
            config(other, state).pod_cidrs[0]: IPv4Address(NODE_IPS[other])
            for other in builders.NODES
            if other != node
        }
        hostgw.sync(node_netns(node), others)
    for pod in builders.ALL:
        name = pod_netns(pod)
        netns.create(name)
        space, _, own = pod.partition("/")
        wired = PodNetwork(key=Key(space, own), uid=pod.replace("/", "-"), netns=name)
        made = network.add(config(builders.node_of(pod), state), wired)
        assert str(made.pod_ip.ip) == builders.address_of(pod)


def destroy() -> None:
    """Delete the namespaces."""
    for name in netns.list_netns(PREFIX):
        netns.delete_netns(name)


@contextlib.contextmanager
def servers() -> Iterator[None]:
    """Every pod takes TCP connections and echoes UDP on both ports until the block ends."""
    poll = selectors.DefaultSelector()
    for pod in builders.ALL:
        for protocol in PROTOCOLS:
            for port in PORTS:
                sock = netns.socket_in(pod_netns(pod), socket.AF_INET, _KIND[protocol])
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("0.0.0.0", port))
                if protocol == "TCP":
                    sock.listen(256)
                poll.register(sock, selectors.EVENT_READ, protocol)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            for key, _ in poll.select(0.05):
                with contextlib.suppress(OSError):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket), "only sockets are registered"
                    if key.data == "TCP":
                        sock.accept()[0].close()
                    else:
                        data, peer = sock.recvfrom(100)
                        sock.sendto(data, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for key in list(poll.get_map().values()):
            assert isinstance(key.fileobj, socket.socket), "only sockets are registered"
            key.fileobj.close()
        poll.close()


def ask(
    questions: Iterable[Question],
    expected: set[Question],
    *,
    patience: float = 5,
    grace: float = 0.06,
) -> set[Question]:
    """Open all these connections at once and return those that came about.

    Waits for the expected ones as long as `patience` says, and then `grace` for others; both in seconds.
    """
    poll = selectors.DefaultSelector()
    by_source: dict[str, list[Question]] = {}
    for question in questions:
        by_source.setdefault(question[0], []).append(question)
    for source, mine in by_source.items():
        for question, sock in netns.call_in(pod_netns(source), _open, mine):
            tcp = question[2] == "TCP"
            event = selectors.EVENT_WRITE if tcp else selectors.EVENT_READ
            poll.register(sock, event, question)
    answered: set[Question] = set()
    deadline = time.monotonic() + patience
    until = None
    while time.monotonic() < (until or deadline):
        for key, _ in poll.select(0.01):
            ready = key.fileobj
            assert isinstance(ready, socket.socket), "only sockets are registered"
            if ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                answered.add(key.data)
            poll.unregister(ready)
            ready.close()
        if until is None and expected <= answered:
            until = time.monotonic() + grace
    for key in list(poll.get_map().values()):
        assert isinstance(key.fileobj, socket.socket), "only sockets are registered"
        key.fileobj.close()
    poll.close()
    return answered


def _open(questions: list[Question]) -> list[tuple[Question, socket.socket]]:
    found = []
    for question in questions:
        source, target, protocol, port = question
        sock = socket.socket(socket.AF_INET, _KIND[protocol])
        sock.setblocking(False)
        sock.bind(("", next(_fresh[source])))
        sock.connect_ex((builders.address_of(target), port))
        if protocol == "UDP":
            sock.send(b"?")
        found.append((question, sock))
    return found


def connects(netns_name: str, address: str, port: int) -> bool:
    """Whether a TCP connection from a namespace comes about within 0.2 s."""
    return _errno(netns_name, address, port) == 0


def refused(netns_name: str, address: str, port: int) -> bool:
    """Whether a TCP connection from a namespace is refused within 0.2 s: it arrived."""
    return _errno(netns_name, address, port) == errno.ECONNREFUSED


def _errno(netns_name: str, address: str, port: int) -> int:
    with netns.socket_in(netns_name, socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.2)
        return sock.connect_ex((address, port))
