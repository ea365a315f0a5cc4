"""compile(model) -> table `ip kube-proxy`, or `ip6 kube-proxy`, of nftables mode (pure).

    prerouting, output  -110  firewall-check -> firewall-X         sources a load balancer does not accept
    prerouting, output  -100  services -> @service-ips -> service-X -> endpoint-E -> DNAT
                                          @service-nodeports -> external-X -> service-X or local-X
    input, forward, output 0  service-endpoints-check, nodeport-endpoints-check, cluster-ips-check: refuse
    postrouting          100  masquerading: what mark-for-masquerade marked

Everything in the form in which `nft list` prints it. Source: kubernetes pkg/proxy/nftables/proxier.go, README.md.
"""

from netpod.ip import Family
from netpod.proxy import nftables_port, topology
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Endpoint, Model, ServicePort
from netpod.proxy.nftables_names import Chain, Map
from netpod.proxy.nftables_port import PortTable
from netpod.proxy.nftables_table import Table

_LOOPBACK = {Family.IPV4: "127.0.0.0/8", Family.IPV6: "::1"}
_NEW = "ct state new jump"

BASE_CHAINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "filter-prerouting-pre-dnat": (
        "type filter hook prerouting priority -110; policy accept;",
        (f"{_NEW} {Chain.FIREWALL_CHECK}",),
    ),
    "filter-output-pre-dnat": (
        "type filter hook output priority -110; policy accept;",
        (f"{_NEW} {Chain.FIREWALL_CHECK}",),
    ),
    "filter-input": (
        "type filter hook input priority 0; policy accept;",
        (f"{_NEW} {Chain.NODEPORT_ENDPOINTS_CHECK}", f"{_NEW} {Chain.SERVICE_ENDPOINTS_CHECK}"),
    ),
    "filter-forward": (
        "type filter hook forward priority 0; policy accept;",
        (f"{_NEW} {Chain.SERVICE_ENDPOINTS_CHECK}", f"{_NEW} {Chain.CLUSTER_IPS_CHECK}"),
    ),
    "filter-output": (
        "type filter hook output priority 0; policy accept;",
        (f"{_NEW} {Chain.SERVICE_ENDPOINTS_CHECK}", f"{_NEW} {Chain.CLUSTER_IPS_CHECK}"),
    ),
    "nat-prerouting": (
        "type nat hook prerouting priority -100; policy accept;",
        (f"jump {Chain.SERVICES}",),
    ),
    "nat-output": (
        "type nat hook output priority -100; policy accept;",
        (f"jump {Chain.SERVICES}",),
    ),
    "nat-postrouting": (
        "type nat hook postrouting priority 100; policy accept;",
        (f"jump {Chain.MASQUERADING}",),
    ),
}
"""Definition and rules of the chains that hang on a hook."""

