"""compile(model) -> nft text of the load balancer at the edge, a table of each address family (pure).

    prerouting  reject      -110   a frontend without ready backends is refused at once
    prerouting  nat         -100   VIP:port -> node:nodePort, nodes in turn
    prerouting  unallocated  -90   what is left for the VIP network leads nowhere
    output      the same three, for clients on the edge itself

Nothing is masqueraded: the packet reaches the node with the client's address, and the node's answer comes back
because the edge is its default route. All happens before routing, so the VIPs need no interface and no route. Only
clients on the edge itself need one, over any link but lo, or connect() fails before there is a packet to DNAT.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from netpod.api.node import Node, internal_ip
from netpod.api.service import Service
from netpod.cloud import model as services
from netpod.ip import Address, Family, Network, family_of, host_port, network_of

TABLE = "netpod-lb"
LABEL_EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
LABEL_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
TAINT_TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
_COMMENT_BYTES = 128
"""Longest comment nft accepts."""
_REFUSAL = {Family.IPV4: "icmp", Family.IPV6: "icmpv6"}
_UNREACHABLE = {Family.IPV4: "icmp host-unreachable", Family.IPV6: "icmpv6 addr-unreachable"}


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
    vip: Address
    port: int
    node_port: int
    port_name: str = ""
    protocol: str = "tcp"
    backends: tuple[Address, ...] = ()
    source_ranges: tuple[Network, ...] = ()
    health_check_node_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeModel:
    """Everything the edge balances in one address family. `vip_cidr` holds every VIP of it; others are left out."""

    vip_cidr: Network
    frontends: tuple[Frontend, ...] = ()


def eligible_nodes(nodes: Iterable[Node], family: Family = Family.IPV4) -> tuple[Address, ...]:
    """Addresses of the nodes that take external traffic: ready, not excluded, not going away; workers if there are any.

    Source: kubernetes cloud-provider/controllers/service/controller.go, node predicates.
    """
    found: list[tuple[Address, bool]] = []
    for node in nodes:
        labels = node.metadata.labels
        address = services.parse(internal_ip(node, family))
        ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        leaving = node.metadata.deletion_timestamp or any(
            taint.key == TAINT_TO_BE_DELETED for taint in node.spec.taints
        )
        if address is not None and ready and not leaving and LABEL_EXCLUDE not in labels:
            found.append((address, LABEL_CONTROL_PLANE in labels))
    workers = [ip for ip, control_plane in found if not control_plane]
    return tuple(sorted(workers or [ip for ip, _ in found], key=int))


def frontends(service: Service, nodes: tuple[Address, ...]) -> tuple[Frontend, ...]:
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
            source_ranges=_ranges(service, family_of(vip)),
            health_check_node_port=spec.health_check_node_port if local else 0,
        )
        for vip in services.addresses(service)
        for port in spec.ports
    )


def unique(model: EdgeModel) -> list[Frontend]:
    """Frontends of the model's network in order; of two that claim one port of a VIP, the first by name."""
    known = [f for f in model.frontends if f.vip in model.vip_cidr]
    ordered = sorted(known, key=lambda f: (int(f.vip), f.protocol, f.port, f.service))
    first = {(int(f.vip), f.protocol, f.port): f for f in reversed(ordered)}
    return [first[place] for place in sorted(first)]


def label(frontend: Frontend) -> str:
    """Whose frontend it is, "namespace/name:port", as a rule's comment says it."""
    colon = ":" if frontend.port_name else ""
    return f"{frontend.service}{colon}{frontend.port_name}"[:_COMMENT_BYTES]


def compile(model: EdgeModel) -> str:
    """The whole table; loading it replaces the one before in one transaction."""
    family = family_of(model.vip_cidr)
    table = f"{family.nft} {TABLE}"
    key = f"{family.nft} daddr . meta l4proto . th dport vmap"
    refusal = _REFUSAL[family]
    found = unique(model)
    served = [f for f in found if f.backends]
    refused = [f for f in found if not f.backends]
    out = [
        f"table {table}",
        f"delete table {table}",
        f"table {table} {{",
        '\tcomment "netpod load balancer"',
        *_map(family, "frontends", [(f, f"goto {chain_of(f)}") for f in served]),
        *_map(family, "refused", [(f, "goto refuse") for f in refused]),
        "\tchain refuse {",
        # Connections that are already there keep the backend they have.
        f"\t\tct state new counter reject with {refusal} port-unreachable",
        "\t}",
    ]
    for frontend in served:
        out += [f"\tchain {chain_of(frontend)} {{", *_balance(frontend), "\t}"]
    for hook in ("prerouting", "output"):
        out += [
            f"\tchain {hook}-reject {{",
            f"\t\ttype filter hook {hook} priority -110; policy accept;",
            f"\t\t{key} @refused",
            "\t}",
            f"\tchain {hook} {{",
            f"\t\ttype nat hook {hook} priority -100; policy accept;",
            f"\t\t{key} @frontends",
            "\t}",
            f"\tchain {hook}-unallocated {{",
            f"\t\ttype filter hook {hook} priority -90; policy accept;",
            f"\t\t{family.nft} daddr {model.vip_cidr} counter reject with {_UNREACHABLE[family]}",
            "\t}",
        ]
    out.append("}")
    return "\n".join(out) + "\n"


def chain_of(frontend: Frontend) -> str:
    """Name of a frontend's chain: `service-NAMESPACE/NAME/PROTOCOL/PORT`, as kube-proxy's nftables mode writes it.

    A colon would end the name, so IPv6 addresses have dots.
    """
    vip = str(frontend.vip).replace(":", ".")
    return f"service-{frontend.service}/{frontend.protocol}/{frontend.port}-{vip}"


def _balance(frontend: Frontend) -> list[str]:
    ip = family_of(frontend.vip).nft
    match = f"{ip} daddr {frontend.vip} {frontend.protocol} dport {frontend.port}"
    name = label(frontend)
    rules = []
    if frontend.source_ranges:
        allowed = ", ".join(map(str, frontend.source_ranges))
        rules.append(f'\t\t{ip} saddr != {{ {allowed} }} counter drop comment "{name}"')
    nodes = frontend.backends
    if len(nodes) == 1:
        target = host_port(nodes[0], frontend.node_port)
    else:
        turns = ", ".join(f"{index} : {node}" for index, node in enumerate(nodes))
        target = f"numgen inc mod {len(nodes)} map {{ {turns} }}:{frontend.node_port}"
    rules.append(f'\t\t{match} counter dnat to {target} comment "{name}"')
    return rules


def _map(family: Family, name: str, entries: list[tuple[Frontend, str]]) -> list[str]:
    type_ = f"type ipv{family.version}_addr . inet_proto . inet_service : verdict"
    lines = [f"\tmap {name} {{", f"\t\t{type_}"]
    if entries:
        lines.append("\t\telements = {")
        lines += [f"\t\t\t{f.vip} . {f.protocol} . {f.port} : {verdict}," for f, verdict in entries]
        lines.append("\t\t}")
    return [*lines, "\t}"]


def _ranges(service: Service, family: Family) -> tuple[Network, ...]:
    """Source ranges of a family; merged, for nft takes no overlapping intervals."""
    found = [network_of(it, family) for it in service.spec.load_balancer_source_ranges]
    four = collapse_addresses(it for it in found if isinstance(it, IPv4Network))
    six = collapse_addresses(it for it in found if isinstance(it, IPv6Network))
    return (*four, *six)
