"""The world around the pods: the outside, the edge router, the wire between the nodes, the nodes' namespaces.

    outside eth0 203.0.113.10 -- .1 outside0 edge eth0 172.18.0.1 -- [underlay br0] -- eth0 172.18.0.x NODE

Every step is idempotent: a second run after a crash completes what the first began.
"""

from ipaddress import IPv4Interface, IPv4Network

from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.linux import link, netns, route, sysctl
from netpod.linux.link import End

WIRE = "br0"
EDGE_OUTSIDE = "outside0"

_QUIET = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
}
_ROUTER = {**_QUIET, "net.ipv4.ip_forward": 1}
# The wire is a switch, not a firewall: frames between nodes must not meet netfilter a second time.
_SWITCH = {**_QUIET, "net.bridge.bridge-nf-call-iptables": 0}


def ensure(config: ClusterConfig) -> None:
    """Make the outside, the edge, the wire and all node namespaces.

    Raises:
        KernelError: the kernel refused; what was made stays until cleanup.
    """
    paths = config.paths
    for name, values in (
        (paths.netns_outside, _QUIET),
        (paths.netns_edge, _ROUTER),
        (paths.netns_underlay, _SWITCH),
    ):
        _ensure_netns(name, values)
    link.ensure_bridge(paths.netns_underlay, WIRE)
    _ensure_outside(config)
    _ensure_port(config, paths.netns_edge, "edge", config.edge_underlay)
    # The load balancer's table rewrites or refuses these addresses; they only need a route to get that far.
    route.replace(paths.netns_edge, IPv4Network(config.lb_cidr), dev="eth0")
    for node in config.running:
        ensure_node(config, node)


def ensure_node(config: ClusterConfig, node: NodeConfig) -> None:
    """Make one node's namespace and plug it into the wire."""
    name = config.paths.netns_node(node.name)
    _ensure_netns(name, _ROUTER)
    _ensure_port(config, name, node.name, node.address)
    _ensure_default(name, config.edge_underlay)


def unplug_node(config: ClusterConfig, node: NodeConfig) -> None:
    """Pull a node's cable; pulled already, or no wire: nothing to do."""
    underlay = config.paths.netns_underlay
    if netns.exists(underlay):
        link.delete_link(underlay, _port(node.name))


def _port(owner: str) -> str:
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
    link.ensure_address(edge, EDGE_OUTSIDE, config.edge_outside)
    link.ensure_address(outside, "eth0", config.client_address)
    _ensure_default(outside, config.edge_outside)


def _ensure_port(config: ClusterConfig, name: str, owner: str, address: IPv4Interface) -> None:
    """Give namespace `name` an eth0 whose other end is a port of the wire."""
    underlay = config.paths.netns_underlay
    port = _port(owner)
    if link.observe_link(name, "eth0") is None:
        link.delete_link(underlay, port)
        link.create_veth(underlay, End(name=port), name, End(name="eth0"), master=WIRE)
    link.ensure_address(name, "eth0", address)


def _ensure_default(name: str, gateway: IPv4Interface) -> None:
    route.replace(name, route.DEFAULT, via=gateway.ip)