_ADDRESS = "type {address}"
_PORT = "type inet_proto . inet_service : verdict"
_ADDRESS_PORT = "type {address} . inet_proto . inet_service : verdict"
_SETS: dict[str, tuple[str, str, str]] = {
    Map.CLUSTER_IPS: ("set", _ADDRESS, "Active ClusterIPs"),
    Map.NODEPORT_IPS: ("set", _ADDRESS, "IPs that accept NodePort traffic"),
    Map.SERVICE_IPS: ("map", _ADDRESS_PORT, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
    Map.SERVICE_NODEPORTS: ("map", _PORT, "NodePort traffic"),
    Map.NO_ENDPOINT_SERVICES: (
        "map",
        _ADDRESS_PORT,
        "vmap to drop or reject packets to services with no endpoints",
    ),
    Map.NO_ENDPOINT_NODEPORTS: (
        "map",
        _PORT,
        "vmap to drop or reject packets to service nodeports with no endpoints",
    ),
    Map.FIREWALL_IPS: (
        "map",
        _ADDRESS_PORT,
        "destinations that are subject to LoadBalancerSourceRanges",
    ),
}
"""Kind, type and comment of the sets and maps that exist once."""


def sets(family: Family) -> dict[str, tuple[str, str, str]]:
    """Kind, type and comment of the sets and maps that exist once in the table of a family."""
    address = f"ipv{family.version}_addr"
    return {
        str(name): (kind, type_.format(address=address), comment)
        for name, (kind, type_, comment) in _SETS.items()
    }


def compile(model: Model, config: ProxyConfig, *, zone: str = "") -> Table:
    """The whole table of this node."""
    table = base(config)
    for name in sorted(model.services):
        port = model.services[name]
        made = compile_port(port, model.endpoints.get(name, ()), config, zone=zone)
        table.chains.update(made.chains)
        table.affinity.update(made.affinity)
        for (container, key), value in made.elements.items():
            # Two Services may claim one address or node port: the first by name has it, as in iptables mode.
            table.elements[container].setdefault(key, value)
    return table


def compile_port(
    port: ServicePort, endpoints: tuple[Endpoint, ...], config: ProxyConfig, *, zone: str = ""
) -> PortTable:
    """One service port's share of the table."""
    usable = topology.categorize(port, endpoints, node_name=config.node_name, zone=zone)
    return nftables_port.compile_port(port, usable, config)


def base(config: ProxyConfig) -> Table:
    """What the table has without any Service."""
    mark = f"0x{1 << config.masquerade_bit:08x}"
    everywhere = any(network.prefixlen == 0 for network in config.nodeport_addresses)
    ip = config.family.nft
    portal = f"{ip} daddr . meta l4proto . th dport vmap"
    to_node = (
        f"fib daddr type local {ip} daddr != {_LOOPBACK[config.family]}"
        if everywhere
        else f"{ip} daddr @{Map.NODEPORT_IPS}"
    )
    by_port = f"{to_node} meta l4proto . th dport vmap"
    unallocated = (
        (
            f"{ip} daddr {nftables_port.networks(list(config.service_cidrs))} drop "
            'comment "Drop traffic to unallocated ClusterIPs"',
        )
        if config.service_cidrs
        else ()
    )
    known = {
        name: definition
        for name, definition in sets(config.family).items()
        if not (everywhere and name == Map.NODEPORT_IPS)
    }
    table = Table(
        hooks={name: definition for name, (definition, _) in BASE_CHAINS.items()},
        sets=known,
        chains={
            **{name: rules for name, (_, rules) in BASE_CHAINS.items()},
            str(Chain.MARK_FOR_MASQUERADE): (f"meta mark set meta mark | {mark}",),
            str(Chain.MASQUERADING): (
                f"meta mark & {mark} == 0x00000000 return",
                # Cleared first, or a packet that passes netfilter again (overlay, bridge) is masqueraded twice.
                f"meta mark set meta mark ^ {mark}",
                "masquerade fully-random",
            ),
            str(Chain.SERVICES): (
                f"{portal} @{Map.SERVICE_IPS}",
                f"{by_port} @{Map.SERVICE_NODEPORTS}",
            ),
            str(Chain.SERVICE_ENDPOINTS_CHECK): (f"{portal} @{Map.NO_ENDPOINT_SERVICES}",),
            str(Chain.NODEPORT_ENDPOINTS_CHECK): (f"{by_port} @{Map.NO_ENDPOINT_NODEPORTS}",),
            str(Chain.FIREWALL_CHECK): (f"{portal} @{Map.FIREWALL_IPS}",),
            # What a Service has was DNATed before: here is what it has not.
            str(Chain.CLUSTER_IPS_CHECK): (
                f"{ip} daddr @{Map.CLUSTER_IPS} reject "
                'comment "Reject traffic to invalid ports of ClusterIPs"',
                *unallocated,
            ),
            str(Chain.REJECT): ("reject",),
        },
        elements={name: {} for name in known},
        affinity={},
    )
    if not everywhere and node_ports_on(config):
        table.elements[Map.NODEPORT_IPS][str(config.node_ip)] = ""
    return table


def node_ports_on(config: ProxyConfig) -> bool:
    """Whether the node's primary address accepts node ports; by default it does, and no other does."""
    chosen = config.nodeport_addresses
    return not chosen or any(config.node_ip in network for network in chosen)
