"""The answer without a packet agrees with the oracle in every case, and says who decided."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from netpod.api import codec
from netpod.api.networkpolicy import NetworkPolicy
from netpod.policy import evaluate, model
from netpod.policy.evaluate import Party
from tests.unit.policy import builders, cases, oracle

WORLD = "203.0.113.10"


def party(name: str) -> Party:
    """One of the nine pods, or an address."""
    if "/" not in name:
        return Party(address=IPv4Address(name))
    pod = model.pod_of(builders.pod(name))
    assert pod is not None
    return Party(address=pod.pod_ip, pod=pod)


def raw(name: str) -> dict[str, Any]:
    """The same for the oracle."""
    known = party(name)
    if known.pod is None:
        return {"ip": name}
    return {
        "ip": str(known.address),
        "namespace": known.pod.key.namespace,
        "labels": dict(known.pod.labels),
        "ports": dict(known.pod.ports),
    }


def read(policies: list[dict[str, Any]]) -> list[model.Policy]:
    """Policies from JSON."""
    return [model.policy_of(codec.decode(NetworkPolicy, policy)) for policy in policies]


def verdict(
    policies: list[dict[str, Any]], source: str, target: str, port: int = 80, protocol: str = "TCP"
) -> evaluate.Verdict:
    """Judge one connection."""
    return evaluate.check(
        read(policies), cases.SPACES, party(source), party(target), protocol, port
    )


@pytest.mark.parametrize("name", cases.CASES)
def test_agrees_with_the_oracle(name: str) -> None:
    """Nine pods and the world, each to each, on two ports of three protocols."""
    policies, parties = cases.CASES[name], (*builders.ALL, WORLD)
    parsed = read(policies)
    known = {party_name: (party(party_name), raw(party_name)) for party_name in parties}
    for source, target in ((s, t) for s in parties for t in parties):
        for protocol in model.PROTOCOLS:
            for port in (80, 81):
                found = evaluate.check(
                    parsed, cases.SPACES, known[source][0], known[target][0], protocol, port
                )
                expected = oracle.allowed(
                    policies, cases.SPACES, known[source][1], known[target][1], protocol, port
                )
                assert found.allowed == expected, (source, target, protocol, port)


def test_names_the_policies_that_isolate() -> None:
    """What is denied names who isolates, on the side that denies."""
    found = verdict([cases.DENY_IN, cases.ALLOW_OUT], "y/a", "x/a")
    assert not found.allowed
    assert [str(policy) for policy in found.deciding] == ["x/deny-ingress"]
    assert str(found.ingress) == "ingress: denied, isolated by x/deny-ingress"


def test_names_the_policies_that_allow() -> None:
    """What is allowed names who allows it, not who merely isolates."""
    found = verdict([cases.DENY_IN, cases.ALLOW_IN], "y/a", "x/a")
    assert found.allowed
    assert [str(policy) for policy in found.deciding] == ["x/allow-all-ingress"]


def test_a_node_reaches_its_own_pods_only() -> None:
    """The kubelet's probes pass any isolation; another node is an address like all others."""
    target = party("x/a")
    for node, allowed in (("node1", True), ("node2", False)):
        source = Party(address=IPv4Address("172.18.0.3"), node=node)
        found = evaluate.check(read([cases.DENY_IN]), cases.SPACES, source, target, "TCP", 80)
        assert found.allowed == allowed


def test_icmp_needs_a_rule_without_ports() -> None:
    """What has no ports is allowed by rules that ask for none."""
    assert not verdict(
        [cases.make("p", ingress=[cases.into(ports=[cases.TCP80])])], "y/a", "x/a", 0, "ICMP"
    ).allowed
    assert verdict([cases.ALLOW_IN], "y/a", "x/a", 0, "ICMP").allowed


def test_pods_without_an_address_of_their_own_are_nobody() -> None:
    """A pod that has ended, or lives on the host's network, is chosen by no selector."""
    assert model.pod_of(builders.pod("x/a", phase="Succeeded")) is None
    assert model.pod_of(builders.pod("x/a", phase="Failed")) is None
    assert model.pod_of(builders.pod("x/a", hostNetwork=True)) is None
    assert model.pod_of(builders.pod("x/a")) is not None
