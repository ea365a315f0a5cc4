"""The world around the pods: the outside, the edge router, the wire between the nodes, the nodes' namespaces.

    outside eth0 203.0.113.10 -- .1 outside0 edge eth0 172.18.0.1 -- [underlay br0] -- eth0 172.18.0.x NODE

Every step is idempotent: a second run after a crash completes what the first began.
"""

from collections.abc import Sequence

from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.ip import Family, Interface
from netpod.linux import link, netns, route, sysctl
from netpod.linux.link import End

WIRE = "br0"
EDGE_OUTSIDE = "outside0"

_NO_IPV6 = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
}
_FORWARDING = {
    Family.IPV4: {"net.ipv4.ip_forward": 1},
    Family.IPV6: {"net.ipv6.conf.all.forwarding": 1},
}
# The wire is a switch, not a firewall: frames between nodes must not meet netfilter a second time.
_SWITCH = {
    Family.IPV4: {"net.bridge.bridge-nf-call-iptables": 0},
    Family.IPV6: {"net.bridge.bridge-nf-call-ip6tables": 0},
}


def ensure(config: ClusterConfig) -> None:
    """Make the outside, the edge, the wire and all node namespaces.

    Raises:
        KernelError: the kernel refused; what was made stays until cleanup.
    """
    paths = config.paths
    families = config.families
    # The wire itself has no addresses: it speaks no IPv6, it carries it.
    switch = {key: value for it in families for key, value in _SWITCH[it].items()}
    for name, values in (
        (paths.netns_outside, _quiet(families)),
        (paths.netns_edge, _router(families)),
        (paths.netns_underlay, {**_NO_IPV6, **switch}),
    ):
        _ensure_netns(name, values)
    link.ensure_bridge(paths.netns_underlay, WIRE)
    _ensure_outside(config)
    _ensure_port(config, paths.netns_edge, "edge", config.edge_underlays)
    # The load balancer's table rewrites or refuses these addresses; they only need a route to get that far.
    for network in config.lb_networks:
        route.replace(paths.netns_edge, network, dev="eth0")
    for node in config.running:
        ensure_node(config, node)


def ensure_node(config: ClusterConfig, node: NodeConfig) -> None:
    """Make one node's namespace and plug it into the wire."""
    name = config.paths.netns_node(node.name)
    _ensure_netns(name, _router(config.families))
    _ensure_port(config, name, node.name, node.addresses)
    _ensure_default(name, config.edge_underlays)


def _quiet(families: Sequence[Family]) -> dict[str, int]:
    return sysctl.IPV6 if Family.IPV6 in families else _NO_IPV6


def _router(families: Sequence[Family]) -> dict[str, int]:
    forwarding = {key: value for it in families for key, value in _FORWARDING[it].items()}
    return {**_quiet(families), **forwarding}


def unplug_node(config: ClusterConfig, node: NodeConfig) -> None:
    """Pull a node's cable; pulled already, or no wire: nothing to do."""
    underlay = config.paths.netns_underlay
    if netns.exists(underlay):
        link.delete_link(underlay, port(node.name))


def port(owner: str) -> str:
    """Name of a node's, or the edge's, port of the wire."""
    return owner if len(owner) <= link.IFNAMSIZ else link.short_name("node", owner)


def _ensure_netns(name: str, values: dict[str, int]) -> None:
    netns.ensure_netns(name)
    sysctl.write_all(name, values)
    link.set_link(name, "lo", up=True)


def _ensure_outside(config: ClusterConfig) -> None:
    outside, edge = config.paths.netns_outside, config.paths.netns_edge
    if link.observe_link(outside, "eth0") is None:
        link.delete_link(edge, EDGE_OUTSIDE)
        link.create_veth(edge, End(name=EDGE_OUTSIDE), outside, End(name="eth0"))
    _ensure_addresses(edge, EDGE_OUTSIDE, config.edge_outsides)
    _ensure_addresses(outside, "eth0", config.client_addresses)
    _ensure_default(outside, config.edge_outsides)


def _ensure_port(
    config: ClusterConfig, name: str, owner: str, addresses: Sequence[Interface]
) -> None:
    """Give namespace `name` an eth0 whose other end is a port of the wire."""
    underlay = config.paths.netns_underlay
    name_of_port = port(owner)
    if link.observe_link(name, "eth0") is None:
        link.delete_link(underlay, name_of_port)
        link.create_veth(underlay, End(name=name_of_port), name, End(name="eth0"), master=WIRE)
    _ensure_addresses(name, "eth0", addresses)


def _ensure_addresses(name: str, dev: str, addresses: Sequence[Interface]) -> None:
    for address in addresses:
        link.ensure_address(name, dev, address)


def _ensure_default(name: str, gateways: Sequence[Interface]) -> None:
    for gateway in gateways:
        route.replace(name, route.default_of(gateway.ip), via=gateway.ip)
