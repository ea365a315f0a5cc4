"""What NetworkPolicies may not say, in upstream's words."""

from collections.abc import Callable
from typing import Any

import pytest

Wrong = Callable[..., list[str]]
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def ingress(*peers: Any, ports: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return a policy's fields with one ingress rule."""
    return {"spec": {"podSelector": {}, "ingress": [{"from": list(peers), "ports": list(ports)}]}}


def block(cidr: str, *excepted: str) -> dict[str, Any]:
    """Return a peer."""
    return {"ipBlock": {"cidr": cidr, "except": list(excepted)}}


B = "spec.ingress[0].from[0].ipBlock"
N = "spec.ingress[0].ports[0]"
CASES: list[tuple[dict[str, Any], str]] = [
    (ingress(block("")), f"{B}.cidr: Required value"),
    (ingress(block("10.0.0.0/33")), f'{B}.cidr: Invalid value: "10.0.0.0/33": {CIDR}'),
    (ingress(block("10.0.0.256/24")), f'{B}.cidr: Invalid value: "10.0.0.256/24": {CIDR}'),
    (ingress(block("10.0.0.1")), f'{B}.cidr: Invalid value: "10.0.0.1": {CIDR}'),
    (ingress(block("fd00::/129")), f'{B}.cidr: Invalid value: "fd00::/129": {CIDR}'),
    (
        ingress(block("10.0.0.0/255.0.0.0")),
        f'{B}.cidr: Invalid value: "10.0.0.0/255.0.0.0": {CIDR}',
    ),
    (
        ingress(block("10.0.0.0/0.0.0.255")),
        f'{B}.cidr: Invalid value: "10.0.0.0/0.0.0.255": {CIDR}',
    ),
    (ingress(block("fe80::%eth0/64")), f'{B}.cidr: Invalid value: "fe80::%eth0/64": {CIDR}'),
    (ingress(block("10.0.0.0/24", "x")), f'{B}.except[0]: Invalid value: "x": {CIDR}'),
    (
        ingress(block("10.0.0.0/24", "10.0.0.0/25", "10.1.0.0/25")),
        f'{B}.except[1]: Invalid value: "10.1.0.0/25": must be a strict subset of `cidr`',
    ),
    (
        ingress(block("10.0.0.0/24", "10.0.0.0/24")),
        f'{B}.except[0]: Invalid value: "10.0.0.0/24": must be a strict subset of `cidr`',
    ),
    (
        ingress(block("10.0.0.0/24", "fd00::/64")),
        f'{B}.except[0]: Invalid value: "fd00::/64": must be a strict subset of `cidr`',
    ),
    (
        ingress({**block("10.0.0.0/24"), "podSelector": {}}),
        "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
    ),
    (ingress({}), "spec.ingress[0].from[0]: Required value: must specify a peer"),
    (
        {"spec": {"podSelector": {}, "egress": [{"to": [block("10.0.0.0/99")]}]}},
        f'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.0/99": {CIDR}',
    ),
    (
        ingress(ports=({"protocol": "ICMP", "port": 1},)),
        f'{N}.protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
    ),
    (ingress(ports=({"port": 0},)), f"{N}.port: Invalid value: 0: must be between 1 and 65535"),
    (ingress(ports=({"port": "a_b"},)), f'{N}.port: Invalid value: "a_b": must contain only'),
    (
        ingress(ports=({"port": 90, "endPort": 80},)),
        f"{N}.endPort: Invalid value: 80: must be greater than or equal to `port`",
    ),
    (
        ingress(ports=({"port": "http", "endPort": 80},)),
        f"{N}.endPort: Invalid value: 80: may not be specified when `port` is non-numeric",
    ),
    (
        ingress(ports=({"endPort": 80},)),
        f"{N}.port: Required value: must be specified when `endPort` is specified",
    ),
    (
        {"spec": {"podSelector": {}, "policyTypes": ["Both"]}},
        'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Ingress", "Egress"',
    ),
]


@pytest.mark.parametrize(("fields", "start"), CASES)
def test_wrong_policies(wrong: Wrong, fields: dict[str, Any], start: str) -> None:
    """Each mistake is named once, alone."""
    found = wrong("netpol", **fields)
    assert len(found) == 1, found
    assert found[0].startswith(start)


@pytest.mark.parametrize("word", ["10.0.0.0/24", "10.0.0.7/24", "0.0.0.0/0", "fd00::/8"])
def test_right_blocks(wrong: Wrong, word: str) -> None:
    """Networks of both families, with bits of a host or without."""
    assert wrong("netpol", **ingress(block(word))) == []
