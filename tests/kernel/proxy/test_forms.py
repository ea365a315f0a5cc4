"""What each form of a Service does to packets, and what its changes do, in every mode and variant."""

import contextlib
import dataclasses
import select
import socket
from collections.abc import Iterator

import pytest

from netpod.api.discovery import Endpoint
from netpod.api.service import ClientIPConfig, SessionAffinityConfig
from netpod.ip import Family
from netpod.linux import conntrack, netns, sysctl
from netpod.proxy.config import Mode
from tests.kernel.proxy import lab, pair
from tests.kernel.proxy.pair import FAR, NEAR, NODES, OUTSIDE, PODS, WORKER, WORKER2, A, B, C
from tests.unit.proxy import families
from tests.unit.proxy.builders import endpoint_slice, entry, port, service

CLUSTER_IP, VIP = "10.96.45.12", "203.0.113.10"
DNS = (("dns", 5353, "UDP"),)


def at(*pods: str, **conditions: bool) -> list[Endpoint]:
    """Endpoints at these pods."""
    return [entry(PODS[p], pair.NODE_NAMES[pair.NODE_OF[p]], **conditions) for p in pods]


@pytest.fixture(autouse=True)
def _empty(nodes: pair.Pair) -> Iterator[None]:
    """Every test begins without Services."""
    yield
    if nodes.objects:
        nodes.clear()


def test_connections_are_spread_evenly(nodes: pair.Pair) -> None:
    """Of 300 connections each of three endpoints gets a third, within five standard deviations (8.2)."""
    nodes.put(service(), endpoint_slice(at(A, B, C)))
    found = [pair.fate(NEAR, CLUSTER_IP)[0] for _ in range(300)]
    counts = {pod: found.count(pod) for pod in (A, B, C)}
    assert sum(counts.values()) == 300
    assert all(59 <= count <= 141 for count in counts.values()), counts


def test_every_port_leads_to_its_own(nodes: pair.Pair) -> None:
    """Several ports, and a named target port that is another number in each pod."""
    ports = (port(80, "http"), port(81, "admin"))
    with lab.tcp_server(A, 7001), lab.tcp_server(B, 7002), lab.tcp_server(C, 7003):
        nodes.put(
            service(ports=ports),
            endpoint_slice(at(A), ports=(("http", 7001, "TCP"),)),
            endpoint_slice(at(B), ports=(("http", 7002, "TCP"),), suffix="b"),
            endpoint_slice(at(C), ports=(("admin", 7003, "TCP"),), suffix="c"),
        )
        assert pair.who(NEAR, CLUSTER_IP, 80) == {A, B}
        assert pair.who(NEAR, CLUSTER_IP, 81, times=4) == {C}


def test_protocols_are_told_apart(nodes: pair.Pair) -> None:
    """One number for TCP and UDP, as cluster IP port and as node port, with endpoints of their own."""
    ports = (port(80, "http", node_port=31080), port(80, "quic", "UDP", node_port=31080))
    nodes.put(
        service(type="NodePort", ports=ports),
        endpoint_slice(at(A), ports=(("http", 8080, "TCP"),)),
        endpoint_slice(at(B), ports=(("quic", 5353, "UDP"),), suffix="b"),
    )
    for client, address, number in (
        (NEAR, CLUSTER_IP, 80),
        (FAR, CLUSTER_IP, 80),
        (WORKER, NODES[WORKER], 31080),
        (OUTSIDE, NODES[WORKER], 31080),
        (OUTSIDE, NODES[WORKER2], 31080),
    ):
        assert pair.fate(client, address, number)[0] == A
        with netns.socket_in(client, families.family().af, socket.SOCK_DGRAM) as sock:
            assert pair.say(sock, address, number) == B


