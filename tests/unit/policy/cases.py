"""The policies of upstream's NetworkPolicy suite and of its generated successor, by name.

Sources: kubernetes test/e2e/network/netpol/network_policy.go; cyclonus' generator tags.
"""

import itertools
from typing import Any

from tests.unit.policy import builders

Json = dict[str, Any]
SPACES: dict[str, dict[str, str]] = {
    name: {"kubernetes.io/metadata.name": name, "ns": name} for name in builders.NAMESPACES
}
INGRESS, EGRESS = ["Ingress"], ["Egress"]
BOTH = ["Ingress", "Egress"]


def labels(**wanted: str) -> Json:
    """A selector by labels."""
    return {"matchLabels": wanted}


def term(key: str, operator: str, *values: str) -> Json:
    """A selector by one expression."""
    return {
        "matchExpressions": [
            {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
        ]
    }


def make(name: str, namespace: str = "x", **spec: Any) -> Json:
    """A NetworkPolicy as JSON."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, **spec},
    }


def into(*peers: Json, ports: list[Json] | None = None) -> Json:
    """An ingress rule."""
    return {**({"from": list(peers)} if peers else {}), **({"ports": ports} if ports else {})}


def out(*peers: Json, ports: list[Json] | None = None) -> Json:
    """An egress rule."""
    return {**({"to": list(peers)} if peers else {}), **({"ports": ports} if ports else {})}


def block(cidr: str, *but: str) -> Json:
    """Addresses as a peer."""
    return {"ipBlock": {"cidr": cidr, **({"except": list(but)} if but else {})}}


A, B = labels(pod="a"), labels(pod="b")
X, Y, Z = (labels(ns=name) for name in builders.NAMESPACES)
TCP80, TCP81 = {"port": 80}, {"protocol": "TCP", "port": 81}
UDP80, UDP = {"protocol": "UDP", "port": 80}, {"protocol": "UDP"}
SCTP80 = {"protocol": "SCTP", "port": 80}
NAMED80, NAMED81 = {"port": "serve-80-tcp"}, {"port": "serve-81-tcp"}
DENY_IN = make("deny-ingress", policyTypes=INGRESS)
DENY_OUT = make("deny-egress", policyTypes=EGRESS)
ALLOW_IN = make("allow-all-ingress", policyTypes=INGRESS, ingress=[{}])
ALLOW_OUT = make("allow-all-egress", policyTypes=EGRESS, egress=[{}])
X_A = builders.address_of("x/a")

UPSTREAM: dict[str, list[Json]] = {
    "no policy": [],
    "default deny ingress": [DENY_IN],
    "default deny egress": [DENY_OUT],
    "default deny all": [make("deny", policyTypes=BOTH)],
    "policyTypes omitted": [make("deny")],
    "policyTypes omitted with egress": [make("p", egress=[out({"podSelector": A})])],
    "policyTypes omitted with an empty egress list": [make("p", egress=[])],
    "egress only, with ingress rules to ignore": [
        make("p", policyTypes=EGRESS, ingress=[into({"podSelector": A})], egress=[{}])
    ],
    "ingress from pods": [make("p", podSelector=A, ingress=[into({"podSelector": B})])],
    "ingress from namespaces": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": Y})])
    ],
    "ingress from namespaces by expression": [
        make("p", ingress=[into({"namespaceSelector": term("ns", "In", "y", "z")})])
    ],
    "ingress from pods by expression": [
        make("p", podSelector=A, ingress=[into({"podSelector": term("pod", "In", "b", "c")})])
    ],
    "NotIn": [make("p", ingress=[into({"podSelector": term("pod", "NotIn", "a")})])],
    "NotIn without the key": [make("p", ingress=[into({"podSelector": term("tier", "NotIn", "a")})])],
    "DoesNotExist": [make("p", ingress=[into({"podSelector": term("tier", "DoesNotExist")})])],
    "Exists": [make("p", ingress=[into({"podSelector": term("tier", "Exists")})])],
    "target by expression": [make("p", podSelector=term("pod", "NotIn", "a"))],
    "pod or namespace": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": Y}, {"podSelector": B})])
    ],
    "pod and namespace": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": Y, "podSelector": B})])
    ],
    "several pod and several namespace selectors": [
        make(
            "p",
            ingress=[
                into(
                    {
                        "namespaceSelector": term("ns", "NotIn", "x"),
                        "podSelector": term("pod", "In", "b", "c"),
                    }
                )
            ],
        )
    ],
    "any pod of the namespace": [make("p", podSelector=A, ingress=[into({"podSelector": {}})])],
    "any pod of any namespace": [make("p", ingress=[into({"namespaceSelector": {}})])],
    "pod in any namespace": [
        make("p", ingress=[into({"namespaceSelector": {}, "podSelector": B})])
    ],
    "namespace by its name": [
        make(
            "p", ingress=[into({"namespaceSelector": labels(**{"kubernetes.io/metadata.name": "z"})})]
        )
    ],
    "port and selectors": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": Y}, ports=[TCP81])])
    ],
    "stacked": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": Y}, ports=[TCP81])]),
        make("q", podSelector=A, ingress=[into({"namespaceSelector": Y}, ports=[TCP80])]),
    ],
    "overlapping": [
        make("p", podSelector=A, ingress=[into({"podSelector": B})]),
        make("q", ingress=[into({"podSelector": labels(pod="c")})]),
    ],
    "allow all over deny": [DENY_IN, ALLOW_IN],
    "allow one port over deny": [DENY_IN, make("q", ingress=[into(ports=[TCP80])])],
    "named port": [make("p", podSelector=A, ingress=[into(ports=[NAMED81])])],
    "named port from a namespace": [
        make("p", podSelector=A, ingress=[into({"namespaceSelector": X}, ports=[NAMED80])])
    ],
    "egress to a named port": [
        make("p", podSelector=A, policyTypes=EGRESS, egress=[out(ports=[NAMED80])])
    ],
    "egress to pods' named port": [
        make("p", policyTypes=EGRESS, egress=[out({"podSelector": B}, ports=[NAMED81])])
    ],
    "egress to addresses by a named port": [
        make("p", policyTypes=EGRESS, egress=[out(block("10.244.0.0/16"), ports=[NAMED80])])
    ],
    "ingress from addresses by a named port": [
        make("p", ingress=[into(block("10.244.0.0/16"), ports=[NAMED80])])
    ],
    "named port of another protocol": [
        make("p", ingress=[into(ports=[{"protocol": "UDP", "port": "serve-80-tcp"}])])
    ],
    "named port nobody has": [make("p", ingress=[into(ports=[{"port": "metrics"}])])],
    "from other namespaces denied": [make("p", ingress=[into({"podSelector": {}})])],
    "egress of one pod": [make("p", podSelector=A, policyTypes=EGRESS)],
    "egress of the namespace": [make("p", policyTypes=EGRESS), make("q", "y", policyTypes=EGRESS)],
    "ingress and egress": [
        make(
            "p",
            podSelector=A,
            policyTypes=BOTH,
            ingress=[into({"namespaceSelector": Y})],
            egress=[out({"podSelector": B}, ports=[TCP80])],
        )
    ],
    "client's egress beats server's ingress": [
        make("p", podSelector=A, policyTypes=EGRESS),
        make("q", "y", policyTypes=INGRESS, ingress=[{}]),
    ],
    "egress to a pod of another namespace": [
        make("p", policyTypes=EGRESS, egress=[out({"namespaceSelector": Y, "podSelector": A})])
    ],
    "egress allow all beats the others": [
        make("p", policyTypes=EGRESS, egress=[out({"podSelector": A})]),
        ALLOW_OUT,
    ],
    "ingress allow all beats the others": [
        make("p", policyTypes=INGRESS, ingress=[into({"podSelector": A})]),
        ALLOW_IN,
    ],
    "egress to a CIDR": [
        make("p", policyTypes=EGRESS, egress=[out(block("10.244.1.0/24"))]),
    ],
    "egress but for an exception": [
        make("p", policyTypes=EGRESS, egress=[out(block("10.244.1.0/24", f"{X_A}/32"))]),
    ],
    "in the CIDR of one and the exception of another": [
        make("p", policyTypes=EGRESS, egress=[out(block("10.244.1.0/24", f"{X_A}/32"))]),
        make("q", policyTypes=EGRESS, egress=[out(block(f"{X_A}/32"))]),
    ],
    "in an exception and chosen by label": [
        make(
            "p",
            policyTypes=EGRESS,
            egress=[out(block("10.244.0.0/16", "10.244.1.0/24"), {"podSelector": A})],
        ),
    ],
    "ingress from a CIDR": [make("p", ingress=[into(block("10.244.2.0/24"))])],
    "ingress from everywhere": [make("p", ingress=[into(block("0.0.0.0/0"))])],
    "ingress from everywhere but": [
        make("p", ingress=[into(block("0.0.0.0/0", "10.244.1.0/28", "10.244.2.2/31"))])
    ],
    "IPv6 addresses": [make("p", ingress=[into(block("::/0"))])],
    "SCTP is not TCP": [make("p", ingress=[into(ports=[SCTP80])])],
    "SCTP beside TCP": [make("p", ingress=[into(ports=[SCTP80, TCP81])])],
    "UDP is not TCP": [make("p", ingress=[into(ports=[UDP80])])],
    "a whole protocol": [make("p", ingress=[into(ports=[UDP])])],
    "a range": [make("p", ingress=[into(ports=[{"port": 79, "endPort": 80}])])],
    "ranges that overlap": [
        make("p", ingress=[into(ports=[{"port": 1, "endPort": 80}, {"port": 60, "endPort": 81}, TCP80])])
    ],
    "a range of one": [make("p", egress=[out(ports=[{"port": 81, "endPort": 81}])])],
    "several rules": [
        make(
            "p",
            ingress=[into({"podSelector": A}, ports=[TCP80]), into({"podSelector": B}, ports=[TCP81])],
        )
    ],
    "an empty list allows nothing": [make("p", ingress=[])],
    "an empty rule allows everything": [make("p", ingress=[{}])],
    "nobody selected": [make("p", podSelector=labels(pod="nobody"))],
    "no such peer": [make("p", ingress=[into({"podSelector": labels(pod="nobody")})])],
    "all namespaces": [make("p", name) for name in builders.NAMESPACES],
    "two namespaces that trust each other": [
        make("p", "x", policyTypes=BOTH, ingress=[into({"namespaceSelector": Y})],
             egress=[out({"namespaceSelector": Y})]),
        make("p", "y", policyTypes=BOTH, ingress=[into({"namespaceSelector": X})],
             egress=[out({"namespaceSelector": X})]),
    ],
}  # fmt: skip

_PEERS: dict[str, list[Json]] = {
    "anybody": [],
    "pods a here": [{"podSelector": A}],
    "namespace y": [{"namespaceSelector": Y}],
    "pods b of namespace y": [{"namespaceSelector": Y, "podSelector": B}],
    "namespaces but x": [{"namespaceSelector": term("ns", "NotIn", "x")}],
    "addresses": [block("10.244.1.0/24")],
    "addresses but": [block("10.244.0.0/16", "10.244.1.2/31", "10.244.2.0/24")],
    "pods c here or addresses": [{"podSelector": labels(pod="c")}, block("10.244.2.0/29")],
}
_PORTS: dict[str, list[Json]] = {
    "any port": [],
    "TCP 80": [TCP80],
    "named 81": [NAMED81],
    "UDP, TCP 81": [UDP, TCP81],
    "range": [{"port": 81, "endPort": 90}, {"protocol": "UDP", "port": 70, "endPort": 80}],
}
_TARGETS: dict[str, Json] = {"all": {}, "a": A}


def generated() -> dict[str, list[Json]]:
    """Every target, direction, peer and port with each other; then pairs that contradict each other."""
    found: dict[str, list[Json]] = {}
    for target, peers, ports in itertools.product(_TARGETS, _PEERS, _PORTS):
        rule = {"ports": _PORTS[ports]} if _PORTS[ports] else {}
        source = {"from": _PEERS[peers]} if _PEERS[peers] else {}
        where = {"to": _PEERS[peers]} if _PEERS[peers] else {}
        chosen = _TARGETS[target]
        found[f"to {target} from {peers}: {ports}"] = [
            make("p", podSelector=chosen, policyTypes=INGRESS, ingress=[{**source, **rule}])
        ]
        found[f"from {target} to {peers}: {ports}"] = [
            make("p", podSelector=chosen, policyTypes=EGRESS, egress=[{**where, **rule}])
        ]
    sides = {"deny in": DENY_IN, "deny out": DENY_OUT, "allow in": ALLOW_IN, "allow out": ALLOW_OUT}
    others = {
        "y allows x in": make("y", "y", policyTypes=INGRESS, ingress=[into({"namespaceSelector": X})]),
        "y reaches x": make("y", "y", policyTypes=EGRESS, egress=[out({"namespaceSelector": X})]),
        "x/a takes 80": make("n", podSelector=A, policyTypes=INGRESS, ingress=[into(ports=[TCP80])]),
        "x/a asks 81": make("n", podSelector=A, policyTypes=EGRESS, egress=[out(ports=[TCP81])]),
    }  # fmt: skip
    for (one, first), (two, second) in itertools.product(sides.items(), others.items()):
        found[f"{one} and {two}"] = [first, second]
    return found


CASES = {**UPSTREAM, **generated()}
