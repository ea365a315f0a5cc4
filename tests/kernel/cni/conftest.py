"""Two nodes and the world on one wire, with real namespaces for nodes and pods."""

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from netpod.api.meta import Key
from netpod.cni import network
from netpod.linux import link, netns

CLUSTER_CIDR = IPv4Network("10.244.0.0/16")
WORLD = IPv4Address("172.18.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node's namespace, its address on the wire, and its pod network."""

    netns: str
    node_ip: IPv4Address
    config: network.NetworkConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two nodes and the world, which knows no route to pods."""

    world: str
    one: Node
    two: Node


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: no namespace, link or process more than before."""
    before = (netns.list_netns(), [it.name for it in link.observe_links("")])
    yield
    assert (netns.list_netns(), [it.name for it in link.observe_links("")]) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def make_netns(nothing_left: None) -> Iterator[Callable[[], str]]:
    """Make namespaces that go with the test."""
    made: list[str] = []
    numbers = itertools.count(1)

    def make() -> str:
        name = f"netpod-cni-{next(numbers)}"
        netns.create(name)
        made.append(name)
        return name

    yield make
    for name in made:
        netns.delete_netns(name)


@pytest.fixture
def site(make_netns: Callable[[], str], tmp_path: Path) -> Site:
    """Nodes 172.18.0.2 (10.244.1.0/24) and 172.18.0.3 (10.244.2.0/24), the world 172.18.0.1."""
    wire = make_netns()
    link.ensure_bridge(wire, "wire")

    def join(number: int) -> str:
        name = make_netns()
        link.create_veth(
            wire, link.End(name=f"port{number}"), name, link.End(name="eth0"), master="wire"
        )
        link.set_link(name, "lo", up=True)
        link.ensure_address(name, "eth0", IPv4Interface(f"172.18.0.{number}/16"))
        return name

    def node(number: int) -> Node:
        name = join(number)
        config = network.NetworkConfig(
            pod_cidrs=(IPv4Network(f"10.244.{number - 1}.0/24"),),
            state=tmp_path / name,
            netns=name,
        )
        network.prepare(config)
        return Node(netns=name, node_ip=IPv4Address(f"172.18.0.{number}"), config=config)

    return Site(world=join(1), one=node(2), two=node(3))


@pytest.fixture
def node(site: Site) -> Node:
    """The first of the two nodes."""
    return site.one


@pytest.fixture
def make_pod(make_netns: Callable[[], str]) -> Callable[[Node], tuple[str, str]]:
    """Add a pod to a node: its namespace and its address."""
    numbers = itertools.count(1)

    def make(node: Node) -> tuple[str, str]:
        pod = network.PodNetwork(
            key=Key("default", f"pod{next(numbers)}"), uid="1", netns=make_netns()
        )
        result = network.add(node.config, pod)
        return pod.netns, str(result.pod_ip.ip)

    return make


@pytest.fixture
def seen_by() -> Callable[[str, str, str, int, int], str]:
    """Connect over TCP and say which client address the server saw.

    Arguments: client namespace, server namespace, address to connect to, its port, the server's own port.
    """

    def seen(client_netns: str, server_netns: str, address: str, port: int, listen: int) -> str:
        family, anywhere = (
            (socket.AF_INET6, "::") if ":" in address else (socket.AF_INET, "0.0.0.0")
        )
        with (
            netns.socket_in(server_netns, family, socket.SOCK_STREAM) as server,
            netns.socket_in(client_netns, family, socket.SOCK_STREAM) as client,
        ):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((anywhere, listen))
            server.listen()
            server.settimeout(2)
            client.settimeout(2)
            client.connect((address, port))
            accepted, (peer, *_) = server.accept()
            with accepted:
                accepted.sendall(b"hello")
                assert client.recv(16) == b"hello", "the way back works too"
            return str(peer)

    return seen
