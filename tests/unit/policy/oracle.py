"""An evaluator of its own: NetworkPolicies as JSON, judged straight from the words of the API, with no netpod code.

Shares nothing with netpod/policy, so that both cannot be wrong together.
"""

import ipaddress
from typing import Any

Json = dict[str, Any]


def _selected(selector: Json, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", []):
        has, value = term["key"] in labels, labels.get(term["key"])
        values = term.get("values", [])
        good = {
            "In": has and value in values,
            "NotIn": not has or value not in values,
            "Exists": has,
            "DoesNotExist": not has,
        }[term["operator"]]
        if not good:
            return False
    return True


def _peer(peer: Json, own: str, other: Json, spaces: dict[str, dict[str, str]]) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other["ip"])
        inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        outside = any(
            address in ipaddress.ip_network(cidr) for cidr in peer["ipBlock"].get("except", [])
        )
        return inside and not outside
    if "namespace" not in other:
        return False
    if "namespaceSelector" in peer:
        if not _selected(peer["namespaceSelector"], spaces[other["namespace"]]):
            return False
    elif other["namespace"] != own:
        return False
    return _selected(peer.get("podSelector", {}), other["labels"])


def _port(entry: Json, protocol: str, port: int, target: Json, by_address: bool) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return not by_address and target.get("ports", {}).get((wanted, protocol)) == port
    last: int = entry.get("endPort") or wanted
    return bool(wanted <= port <= last)


def _side(
    policies: list[Json], direction: str, subject: Json, other: Json, target: Json,
    protocol: str, port: int, spaces: dict[str, dict[str, str]],
) -> bool:  # fmt: skip
    isolated = False
    for policy in policies:
        spec, own = policy["spec"], policy["metadata"]["namespace"]
        if subject.get("namespace") != own or not _selected(spec["podSelector"], subject["labels"]):
            continue
        types = spec.get("policyTypes") or (
            ["Ingress"] + (["Egress"] if spec.get("egress") else [])
        )
        if direction not in types:
            continue
        isolated = True
        word = {"Ingress": "from", "Egress": "to"}[direction]
        for rule in spec.get(direction.lower()) or []:
            peers = rule.get(word) or [None]
            ports = rule.get("ports") or [None]
            for peer in peers:
                if peer is not None and not _peer(peer, own, other, spaces):
                    continue
                block = direction == "Egress" and peer is not None and "ipBlock" in peer
                for entry in ports:
                    if entry is None or _port(entry, protocol, port, target, block):
                        return True
    return not isolated


def allowed(
    policies: list[Json], spaces: dict[str, dict[str, str]], source: Json, target: Json,
    protocol: str, port: int,
) -> bool:  # fmt: skip
    """Whether a connection passes.

    Args:
        policies: NetworkPolicies as JSON.
        spaces: Labels by namespace.
        source: ip, and for a pod namespace, labels, ports by (name, protocol).
        target: The same of the other end.
        protocol: TCP or UDP.
        port: That is asked for.
    """
    if source["ip"] == target["ip"]:
        return True
    return _side(policies, "Egress", source, target, target, protocol, port, spaces) and _side(
        policies, "Ingress", target, source, target, protocol, port, spaces
    )
