"""One node with two pods, and a client beyond its wire: real namespaces, sockets and packets.

client 172.18.0.1 --- eth0 172.18.0.3 [node] cni0 10.244.1.1 --- eth0 10.244.1.5 [pod1], 10.244.1.6 [pod2]
"""

import asyncio
import contextlib
import dataclasses
import os
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from netpod.ip import Family
from netpod.linux import netns, process, sysctl
from netpod.proxy import modes
from netpod.proxy.config import Variant
from netpod.proxy.model import Model
from netpod.proxy.proxier import Proxier
from tests.unit.proxy import builders, families

T = TypeVar("T")
Apply = Callable[..., Proxier]
CLIENT, NODE, POD1, POD2 = "npt-client", "npt-node", "npt-pod1", "npt-pod2"
PODS = {POD1: "10.244.1.5", POD2: "10.244.1.6"}
# User Mode Linux has no nf_tables for IP.
RULES = Variant.LEGACY if os.environ.get("NETPOD_VM") == "uml" else Variant.NFT
NODE_IP, CLIENT_IP = "172.18.0.3", "172.18.0.1"


def ip(namespace: str, *commands: str) -> None:
    """Run ip(8) commands in a namespace, in the family of now."""
    text = families.told("\n".join(commands))
    six = families.family() is Family.IPV6
    if six:
        # Nobody is asked whether an address is taken.
        text = re.sub(r"^(address add .*)$", r"\1 nodad", text, flags=re.MULTILINE)
    argv = ["ip", *(["-6"] if six else []), "-batch", "-"]
    process.run(argv, stdin=text.encode(), netns=namespace)


def build() -> None:
    """Make the namespaces and the wires."""
    for name in (CLIENT, NODE, POD1, POD2):
        netns.create(name)
    ip(
        NODE,
        "link set lo up",
        "link add cni0 type bridge",
        "address add 10.244.1.1/24 dev cni0",
        "link set cni0 up",
        f"link add eth0 type veth peer name eth0 netns {CLIENT}",
        f"address add {NODE_IP}/16 dev eth0",
        "link set eth0 up",
        f"route add default via {CLIENT_IP}",
    )
    sysctl.write(NODE, "net.ipv4.ip_forward", 1)
    ip(
        CLIENT,
        "link set lo up",
        "link set eth0 up",
        f"address add {CLIENT_IP}/16 dev eth0",
        *(f"route add {to} via {NODE_IP}" for to in ("10.0.0.0/8", "203.0.113.0/24")),
    )
    for number, (pod, address) in enumerate(PODS.items()):
        ip(
            NODE,
            f"link add veth{number} type veth peer name eth0 netns {pod}",
            f"link set veth{number} master cni0",
            f"link set veth{number} type bridge_slave hairpin on",
            f"link set veth{number} up",
        )
        ip(
            pod,
            "link set lo up",
            "link set eth0 up",
            f"address add {address}/24 dev eth0",
            "route add default via 10.244.1.1",
        )


def destroy() -> None:
    """Delete the namespaces."""
    for name in (CLIENT, NODE, POD1, POD2):
        netns.delete_netns(name)


def anywhere() -> str:
    """The address of every link."""
    return "::" if families.family() is Family.IPV6 else "0.0.0.0"


@contextlib.contextmanager
def tcp_server(namespace: str, port: int = 8080) -> Iterator[None]:
    """Say `NAMESPACE CLIENT` to each connection, then what it says, until the block ends."""
    listener = netns.socket_in(namespace, families.family().af, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((anywhere(), port))
    listener.listen(32)

    def serve(connection: socket.socket, peer: str) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{namespace} {peer}\n".encode())
            while data := connection.recv(4096):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = listener.accept()
                threading.Thread(
                    target=serve, args=(connection, families.heard(peer[0])), daemon=True
                ).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@contextlib.contextmanager
def udp_server(namespace: str, port: int = 5353) -> Iterator[None]:
    """Answer each datagram with the namespace's name until the block ends."""
    server = netns.socket_in(namespace, families.family().af, socket.SOCK_DGRAM)
    server.bind((anywhere(), port))
    server.settimeout(0.05)
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                _, peer = server.recvfrom(100)
                server.sendto(namespace.encode(), peer)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        server.close()


@contextlib.contextmanager
def http_server(namespace: str, port: int, status: int) -> Iterator[None]:
    """Answer every request with that status until the block ends."""
    listener = netns.socket_in(namespace, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", port))
    listener.listen(8)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(f"HTTP/1.0 {status} Said\r\n\r\n".encode())

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def connect(namespace: str, address: str, port: int, *, timeout: float = 0.5) -> socket.socket:
    """Open a TCP connection from a namespace."""
    sock = netns.socket_in(namespace, families.family().af, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect((families.told(address), port))
    except OSError:
        sock.close()
        raise
    return sock


def ask(namespace: str, address: str, port: int = 80, *, timeout: float = 0.5) -> tuple[str, str]:
    """Which pod answered a TCP connection, and whom it saw as the client."""
    with connect(namespace, address, port, timeout=timeout) as sock:
        pod, peer = sock.makefile().readline().split()
    return pod, peer


def apply(model: Model, proxier: Proxier | None = None, **config: Any) -> Proxier:
    """Hand a model's rules to the node's kernel."""
    proxier = proxier or new_proxier(**config)
    run(proxier.full_sync(model))
    return proxier


def new_proxier(**config: Any) -> Proxier:
    """A proxier of the node that knows nothing yet; in iptables mode unless `mode` says otherwise."""
    made = dataclasses.replace(families.told_config(builders.CONFIG), **{**config, "netns": NODE})
    return modes.make(made.mode, made)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine to its end."""
    return asyncio.run(coroutine)
