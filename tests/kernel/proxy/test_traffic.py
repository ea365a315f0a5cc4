"""What packets do under compiled rules: facts, never rule text."""

import contextlib
import dataclasses
import functools
import socket
import time
from typing import Any

import pytest

from netpod.api.discovery import Endpoint
from netpod.linux import conntrack as kernel
from netpod.linux import netns
from netpod.proxy import conntrack, model
from netpod.proxy.config import Mode
from netpod.proxy.model import Model
from tests.kernel.proxy import lab
from tests.kernel.proxy.lab import CLIENT, CLIENT_IP, NODE, NODE_IP, POD1, POD2, Apply, ask
from tests.unit.proxy import builders
from tests.unit.proxy.builders import endpoint_slice, entry, port, service

VIP = "10.96.45.12"
LB = "203.0.113.10"
BOTH = (entry("10.244.1.5"), entry("10.244.1.6"))
FIRST = (entry("10.244.1.5"),)
CONFIG = dataclasses.replace(builders.CONFIG, netns=NODE)


def web(entries: tuple[Endpoint, ...] = BOTH, **spec: Any) -> Model:
    """Service shop/web, port 80, with these endpoints."""
    slices = (endpoint_slice(entries),) if entries else ()
    return model.build((service(**spec),), slices, "worker")


def balancer(entries: tuple[Endpoint, ...] = BOTH, **spec: Any) -> Model:
    """The same of type LoadBalancer with node port 31080 and a VIP."""
    ports = (port(node_port=31080),)
    return web(entries, type="LoadBalancer", ports=ports, vips=(LB,), **spec)


def is_ipvs(apply: Apply) -> bool:
    """Whether it is IPVS mode's turn."""
    return isinstance(apply, functools.partial) and apply.keywords["mode"] is Mode.IPVS


def test_cluster_ip_reaches_every_endpoint(apply: Apply) -> None:
    """A cluster IP is DNATed to each endpoint; a pod's own address is seen."""
    apply(web())
    seen = {ask(POD1, VIP) for _ in range(24)}
    assert {pod for pod, _ in seen} == {POD1, POD2}
    assert (POD2, "10.244.1.5") in seen


def test_cluster_ip_without_endpoints_is_refused(apply: Apply) -> None:
    """A connection to a cluster IP with no ready endpoint is refused at once, not left to time out."""
    apply(web(()))
    start = time.monotonic()
    for source in (POD1, NODE):
        with pytest.raises(ConnectionRefusedError):
            ask(source, VIP)
    assert time.monotonic() - start < 0.4


def test_pod_reaches_itself_through_its_service(apply: Apply) -> None:
    """Hairpin: the pod sees the bridge as its client, or it would answer itself directly."""
    apply(web(FIRST))
    assert ask(POD1, VIP) == (POD1, "10.244.1.1")


def test_sources_outside_the_cluster_are_masqueraded(apply: Apply) -> None:
    """Host processes and machines outside reach a cluster IP with an address of the node."""
    apply(web(FIRST))
    assert ask(CLIENT, VIP) == (POD1, "10.244.1.1")
    assert ask(NODE, VIP) == (POD1, "10.244.1.1")


def test_masquerade_all_hides_pods_too(apply: Apply) -> None:
    """With masqueradeAll the endpoint sees the node, whoever asks."""
    apply(web(FIRST), masquerade_all=True)
    assert ask(POD2, VIP) == (POD1, "10.244.1.1")


def test_node_port_answers_on_the_node(apply: Apply) -> None:
    """A node port is open on the node's primary address, to machines outside, to pods and to the node itself."""
    apply(balancer())
    assert {ask(CLIENT, NODE_IP, 31080)[0] for _ in range(24)} == {POD1, POD2}
    assert ask(POD1, NODE_IP, 31080)[0] in (POD1, POD2)
    assert ask(NODE, NODE_IP, 31080)[0] in (POD1, POD2)


def test_load_balancer_vip_is_answered_by_the_node(apply: Apply) -> None:
    """Packets to a VIP that arrive at a node, or start there or in its pods, are DNATed on the spot."""
    apply(balancer())
    assert ask(CLIENT, LB)[1] == "10.244.1.1"
    assert ask(NODE, LB)[0] in (POD1, POD2)
    assert ask(POD1, LB)[0] in (POD1, POD2)


def test_external_ip_is_answered_by_the_node(apply: Apply) -> None:
    """spec.externalIPs behave as VIPs do."""
    apply(web(external_ips=(LB,)))
    assert ask(CLIENT, LB)[0] in (POD1, POD2)


def test_local_policy_preserves_the_client(apply: Apply) -> None:
    """externalTrafficPolicy Local: the endpoint sees the client's own address."""
    apply(balancer(FIRST, external_traffic_policy="Local"))
    assert ask(CLIENT, NODE_IP, 31080) == (POD1, CLIENT_IP)
    assert ask(CLIENT, LB) == (POD1, CLIENT_IP)


