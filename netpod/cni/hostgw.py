"""Node to node by plain routes: each other node's pod CIDR goes by that node's address.

Works where the nodes share a link, as they do on netpod's underlay. Source: flannel's host-gw backend.
"""

from collections.abc import Collection, Mapping

from netpod.ip import Address, Family, Network
from netpod.linux import netlink, route

PROTOCOL = 78
"""Marks the routes made here (`ip route` shows "proto 78"); numbers up to 31 and 186 to 196 are others'."""


def sync(
    netns: str,
    routes: Mapping[Network, Address],
    *,
    families: Collection[Family] = (Family.IPV4,),
) -> None:
    """Make the routes to other nodes' pods exactly these; only routes made here are ever removed.

    Args:
        netns: The node's network namespace; "" is this process's own.
        routes: Node address by pod CIDR of the same family, without this node's own.
        families: Whose routes; the other family's are left alone.

    Raises:
        KernelError: ENETUNREACH, a node's address is on no link of this node; the other routes are made.
    """
    present = {
        it.destination: it.gateway
        for family in families
        for it in route.observe(netns, protocol=PROTOCOL, family=family)
    }
    stale = [
        route.delete_message(destination, protocol=PROTOCOL)
        for destination in present
        if destination not in routes
    ]
    wanted = [
        route.route_message(destination, via=node_ip, protocol=PROTOCOL)
        for destination, node_ip in sorted(routes.items(), key=str)
        if present.get(destination) != node_ip
    ]
    if stale or wanted:
        netlink.send(netns, [*stale, *wanted])