def test_readiness_decides(nodes: pair.Pair) -> None:
    """An endpoint that flips is left out and taken in again; an established connection is not disturbed."""
    nodes.put(service(), endpoint_slice(at(A, C)))
    with _connection_to(A) as lines:
        for _ in range(2):
            nodes.put(endpoint_slice([*at(A, ready=False, serving=False), *at(C)]))
            assert pair.who(NEAR, CLUSTER_IP) == {C}
            assert lines() == "still here\n"
            nodes.put(endpoint_slice(at(A, C)))
            assert pair.who(NEAR, CLUSTER_IP) == {A, C}


def test_terminating_endpoints_serve_when_nobody_else_does(nodes: pair.Pair) -> None:
    """Draining endpoints take new connections only while no ready one is there; then none at all."""
    draining = at(A, ready=False, serving=True, terminating=True)
    gone = at(B, ready=False, serving=False, terminating=True)
    nodes.put(service(), endpoint_slice([*draining, *gone]))
    assert pair.who(NEAR, CLUSTER_IP) == {A}
    nodes.put(endpoint_slice([*draining, *gone, *at(C)]))
    assert pair.who(NEAR, CLUSTER_IP) == {C}
    nodes.put(endpoint_slice(gone))
    assert pair.fate(NEAR, CLUSTER_IP)[0] == "refused"


def test_terminating_fallback_is_decided_for_the_node_too(nodes: pair.Pair) -> None:
    """externalTrafficPolicy Local: a draining local endpoint is better than a ready one elsewhere."""
    nodes.put(
        service(
            type="NodePort",
            ports=(port(node_port=31080),),
            external_traffic_policy="Local",
        ),
        endpoint_slice([*at(A, ready=False, serving=True, terminating=True), *at(C)]),
    )
    assert pair.who(OUTSIDE, NODES[WORKER], 31080) == {A}
    assert pair.who(OUTSIDE, NODES[WORKER2], 31080) == {C}
    assert pair.who(NEAR, CLUSTER_IP) == {C}


def test_zone_hints_keep_traffic_near(nodes: pair.Pair) -> None:
    """Each node uses its zone's endpoints; one endpoint without a hint switches hints off."""
    west = entry(PODS[A], "worker", zones=["west"])
    east = entry(PODS[C], "worker2", zones=["east"])
    nodes.put(service(), endpoint_slice([west, east]))
    assert pair.who(NEAR, CLUSTER_IP) == {A}
    assert pair.who(FAR, CLUSTER_IP) == {C}
    nodes.put(endpoint_slice([west, east, *at(B)]))
    assert pair.who(NEAR, CLUSTER_IP, times=40) == {A, B, C}


def test_node_hints_keep_traffic_on_the_node(nodes: pair.Pair) -> None:
    """PreferSameNode; a node nobody is hinted at uses all endpoints."""
    nodes.put(
        service(),
        endpoint_slice(
            [
                entry(PODS[A], "worker", nodes=["worker"]),
                entry(PODS[B], "worker", nodes=["worker"]),
            ]
        ),
    )
    assert pair.who(NEAR, CLUSTER_IP) == {A, B}
    assert pair.who(FAR, CLUSTER_IP) == {A, B}
    nodes.put(
        endpoint_slice(
            [
                entry(PODS[A], "worker", nodes=["worker"]),
                entry(PODS[C], "worker2", nodes=["worker2"]),
            ]
        )
    )
    assert pair.who(NEAR, CLUSTER_IP) == {A}
    assert pair.who(FAR, CLUSTER_IP) == {C}


def test_a_service_without_selector_leads_anywhere(nodes: pair.Pair) -> None:
    """Hand-made slices may name a machine outside the cluster, which sees the node as its client."""
    with lab.tcp_server(OUTSIDE, 9000):
        outside = entry(pair.OUTSIDE_IP, "")
        nodes.put(service(), endpoint_slice([outside], ports=(("", 9000, "TCP"),)))
        pod, seen = pair.fate(WORKER, CLUSTER_IP)
        assert (pod, seen) == (OUTSIDE, NODES[WORKER])
        assert pair.fate(NEAR, CLUSTER_IP)[0] == OUTSIDE