def test_local_policy_without_local_endpoints_drops(apply: Apply) -> None:
    """External traffic gets no answer at all; this node's pods use the endpoints of other nodes.

    IPVS mode uses the others for everybody.
    """
    elsewhere = (entry("10.244.1.5", "worker2"),)
    apply(balancer(elsewhere, external_traffic_policy="Local"))
    if is_ipvs(apply):
        assert ask(CLIENT, NODE_IP, 31080) == (POD1, CLIENT_IP)
        return
    with pytest.raises(TimeoutError):
        ask(CLIENT, NODE_IP, 31080, timeout=0.2)
    assert ask(POD2, LB)[0] == POD1
    assert ask(POD2, VIP)[0] == POD1


def test_internal_local_policy_without_local_endpoints_drops(apply: Apply) -> None:
    """internalTrafficPolicy Local keeps cluster IP traffic on the node, even if nobody is there; not in IPVS mode."""
    apply(web((entry("10.244.1.5", "worker2"),), internal_traffic_policy="Local"))
    if is_ipvs(apply):
        assert ask(POD2, VIP)[0] == POD1
        return
    with pytest.raises(TimeoutError):
        ask(POD2, VIP, timeout=0.2)


def test_node_port_without_endpoints_is_refused(apply: Apply) -> None:
    """Node ports and VIPs of a Service nobody serves are refused at once."""
    apply(balancer(()))
    for address, number in ((NODE_IP, 31080), (LB, 80)):
        with pytest.raises(ConnectionRefusedError):
            ask(CLIENT, address, number)


def test_source_ranges_keep_others_out(apply: Apply) -> None:
    """loadBalancerSourceRanges filter the VIP, never the node port."""
    apply(balancer(load_balancer_source_ranges=("192.0.2.0/24",)))
    with pytest.raises(TimeoutError):
        ask(CLIENT, LB, timeout=0.2)
    assert ask(CLIENT, NODE_IP, 31080)[0] in (POD1, POD2)
    apply(balancer(load_balancer_source_ranges=(f"{CLIENT_IP}/32",)))
    assert ask(CLIENT, LB)[0] in (POD1, POD2)


def test_client_ip_affinity_sticks(apply: Apply) -> None:
    """sessionAffinity ClientIP: the first endpoint a client got is the one it keeps."""
    apply(web(session_affinity="ClientIP"))
    assert len({ask(POD2, VIP)[0] for _ in range(12)}) == 1


def test_established_connection_survives_a_sync(apply: Apply) -> None:
    """Rules may change as they like: conntrack keeps a connection's endpoint, while that lives."""
    apply(web(FIRST))
    with lab.connect(POD2, VIP, 80) as sock:
        lines = sock.makefile("rw")
        assert lines.readline().split() == [POD1, "10.244.1.6"]
        apply(web((entry("10.244.1.6"),)))
        assert ask(POD2, VIP)[0] == POD2
        if not is_ipvs(apply):  # a virtual server that goes takes its connections with it
            apply(model.build((), (), "worker"))
        lines.write("still here\n")
        lines.flush()
        assert lines.readline() == "still here\n"


def test_stale_udp_flows_are_forgotten(apply: Apply) -> None:
    """A UDP client that goes on sending from one port gets to the new endpoint, not to the dead one."""
    dns = service(cluster_ip="10.96.0.10", ports=(port(53, protocol="UDP"),))
    slices = [endpoint_slice((entry(ip),), ports=(("", 5353, "UDP"),)) for ip in lab.PODS.values()]
    models = [model.build((dns,), (piece,), "worker") for piece in slices]
    proxier = apply(models[0])
    reconciler = conntrack.Reconciler(CONFIG)
    reconciler.reconcile(conntrack.frontends(models[0]))
    client = netns.socket_in(CLIENT, socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.5)

    def answer() -> str:
        client.sendto(b"?", ("10.96.0.10", 53))
        return client.recv(100).decode()

    with client, lab.udp_server(POD1), lab.udp_server(POD2):
        assert answer() == POD1
        assert reconciler.reconcile(conntrack.frontends(models[0])) == 0
        if is_ipvs(apply):
            # What is on its way to a real server that is gone may be dropped; then the client is free.
            apply(models[1], proxier)
            found = ""
            for _ in range(5):
                with contextlib.suppress(TimeoutError):
                    found = answer()
                if found == POD2:
                    return
            raise AssertionError(f"{found or 'nobody'} answers, and not the new endpoint")
        apply(models[1], proxier)
        assert answer() == POD1
        assert reconciler.reconcile(conntrack.frontends(models[1])) == 1
        assert answer() == POD2
        apply(model.build((), (), "worker"), proxier)
        assert reconciler.reconcile(conntrack.Frontends()) == 1
        assert not kernel.observe(NODE, protocol="udp")
