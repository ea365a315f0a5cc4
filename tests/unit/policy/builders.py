"""Policies, pods and namespaces in one line each, and the nine pods of upstream's truth tables.

Namespaces x, y, z carry ns=<name>; pods a, b, c carry pod=<name>. Their containers call TCP 80 serve-80-tcp and
TCP 81 serve-81-tcp, UDP the same with -udp.
"""

from typing import Any

from netpod.api import codec
from netpod.api.core import Namespace
from netpod.api.networkpolicy import NetworkPolicy
from netpod.api.pod import Pod

NAMESPACES = ("x", "y", "z")
PODS = ("a", "b", "c")
NODES = ("node1", "node2")
ALL = tuple(f"{namespace}/{pod}" for namespace in NAMESPACES for pod in PODS)
Labels = dict[str, str]
Json = dict[str, Any]


def node_of(name: str) -> str:
    """Node of one of the nine pods: every other one."""
    return NODES[ALL.index(name) % 2]


def address_of(name: str) -> str:
    """Address of one of the nine pods."""
    index = ALL.index(name)
    return f"10.244.{index % 2 + 1}.{index // 2 + 2}"


def policy(name: str, namespace: str = "x", **spec: Any) -> NetworkPolicy:
    """A NetworkPolicy of a namespace; `spec` is upstream's JSON."""
    return codec.decode(
        NetworkPolicy,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"podSelector": {}, **spec},
        },
    )


def pod(
    name: str,
    *,
    labels: Labels | None = None,
    address: str = "",
    node: str = "",
    phase: str = "Running",
    ports: list[Json] | None = None,
    **spec: Any,
) -> Pod:
    """A pod by its `namespace/name`."""
    space, _, own = name.partition("/")
    served = [
        {"name": f"serve-{port}-{proto.lower()}", "containerPort": port, "protocol": proto}
        for port in (80, 81)
        for proto in ("TCP", "UDP")
    ]
    return codec.decode(
        Pod,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": own,
                "namespace": space,
                "uid": name,
                "labels": labels or {"pod": own},
            },
            "spec": {
                "nodeName": node or node_of(name),
                "containers": [{"name": "c", "ports": served if ports is None else ports}],
                **spec,
            },
            "status": {"phase": phase, "podIP": address or address_of(name)},
        },
    )


def namespace(name: str, **labels: str) -> Namespace:
    """A namespace; it carries its name as upstream's."""
    made = {"kubernetes.io/metadata.name": name, **(labels or {"ns": name})}
    return codec.decode(
        Namespace,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": made}},
    )