def test_affinity_is_kept_and_ends(nodes: pair.Pair) -> None:
    """A client stays with its endpoint, also when others come, and is free again after the timeout."""
    sticky = service(session_affinity="ClientIP", session_affinity_config=_seconds(2))
    nodes.put(sticky, endpoint_slice(at(A, B)))
    first = pair.fate(NEAR, CLUSTER_IP)[0]
    assert pair.who(NEAR, CLUSTER_IP) == {first}
    nodes.put(endpoint_slice(at(A, B, C)))
    assert pair.who(NEAR, CLUSTER_IP) == {first}
    if nodes.settings["mode"] is Mode.IPVS:
        return  # it lasts as long as IPVS remembers connections: test_ipvs.py
    others = {A, B, C} - {first}
    for _ in range(20):
        select.select([], [], [], 2.3)  # a connection would begin the time anew
        if pair.fate(NEAR, CLUSTER_IP)[0] in others:
            return
    raise AssertionError(f"the client never left {first}")


def test_affinity_ends_with_its_endpoint(nodes: pair.Pair) -> None:
    """A client whose endpoint goes gets another and keeps that; node port and cluster IP share it."""
    sticky = service(type="NodePort", ports=(port(node_port=31080),), session_affinity="ClientIP")
    nodes.put(sticky, endpoint_slice(at(A, C)))
    first = pair.fate(OUTSIDE, NODES[WORKER], 31080)[0]
    assert pair.who(OUTSIDE, NODES[WORKER], 31080, times=12) == {first}
    assert pair.who(OUTSIDE, CLUSTER_IP, times=12) == {first}
    (other,) = {A, C} - {first}
    nodes.put(endpoint_slice(at(other)))
    assert pair.who(OUTSIDE, NODES[WORKER], 31080, times=12) == {other}


def test_source_ranges_and_the_way_round_them(nodes: pair.Pair) -> None:
    """Only the VIP is closed to others; ranges may change, and 0.0.0.0/0 closes nothing."""
    balancer = service(
        type="LoadBalancer",
        ports=(port(node_port=31080),),
        vips=(VIP,),
        load_balancer_source_ranges=("192.0.2.0/24", "10.244.2.0/24"),
    )
    nodes.put(balancer, endpoint_slice(at(A, C)))
    assert pair.fate(OUTSIDE, VIP, silent=True)[0] == "dropped"
    assert pair.fate(NEAR, VIP, silent=True)[0] == "dropped"
    assert pair.who(FAR, VIP) == {A, C}
    assert pair.who(OUTSIDE, NODES[WORKER], 31080) == {A, C}
    assert pair.who(NEAR, CLUSTER_IP) == {A, C}
    spec = dataclasses.replace(balancer.spec, load_balancer_source_ranges=("0.0.0.0/0",))
    nodes.put(dataclasses.replace(balancer, spec=spec))
    assert pair.who(OUTSIDE, VIP) == {A, C}


def test_masquerade_all_hides_every_client(nodes: pair.Pair) -> None:
    """With masqueradeAll a pod's address is never seen behind a cluster IP; without it, it is again."""
    nodes.put(service(), endpoint_slice(at(A)))
    nodes.start(masquerade_all=True)
    assert pair.fate(NEAR, CLUSTER_IP) == (A, pair.BRIDGES[WORKER])
    assert pair.fate(FAR, CLUSTER_IP) == (A, NODES[WORKER2])
    nodes.start()
    assert pair.fate(NEAR, CLUSTER_IP) == (A, PODS[NEAR])


