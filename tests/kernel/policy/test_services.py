"""Policies beside every proxy mode: a connection to a Service is judged by the endpoint it was led to."""

import dataclasses
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from netpod.linux import nft, process
from netpod.policy import sync
from netpod.proxy import model as services
from netpod.proxy import modes
from netpod.proxy.config import Mode
from tests.kernel.policy import lab
from tests.kernel.policy.test_conformance import index_of
from tests.kernel.proxy import lab as proxies
from tests.unit.policy import builders, cases
from tests.unit.proxy import builders as made

CLUSTER_IP, NODE_PORT = "10.96.45.12", 31080
TARGET = "y/a"
"""Serves TCP 80 as port 8000 of the Service; runs on node2."""


# Policies are nftables, and the guest that has ip_vs has no nf_tables for IP.
@pytest.fixture(params=[mode for mode in Mode if mode is not Mode.IPVS])
def proxied(nodes: dict[str, str], request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The nodes with a Service for y/a in each proxy mode."""
    web = made.service(ports=(made.port(8000, node_port=NODE_PORT),), type="NodePort")
    slice_ = made.endpoint_slice(
        [made.entry(builders.address_of(TARGET), builders.node_of(TARGET))],
        ports=(("", 80, "TCP"),),
    )
    for node, netns in nodes.items():
        config = dataclasses.replace(
            made.CONFIG,
            netns=netns,
            mode=Mode(request.param),
            node_name=node,
            node_ip=IPv4Address(lab.NODE_IPS[node]),
        )
        world = services.build([web], [slice_], node)
        proxies.run(modes.make(config.mode, config).full_sync(world))
    yield nodes
    for netns in nodes.values():
        nft.apply(netns, "flush ruleset\n")
        process.run(["conntrack", "-F"], netns=netns)


def enforce(nodes: dict[str, str], *policies: dict[str, Any]) -> None:
    """Hand these policies to both nodes."""
    for node, netns in nodes.items():
        table = index_of(node, list(policies)).table
        sync.hand_over(netns, [table.everything()])


def asks(source: str, address: str = CLUSTER_IP, port: int = 8000) -> bool:
    """Whether a pod's connection comes about."""
    return lab.connects(lab.pod_netns(source), address, port)


def test_egress_is_judged_by_the_endpoint(proxied: dict[str, str]) -> None:
    """The pod's port counts, not the Service's; the endpoint's labels count, not the cluster IP."""
    assert asks("x/a")
    to_y = cases.out({"namespaceSelector": cases.Y}, ports=[cases.TCP80])
    enforce(proxied, cases.make("p", policyTypes=cases.EGRESS, egress=[to_y]))
    assert asks("x/a")
    to_service = cases.out(cases.block(f"{CLUSTER_IP}/32"), ports=[{"port": 8000}])
    enforce(proxied, cases.make("p", policyTypes=cases.EGRESS, egress=[to_service]))
    assert not asks("x/a")
    assert asks("z/a")


def test_ingress_sees_the_pod_that_asked(proxied: dict[str, str]) -> None:
    """A pod's connection through a cluster IP keeps the pod's address."""
    enforce(proxied, cases.make("p", "y", ingress=[cases.into({"namespaceSelector": cases.X})]))
    assert asks("x/a")
    assert asks("x/b")
    assert not asks("z/a")
    assert not asks("z/b")


def test_a_node_port_does_not_bypass(proxied: dict[str, str]) -> None:
    """KUBE-FORWARD accepts what carries kube-proxy's mark; isolation holds all the same."""
    node2 = lab.NODE_IPS["node2"]
    assert asks("x/a", node2, NODE_PORT)
    enforce(proxied, cases.make("deny", "y", policyTypes=cases.INGRESS))
    assert not asks("x/a", node2, NODE_PORT)
    assert not lab.connects(lab.node_netns("node1"), node2, NODE_PORT)


def test_the_node_of_the_pod_reaches_it_by_the_service(proxied: dict[str, str]) -> None:
    """A node's own connection to its own pod is always allowed, by cluster IP too; another node's is not."""
    enforce(proxied, cases.make("deny", "y", policyTypes=cases.INGRESS))
    assert not lab.connects(lab.node_netns("node1"), builders.address_of(TARGET), 80)
    assert lab.connects(lab.node_netns("node2"), CLUSTER_IP, 8000)
