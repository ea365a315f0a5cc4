"""The truth tables of upstream's suite: each of 324 connections is really tried and compared with the oracle's word."""

from collections.abc import Iterator
from typing import Any

import pytest

from netpod.api import codec
from netpod.api.meta import key_of
from netpod.api.networkpolicy import NetworkPolicy
from netpod.policy import model, sync
from netpod.policy.index import Index
from tests.kernel.policy import beside, lab
from tests.unit.policy import builders, cases, oracle

PARTY: dict[str, dict[str, Any]] = {
    name: {
        "ip": builders.address_of(name),
        "namespace": name[0],
        "labels": {"pod": name[2]},
        "ports": {
            (f"serve-{port}-{protocol.lower()}", protocol): port
            for port in lab.PORTS
            for protocol in lab.PROTOCOLS
        },
    }
    for name in builders.ALL
}


def index_of(node: str, policies: list[cases.Json]) -> Index:
    """What a node knows."""
    index = Index(node)
    for name in builders.NAMESPACES:
        index.put_namespace(name, cases.SPACES[name])
    for name in builders.ALL:
        pod = builders.pod(name)
        index.put_pod(key_of(pod), model.pod_of(pod))
    for policy in policies:
        obj = codec.decode(NetworkPolicy, policy)
        index.put_policy(key_of(obj), model.policy_of(obj))
    return index


@pytest.fixture(scope="module", params=beside.MODES)
def _mode(pods: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """kube-proxy's rules of each mode on both nodes."""
    with beside.proxy({node: lab.node_netns(node) for node in builders.NODES}, request.param):
        yield


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize("name", cases.CASES)
def test_packets_go_where_the_policies_say(nodes: dict[str, str], name: str) -> None:
    """A connection comes about where both ends' policies allow it, and nowhere else."""
    policies = cases.CASES[name]
    expected = {
        question
        for question in lab.QUESTIONS
        if oracle.allowed(
            policies, cases.SPACES, PARTY[question[0]], PARTY[question[1]], question[2], question[3]
        )
    }
    for node, netns in nodes.items():
        table = index_of(node, policies).table
        if not table.empty:
            sync.hand_over(netns, [table.everything()])
    assert lab.ask(lab.QUESTIONS, expected) == expected
