"""The same facts on the wire, whichever backend carries pods from node to node."""

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from netpod.cni import backend, flannel, masquerade, network
from netpod.cni.flannel import Backend, Peer
from netpod.ip import Family
from netpod.linux import link, netns, route, vxlan

from .conftest import CLUSTER_CIDR, Node, Site

MakePod = Callable[[Node], tuple[str, str]]
SeenBy = Callable[[str, str, str, int, int], str]
FAMILIES = (Family.IPV4,)


@pytest.fixture(params=list(Backend))
def kind(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    found: Backend = request.param
    return found


@pytest.fixture
def joined(kind: Backend, site: Site) -> Site:
    """Two nodes that reach each other's pods."""
    mtu = flannel.mtu(kind, FAMILIES)
    one, two = (
        replace(node, config=replace(node.config, mtu=mtu)) for node in (site.one, site.two)
    )
    for node in (one, two):
        network.prepare(node.config)
        backend.prepare(kind, node.netns, [node.node_ip], node.config.pod_cidrs)
        masquerade.apply(node.netns, node.config.pod_cidrs[0], CLUSTER_CIDR)
    found = replace(site, one=one, two=two)
    for here, there in ((one, two), (two, one)):
        backend.sync(kind, here.netns, [_peer(kind, there)], families=FAMILIES)
    return found


def _peer(kind: Backend, node: Node) -> Peer:
    """What another node learns of this one from its Node object."""
    said = backend.annotations(kind, [node.node_ip])
    if kind is Backend.VXLAN:
        (found,) = flannel.peers(said, [str(it) for it in node.config.pod_cidrs])
        return found
    return Peer(pod_cidr=node.config.pod_cidrs[0], node_ip=node.node_ip)


def test_pods_of_two_nodes_see_each_others_addresses(
    joined: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """Both ways, without NAT."""
    (one, one_ip), (two, two_ip) = make_pod(joined.one), make_pod(joined.two)
    assert seen_by(one, two, two_ip, 80, 80) == one_ip
    assert seen_by(two, one, one_ip, 80, 80) == two_ip


def test_a_node_reaches_pods_of_another(
    kind: Backend, joined: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """By the address of the link that leads there: in the overlay the first of its own pod CIDR."""
    two, two_ip = make_pod(joined.two)
    wanted = {Backend.HOST_GW: "172.18.0.2", Backend.VXLAN: "10.244.1.0"}
    assert seen_by(joined.one.netns, two, two_ip, 80, 80) == wanted[kind]


def test_the_world_sees_the_nodes_address(joined: Site, make_pod: MakePod, seen_by: SeenBy) -> None:
    """Masqueraded: no pod address leaves the cluster, in the overlay or beside it."""
    one, _ = make_pod(joined.one)
    assert seen_by(one, joined.world, "172.18.0.1", 80, 80) == "172.18.0.2"


def test_the_largest_packet_a_pod_may_send_arrives_whole(
    kind: Backend, joined: Site, make_pod: MakePod
) -> None:
    """Not to be fragmented, as big as the MTU: it arrives; one byte more is refused at home, not lost on the way."""
    (one, _), (two, two_ip) = make_pod(joined.one), make_pod(joined.two)
    assert _mtu(one) == _mtu(two) == flannel.mtu(kind, FAMILIES)
    room = _mtu(one) - 28
    with _udp(one) as sender, _udp(two) as receiver:
        receiver.bind((two_ip, 5000))
        sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: see ip(7)
        sender.sendto(bytes(room), (two_ip, 5000))
        assert len(receiver.recv(65536)) == room
        with pytest.raises(OSError, match="Message too long") as refused:
            sender.sendto(bytes(room + 1), (two_ip, 5000))
        assert refused.value.errno == errno.EMSGSIZE


def test_large_answers_arrive_over_tcp(joined: Site, make_pod: MakePod) -> None:
    """A megabyte, in segments that fit: nothing is fragmented on the wire."""
    (one, _), (two, two_ip) = make_pod(joined.one), make_pod(joined.two)
    with (
        netns.socket_in(two, socket.AF_INET, socket.SOCK_STREAM) as server,
        netns.socket_in(one, socket.AF_INET, socket.SOCK_STREAM) as client,
        _frames(joined.two) as frames,
    ):
        server.bind((two_ip, 80))
        server.listen()
        client.settimeout(5)
        client.connect((two_ip, 80))
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            sent = received = 0
            while received < 1 << 20:
                if sent < 1 << 20:
                    sent += accepted.send(bytes(1 << 16))
                received += len(client.recv(1 << 20))
        seen = frames()
    assert seen, "something was captured"
    assert not any(_is_fragment(frame) for frame in seen)


def test_ways_follow_the_nodes(
    kind: Backend, joined: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """A node that left is not reached, one that came back with another address is."""
    (one, one_ip), (two, two_ip) = make_pod(joined.one), make_pod(joined.two)
    wrong = replace(_peer(kind, joined.two), node_ip=IPv4Address("172.18.0.9"))
    if kind is Backend.VXLAN:
        wrong = replace(wrong, mac="0a:58:00:00:00:09")
    backend.sync(kind, joined.one.netns, [wrong], families=FAMILIES)
    with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
        seen_by(one, two, two_ip, 80, 80)
    backend.sync(kind, joined.one.netns, [], families=FAMILIES)
    ways = [it.destination for it in route.observe(joined.one.netns)]
    assert joined.two.config.pod_cidrs[0] not in ways
    backend.sync(kind, joined.one.netns, [_peer(kind, joined.two)], families=FAMILIES)
    assert seen_by(one, two, two_ip, 80, 80) == one_ip


def test_repeating_it_changes_nothing(kind: Backend, joined: Site) -> None:
    """Links keep their numbers, routes and entries are not made twice."""
    before = _state(joined.one)
    backend.prepare(kind, joined.one.netns, [joined.one.node_ip], joined.one.config.pod_cidrs)
    backend.sync(kind, joined.one.netns, [_peer(kind, joined.two)], families=FAMILIES)
    assert _state(joined.one) == before


def test_a_vxlan_link_that_somebody_changed_is_made_anew(
    site: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """Another MTU or MAC address than the others were told of would lose packets without a word."""
    node = site.one
    cidrs = node.config.pod_cidrs
    backend.prepare(Backend.VXLAN, node.netns, [node.node_ip], cidrs)
    link.set_link(node.netns, "flannel.1", mtu=1200)
    backend.prepare(Backend.VXLAN, node.netns, [node.node_ip], cidrs)
    found = link.observe_link(node.netns, "flannel.1")
    assert found is not None
    assert (found.mtu, found.mac, found.up) == (1450, link.mac_of(node.node_ip), True)
    assert [str(it) for it in link.observe_addresses(node.netns, "flannel.1")] == ["10.244.1.0/32"]


def test_a_node_without_its_half_of_the_overlay_is_left_out() -> None:
    """A Node of another network plugin, or one that has not registered wholly."""
    said = backend.annotations(Backend.VXLAN, [IPv4Address("172.18.0.3")])
    assert (
        said["flannel.alpha.coreos.com/backend-data"] == '{"VNI":1,"VtepMAC":"0a:58:ac:12:00:03"}'
    )
    assert list(flannel.peers(said, ["10.244.2.0/24"])) == [
        Peer(
            pod_cidr=IPv4Network("10.244.2.0/24"),
            node_ip=IPv4Address("172.18.0.3"),
            mac="0a:58:ac:12:00:03",
        )
    ]
    for broken in ({}, {**said, "flannel.alpha.coreos.com/backend-data": "null"}, {"x": "y"}):
        assert list(flannel.peers(broken, ["10.244.2.0/24"])) == []


def _state(node: Node) -> Sequence[object]:
    links = [(it.index, it.name, it.mac, it.mtu) for it in link.observe_links(node.netns)]
    overlay = link.observe_link(node.netns, "flannel.1")
    entries = vxlan.observe_fdb(node.netns, overlay.index) if overlay else {}
    permanent = [it for it in route.observe_neighbours(node.netns) if it.permanent]
    return links, route.observe(node.netns), permanent, entries


def _mtu(name: str) -> int:
    found = link.observe_link(name, "eth0")
    assert found is not None
    return found.mtu


def _udp(name: str) -> socket.socket:
    made = netns.socket_in(name, socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(3)
    return made


@contextmanager
def _frames(node: Node) -> Iterator[Callable[[], list[bytes]]]:
    """What comes in at a node's eth0 from now on, up to a bound."""
    with netns.socket_in(node.netns, socket.AF_PACKET, socket.SOCK_RAW) as tap:
        tap.bind(("eth0", 3))
        tap.setblocking(False)

        def drain() -> list[bytes]:
            seen: list[bytes] = []
            while len(seen) < 1000:
                try:
                    seen.append(tap.recv(65536))
                except BlockingIOError:
                    break
            return seen

        yield drain


def _is_fragment(frame: bytes) -> bool:
    """More fragments, or an offset, in an IPv4 header."""
    if frame[12:14] != b"\x08\x00":
        return False
    return bool(int.from_bytes(frame[20:22], "big") & 0x3FFF)
