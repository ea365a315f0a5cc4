"""compile(model) -> nft text of the load balancer at the edge (pure).

    prerouting  reject      -110   a frontend without ready backends is refused at once
    prerouting  nat         -100   VIP:port -> node:nodePort, nodes in turn
    prerouting  unallocated  -90   what is left for the VIP network leads nowhere
    output      the same three, for clients on the edge itself

Nothing is masqueraded: the packet reaches the node with the client's address, and the node's answer comes back
because the edge is its default route. All happens before routing, so the VIPs need no interface and no route. Only
clients on the edge itself need one, over any link but lo, or connect() fails before there is a packet to DNAT.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from netpod.api.node import Node, internal_ip
from netpod.api.service import Service
from netpod.cloud import model as services

TABLE = "netpod-lb"
LABEL_EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
LABEL_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
TAINT_TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
_COMMENT_BYTES = 128
"""Longest comment nft accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """One port of one VIP.

    Attributes:
        service: "namespace/name".
        port_name: Name of the Service's port, or "".
        protocol: "tcp", "udp" or "sctp".
        vip: The address clients use.
        port: The port clients use.
        node_port: The port on every node.
        backends: Nodes that get the connections, in turn.
        source_ranges: Who may connect; empty: everybody.
        health_check_node_port: Port that says which nodes have endpoints, or 0 when all of them will do.
    """

    service: str
    vip: IPv4Address
    port: int
    node_port: int
    port_name: str = ""
    protocol: str = "tcp"
    backends: tuple[IPv4Address, ...] = ()
    source_ranges: tuple[IPv4Network, ...] = ()
    health_check_node_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeModel:
    """Everything the edge balances. `vip_cidr` holds every VIP."""

    vip_cidr: IPv4Network
    frontends: tuple[Frontend, ...] = ()


def eligible_nodes(nodes: Iterable[Node]) -> tuple[IPv4Address, ...]:
    """Addresses of the nodes that take external traffic: ready, not excluded, not going away; workers if there are any.

    Source: kubernetes cloud-provider/controllers/service/controller.go, node predicates.
    """
    found: list[tuple[IPv4Address, bool]] = []
    for node in nodes:
        labels = node.metadata.labels
        address = services.ipv4(internal_ip(node))
        ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        leaving = node.metadata.deletion_timestamp or any(
            taint.key == TAINT_TO_BE_DELETED for taint in node.spec.taints
        )
        if address is not None and ready and not leaving and LABEL_EXCLUDE not in labels:
            found.append((address, LABEL_CONTROL_PLANE in labels))
    workers = [ip for ip, control_plane in found if not control_plane]
    return tuple(sorted(workers or [ip for ip, _ in found]))


def frontends(service: Service, nodes: tuple[IPv4Address, ...]) -> tuple[Frontend, ...]:
    """One frontend for each port and address of a Service that has a load balancer of ours."""
    spec = service.spec
    if not services.wants_load_balancer(service):
        return ()
    local = spec.external_traffic_policy == "Local"
    return tuple(
        Frontend(
            service=f"{service.metadata.namespace}/{service.metadata.name}",
            port_name=port.name,
            protocol=(port.protocol or "TCP").lower(),
            vip=vip,
            port=port.port,
            node_port=port.node_port,
            backends=nodes if port.node_port else (),
            source_ranges=_ranges(service),
            health_check_node_port=spec.health_check_node_port if local else 0,
        )
        for vip in services.addresses(service)
        for port in spec.ports
    )


def compile(model: EdgeModel) -> str:
    """The whole table; loading it replaces the one before in one transaction."""
    known = [f for f in model.frontends if f.vip in model.vip_cidr]
    ordered = sorted(known, key=lambda f: (f.vip, f.protocol, f.port, f.service))
    first = {(f.vip, f.protocol, f.port): f for f in reversed(ordered)}
    unique = [first[key] for key in sorted(first)]
    served = [f for f in unique if f.backends]
    refused = [f for f in unique if not f.backends]
    out = [
        f"table ip {TABLE}",
        f"delete table ip {TABLE}",
        f"table ip {TABLE} {{",
        '\tcomment "netpod load balancer"',
        *_map("frontends", [(f, f"goto {chain_of(f)}") for f in served]),
        *_map("refused", [(f, "goto refuse") for f in refused]),
        "\tchain refuse {",
        # Connections that are already there keep the backend they have.
        "\t\tct state new counter reject with icmp port-unreachable",
        "\t}",
    ]
    for frontend in served:
        out += [f"\tchain {chain_of(frontend)} {{", *_balance(frontend), "\t}"]
    for hook in ("prerouting", "output"):
        out += [
            f"\tchain {hook}-reject {{",
            f"\t\ttype filter hook {hook} priority -110; policy accept;",
            "\t\tip daddr . meta l4proto . th dport vmap @refused",
            "\t}",
            f"\tchain {hook} {{",
            f"\t\ttype nat hook {hook} priority -100; policy accept;",
            "\t\tip daddr . meta l4proto . th dport vmap @frontends",
            "\t}",
            f"\tchain {hook}-unallocated {{",
            f"\t\ttype filter hook {hook} priority -90; policy accept;",
            f"\t\tip daddr {model.vip_cidr} counter reject with icmp host-unreachable",
            "\t}",
        ]
    out.append("}")
    return "\n".join(out) + "\n"


def chain_of(frontend: Frontend) -> str:
    """Name of a frontend's chain: `service-NAMESPACE/NAME/PROTOCOL/PORT`, as kube-proxy's nftables mode writes it."""
    return f"service-{frontend.service}/{frontend.protocol}/{frontend.port}-{frontend.vip}"


def _balance(frontend: Frontend) -> list[str]:
    match = f"ip daddr {frontend.vip} {frontend.protocol} dport {frontend.port}"
    colon = ":" if frontend.port_name else ""
    name = f"{frontend.service}{colon}{frontend.port_name}"[:_COMMENT_BYTES]
    rules = []
    if frontend.source_ranges:
        allowed = ", ".join(map(str, frontend.source_ranges))
        rules.append(f'\t\tip saddr != {{ {allowed} }} counter drop comment "{name}"')
    nodes = frontend.backends
    if len(nodes) == 1:
        target = str(nodes[0])
    else:
        turns = ", ".join(f"{index} : {node}" for index, node in enumerate(nodes))
        target = f"numgen inc mod {len(nodes)} map {{ {turns} }}"
    rules.append(f'\t\t{match} counter dnat to {target}:{frontend.node_port} comment "{name}"')
    return rules


def _map(name: str, entries: list[tuple[Frontend, str]]) -> list[str]:
    lines = [f"\tmap {name} {{", "\t\ttype ipv4_addr . inet_proto . inet_service : verdict"]
    if entries:
        lines.append("\t\telements = {")
        lines += [f"\t\t\t{f.vip} . {f.protocol} . {f.port} : {verdict}," for f, verdict in entries]
        lines.append("\t\t}")
    return [*lines, "\t}"]


def _ranges(service: Service) -> tuple[IPv4Network, ...]:
    """IPv4 source ranges; merged, for nft takes no overlapping intervals."""
    found: list[IPv4Network] = []
    for text in service.spec.load_balancer_source_ranges:
        with contextlib.suppress(ValueError):
            found.append(IPv4Network(text.strip(), strict=False))
    return tuple(collapse_addresses(found))
