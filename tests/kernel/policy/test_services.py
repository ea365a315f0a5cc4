"""Policies beside every proxy mode: a connection to a Service is judged by the endpoint it was led to."""

from collections.abc import Iterator
from typing import Any

import pytest

from netpod.policy import sync
from tests.kernel.policy import beside, lab
from tests.kernel.policy.beside import CLUSTER_IP, NODE_PORT, TARGET
from tests.kernel.policy.test_conformance import index_of
from tests.unit.policy import builders, cases


@pytest.fixture(params=beside.MODES)
def proxied(nodes: dict[str, str], request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The nodes with a Service for y/a in each proxy mode."""
    with beside.proxy(nodes, request.param):
        yield nodes


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