def test_a_service_changes_its_type_and_ports(nodes: pair.Pair) -> None:
    """What the new form has is open, and what only the old one had is closed."""
    slices = endpoint_slice(at(A))
    nodes.put(service(), slices)
    assert pair.fate(OUTSIDE, NODES[WORKER], 31080)[0] == "refused"
    nodes.put(service(type="NodePort", ports=(port(node_port=31080),)))
    assert pair.fate(OUTSIDE, NODES[WORKER], 31080)[0] == A
    nodes.put(service(type="NodePort", ports=(port(81, node_port=31081),)))
    assert pair.fate(OUTSIDE, NODES[WORKER], 31080)[0] == "refused"
    assert pair.fate(OUTSIDE, NODES[WORKER], 31081)[0] == A
    assert pair.fate(NEAR, CLUSTER_IP, 81)[0] == A
    assert pair.fate(NEAR, CLUSTER_IP, 80, silent=True)[0] in ("refused", "dropped")
    nodes.put(service(type="LoadBalancer", ports=(port(node_port=31081),), vips=(VIP,)))
    assert pair.fate(OUTSIDE, VIP)[0] == A
    nodes.put(service())
    assert pair.fate(OUTSIDE, NODES[WORKER], 31081)[0] == "refused"
    assert pair.fate(OUTSIDE, VIP, silent=True)[0] != A
    assert pair.fate(NEAR, CLUSTER_IP)[0] == A
    nodes.put(service(type="ExternalName", external_name="example.com", cluster_ip=""))
    assert pair.fate(NEAR, CLUSTER_IP, silent=True)[0] not in (A, "refused")


def test_localhost_node_ports(nodes: pair.Pair) -> None:
    """A process of the node reaches a node port on 127.0.0.1 in iptables mode; elsewhere, and on ::1, it is refused."""
    sysctl.write(WORKER, "net.ipv4.conf.all.route_localnet", 1)
    try:
        nodes.put(
            service(type="NodePort", ports=(port(node_port=31080),)), endpoint_slice(at(A, C))
        )
        there = families.family() is Family.IPV4 and nodes.settings["mode"] is Mode.IPTABLES
        local = "127.0.0.1" if families.family() is Family.IPV4 else "::1"
        assert pair.who(WORKER, local, 31080) == ({A, C} if there else {"refused"})
    finally:
        sysctl.write(WORKER, "net.ipv4.conf.all.route_localnet", 0)


def test_a_policy_changes_under_traffic(nodes: pair.Pair) -> None:
    """externalTrafficPolicy there and back: the client's address is hidden, seen and hidden again."""
    for policy, seen in (
        ("Cluster", pair.BRIDGES[WORKER]),
        ("Local", pair.OUTSIDE_IP),
        ("Cluster", pair.BRIDGES[WORKER]),
    ):
        made = service(
            type="NodePort", ports=(port(node_port=31080),), external_traffic_policy=policy
        )
        nodes.put(made, endpoint_slice(at(A)))
        assert pair.fate(OUTSIDE, NODES[WORKER], 31080) == (A, seen)


def test_an_address_passes_to_another_service(nodes: pair.Pair) -> None:
    """A Service is deleted and another gets its cluster IP, in one sync or in two."""
    old, new = service("old"), service("new")
    nodes.put(old, endpoint_slice(at(A), "old"))
    assert pair.fate(NEAR, CLUSTER_IP)[0] == A
    nodes.delete(old, endpoint_slice((), "old"))
    assert pair.fate(NEAR, CLUSTER_IP, silent=True)[0] != A
    nodes.put(new, endpoint_slice(at(C), "new"))
    assert pair.fate(NEAR, CLUSTER_IP)[0] == C
    nodes.put(dataclasses.replace(new, spec=dataclasses.replace(new.spec, cluster_ip="10.96.9.9")))
    nodes.put(old, endpoint_slice(at(A), "old"))
    assert pair.fate(NEAR, CLUSTER_IP)[0] == A
    assert pair.fate(NEAR, "10.96.9.9")[0] == C


