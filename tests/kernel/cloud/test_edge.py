"""What packets do at the edge."""

import time
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from netpod.cloud import edge, edge_legacy
from netpod.cloud.edge import Frontend
from netpod.linux import iptables, nft
from tests.kernel.cloud.edge_lab import CLIENT_IP, EDGE, NODE3, NODE4, OUTSIDE
from tests.kernel.proxy import lab
from tests.kernel.proxy.lab import ask
from tests.unit.cloud import builders
from tests.unit.cloud.builders import NODES, frontend

VIP = "198.51.100.1"
Apply = Callable[..., None]


@pytest.fixture(params=["nftables", "legacy"])
def apply(request: pytest.FixtureRequest, edge_netns: str) -> Apply:
    """Hand frontends to the edge's kernel, in both ways."""

    def hand_over(*frontends: Frontend) -> None:
        model = builders.edge_model(*frontends)
        if request.param == "legacy":
            edge_legacy.apply(EDGE, model)
        else:
            nft.apply(EDGE, edge.compile(model))

    return hand_over


@pytest.mark.parametrize("name", sorted(builders.cases()))
def test_kernel_accepts_golden_texts(edge_netns: str, name: str) -> None:
    """Loading one twice leaves the same table."""
    text = (builders.GOLDEN / f"{name}.nft").read_text()
    nft.apply(edge_netns, text)
    once = nft.list_text(edge_netns)
    nft.apply(edge_netns, text)
    assert nft.list_text(edge_netns) == once


def test_vip_is_spread_evenly_with_the_clients_address(apply: Apply) -> None:
    """Nodes take turns and see the client itself: nothing is masqueraded."""
    apply(frontend())
    seen = [ask(OUTSIDE, VIP) for _ in range(10)]
    assert sorted(seen) == [(NODE3, CLIENT_IP)] * 5 + [(NODE4, CLIENT_IP)] * 5


def test_outside_needs_no_route_to_the_vips(edge_netns: str) -> None:
    """DNAT comes before routing; even an unreachable route does not matter."""
    lab.ip(EDGE, "route replace unreachable 198.51.100.0/24")
    nft.apply(EDGE, edge.compile(builders.edge_model(frontend())))
    assert ask(OUTSIDE, VIP)[1] == CLIENT_IP


def test_edge_itself_reaches_a_vip(apply: Apply) -> None:
    """By the output hook, given a route to the VIP network over a link that is not lo."""
    apply(frontend())
    assert {ask(EDGE, VIP)[0] for _ in range(4)} == {NODE3, NODE4}


def test_vip_without_ready_nodes_is_refused(apply: Apply) -> None:
    """At once, from outside and from the edge."""
    apply(frontend(backends=()))
    start = time.monotonic()
    for source in (OUTSIDE, EDGE):
        with pytest.raises(ConnectionRefusedError):
            ask(source, VIP)
    assert time.monotonic() - start < 0.3


@pytest.mark.parametrize(("address", "port"), [("198.51.100.99", 80), (VIP, 81)])
def test_unallocated_is_unreachable(apply: Apply, address: str, port: int) -> None:
    """An address or port nobody has answers with host unreachable instead of wandering."""
    apply(frontend())
    for source in (OUTSIDE, EDGE):
        with pytest.raises(OSError, match="No route to host"):
            ask(source, address, port)


def test_source_ranges_drop_others(apply: Apply) -> None:
    """The balancer enforces loadBalancerSourceRanges, since nodes see a node port only."""
    apply(frontend(source_ranges=(builders.VIPS,)))
    with pytest.raises(TimeoutError):
        ask(OUTSIDE, VIP, timeout=0.2)


def test_connections_outlive_their_frontend(apply: Apply) -> None:
    """Replacing the table, even by one that refuses, leaves established connections alone."""
    apply(frontend(backends=NODES[:1]))
    with lab.connect(OUTSIDE, VIP, 80) as sock:
        lines = sock.makefile("rw")
        assert lines.readline().split() == [NODE3, CLIENT_IP]
        apply(frontend(backends=NODES[1:]))
        assert ask(OUTSIDE, VIP)[0] == NODE4
        apply(frontend(backends=()))
        lines.write("still here\n")
        lines.flush()
        assert lines.readline() == "still here\n"


def test_source_ranges_let_their_own_in(apply: Apply) -> None:
    """Who is in one of several ranges gets through."""
    apply(frontend(source_ranges=(builders.VIPS, ip_network("203.0.113.0/24"))))
    assert ask(OUTSIDE, VIP)[1] == CLIENT_IP


def test_legacy_rules_repeat_and_go(edge_netns: str) -> None:
    """Handed over twice they are there once, and chains of frontends that are gone go."""
    for _ in range(2):
        edge_legacy.apply(EDGE, builders.edge_model(frontend(), frontend(port=443)))
    saved = iptables.parse_save(iptables.save(EDGE, legacy=True))
    assert saved["nat"]["PREROUTING"] == saved["filter"]["FORWARD"] == [f"-j {edge_legacy.CHAIN}"]
    assert len(saved["nat"][edge_legacy.CHAIN]) == 2
    edge_legacy.apply(EDGE, builders.edge_model(frontend()))
    saved = iptables.parse_save(iptables.save(EDGE, legacy=True))
    assert [it for it in saved["nat"] if it.startswith("NETPOD-LB-")] == [
        edge_legacy.chain_of(frontend())
    ]
