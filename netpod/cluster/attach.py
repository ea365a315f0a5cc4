"""`netpod up --attach`: one link `netpod0` of this machine leads to the edge, with routes to the cluster's networks.

This is the only place where netpod touches the machine's own network, and only when asked to: one link, an address of
the outside network for it, and routes over it. All of that is the kernel's to remove with the link, and the link's
other end is in the edge's namespace: whatever takes the cluster away, also after a crash, takes all of it away.

    machine netpod0 .14 -- .13 host0 edge eth0 -- nodes        the last four addresses of the outside network
"""

import errno
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from netpod.cluster.config import ClusterConfig
from netpod.errors import KernelError, UsageError
from netpod.ip import Interface, Network, family_of
from netpod.linux import link, route
from netpod.linux.link import End
from netpod.paths import Paths

if TYPE_CHECKING:
    from netpod.api.node import Node
    from netpod.client.informer import Informers

LINK, FAR = "netpod0", "host0"
"""The link's name on this machine, and in the edge's namespace."""
_SIZE = 4


def ends(config: ClusterConfig) -> tuple[tuple[Interface, Interface], ...]:
    """Return the edge's and the machine's address on the link, of each family (pure)."""
    pairs = []
    for outside in config.edge_outsides:
        network = outside.network
        first = network[network.num_addresses - _SIZE]
        length = network.max_prefixlen - 2
        near, far = (ip_interface(f"{first + offset}/{length}") for offset in (2, 1))
        pairs.append((far, near))
    return tuple(pairs)


def destinations(config: ClusterConfig) -> tuple[Network, ...]:
    """Return the networks that the machine gets routes to: pods, Services, load balancers and nodes (pure)."""
    nodes = tuple(interface.network for interface in config.edge_underlays)
    return (*config.pod_networks, *config.service_networks, *config.lb_networks, *nodes)


def check(config: ClusterConfig) -> None:
    """See that no link is in the way; overlapping routes have been looked for by the configuration's own check.

    Raises:
        UsageError: the link's name is taken.
    """
    if config.attach and link.observe_link("", LINK) is not None:
        raise UsageError(
            f"cannot attach cluster {config.name}: this machine has a link {LINK} already; "
            "one cluster at a time is attached, and netpod down takes its link away"
        )


def ensure(config: ClusterConfig) -> None:
    """Make link, addresses and routes, if the cluster is to be attached; repeating it changes nothing."""
    if not config.attach:
        return
    edge = config.paths.netns_edge
    if link.observe_link("", LINK) is None:
        link.delete_link(edge, FAR)
        link.create_veth("", End(name=LINK), edge, End(name=FAR))
    link.set_link(edge, FAR, up=True)
    link.set_link("", LINK, up=True)
    gateways = {}
    for far, near in ends(config):
        link.ensure_address(edge, FAR, far)
        link.ensure_address("", LINK, near)
        gateways[family_of(near)] = far.ip
    for network in destinations(config):
        route.replace("", network, via=gateways[family_of(network.network_address)], dev=LINK)
    for network in config.service_networks:
        # Any node would do: its proxy turns a cluster IP into an endpoint, and what comes back passes it again.
        family = family_of(network.network_address)
        node = next(ip for ip in config.nodes[0].node_ips if family_of(ip) == family)
        route.replace(edge, network, via=node, dev="eth0")


def detach(paths: Paths) -> bool:
    """Take the link away, and with it addresses and routes; say whether there was one of this cluster's."""
    if not attached(paths):
        return False
    link.delete_link(paths.netns_edge, FAR)
    return True


def attached(paths: Paths) -> bool:
    """Whether this machine has a link into the cluster."""
    try:
        return link.observe_link(paths.netns_edge, FAR) is not None
    except KernelError:
        return False


async def follow(config: ClusterConfig, informers: "Informers") -> None:
    """Keep the edge's routes to the nodes' pods, forever; replies come the same way, by each node's default route."""
    # Whoever starts a cluster needs the rest of this module only, and waits for what it imports.
    import asyncio

    from netpod.api.node import Node

    nodes = informers.of(Node)
    made: dict[Network, str] = {}
    changed = asyncio.Event()
    nodes.subscribe(lambda old, new: changed.set())
    while True:
        await changed.wait()
        changed.clear()
        wanted = {network: via for node in nodes.values() for network, via in _pods(node)}
        await asyncio.to_thread(_route, config.paths.netns_edge, made, wanted)
        made = wanted


def _pods(node: "Node") -> list[tuple[Network, str]]:
    addresses = [a.address for a in node.status.addresses if a.type == "InternalIP"]
    found = []
    for text in node.spec.pod_cidrs or filter(None, (node.spec.pod_cidr,)):
        network = ip_network(text)
        via = [a for a in addresses if ip_address(a).version == network.version]
        found += [(network, via[0])] if via else []
    return found


def _route(edge: str, made: dict[Network, str], wanted: dict[Network, str]) -> None:
    for network in made.keys() - wanted.keys():
        route.delete(edge, network)
    for network, via in wanted.items():
        if made.get(network) != via:
            try:
                route.replace(edge, network, via=ip_address(via), dev="eth0")
            except KernelError as error:
                if error.errno != errno.ENETUNREACH:
                    raise