def test_udp_clients_find_a_service_that_comes_later(nodes: pair.Pair) -> None:
    """They spoke before it existed, to nobody or to no endpoint; the flow is forgotten when somebody answers."""
    made = service(type="NodePort", ports=(port(53, "dns", "UDP", node_port=31053),))
    with contextlib.ExitStack() as stack:
        asks = [(NEAR, CLUSTER_IP, 53), (FAR, CLUSTER_IP, 53), (OUTSIDE, NODES[WORKER], 31053)]
        socks = [
            stack.enter_context(netns.socket_in(ns, families.family().af, socket.SOCK_DGRAM))
            for ns, _, _ in asks
        ]
        for sock, (_, address, number) in zip(socks, asks, strict=True):
            assert pair.say(sock, address, number) == ""
        nodes.put(made)
        for sock, (_, address, number) in zip(socks, asks, strict=True):
            assert pair.say(sock, address, number) == ""
        nodes.put(endpoint_slice(at(A), ports=DNS))
        for sock, (_, address, number) in zip(socks, asks, strict=True):
            assert pair.say(sock, address, number) == A


def test_udp_flows_end_with_their_endpoint(nodes: pair.Pair) -> None:
    """Endpoint replaced, none left, Service deleted: each time the flow is forgotten, and TCP flows are not."""
    ports = (port(53, "dns", "UDP"), port(53, "tcp"))
    made = service(ports=ports)
    both = (("dns", 5353, "UDP"), ("tcp", 8080, "TCP"))
    nodes.put(made, endpoint_slice(at(A), ports=both))
    with (
        netns.socket_in(FAR, families.family().af, socket.SOCK_DGRAM) as sock,
        lab.connect(FAR, CLUSTER_IP, 53, timeout=pair.ANSWERS_IN) as stream,
    ):
        assert stream.makefile().readline().split()[0] == A
        assert pair.say(sock, CLUSTER_IP, 53) == A
        nodes.put(endpoint_slice(at(C), ports=both))
        assert pair.say(sock, CLUSTER_IP, 53) == C
        nodes.put(endpoint_slice((), ports=both))
        assert pair.say(sock, CLUSTER_IP, 53) == ""
        nodes.put(endpoint_slice(at(A), ports=both))
        assert pair.say(sock, CLUSTER_IP, 53) == A
        nodes.delete(made)
        assert not conntrack.observe(WORKER2, protocol="udp")
        if nodes.settings["mode"] is Mode.IPVS:
            return  # a virtual server that goes takes its connections with it
        stream.sendall(b"still here\n")
        assert stream.recv(100) == b"still here\n"


def test_a_draining_udp_endpoint_keeps_its_flows(nodes: pair.Pair) -> None:
    """Terminating but serving: the flows it has stay with it while new ones go elsewhere."""
    made = service(ports=(port(53, "dns", "UDP"),))
    nodes.put(made, endpoint_slice(at(A), ports=DNS))
    with (
        netns.socket_in(NEAR, families.family().af, socket.SOCK_DGRAM) as old,
        netns.socket_in(NEAR, families.family().af, socket.SOCK_DGRAM) as new,
    ):
        assert pair.say(old, CLUSTER_IP, 53) == A
        draining = at(A, ready=False, serving=True, terminating=True)
        nodes.put(endpoint_slice([*draining, *at(C)], ports=DNS))
        # IPVS has nothing that says when a UDP flow ends, so its real servers go at once.
        kept = C if nodes.settings["mode"] is Mode.IPVS else A
        assert pair.say(old, CLUSTER_IP, 53) == kept
        assert pair.say(new, CLUSTER_IP, 53) == C


@contextlib.contextmanager
def _connection_to(pod: str) -> Iterator["_Echo"]:
    """A connection that reached this pod; calling it sends a line and returns the answer."""
    for _ in range(60):
        sock = lab.connect(NEAR, CLUSTER_IP, 80, timeout=pair.ANSWERS_IN)
        lines = sock.makefile("rw")
        if lines.readline().split()[0] == pod:
            with sock:
                yield _Echo(sock)
            return
        sock.close()
    raise AssertionError(f"no connection reached {pod}")


class _Echo:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __call__(self) -> str:
        self._sock.sendall(b"still here\n")
        return self._sock.recv(100).decode()


def _seconds(timeout: int) -> SessionAffinityConfig:
    return SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=timeout))
