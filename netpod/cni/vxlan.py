"""Node to node by an overlay: what is for another node's pods travels in UDP packets from node to node.

    pod 10.244.1.2 > cni0 > flannel.1 > [UDP 172.18.0.3 > 172.18.0.4:8472] > flannel.1 > cni0 > pod 10.244.2.2

Nothing is learnt and nobody is asked: for each other node there is a route by its flannel.1, a neighbour that says that
link's MAC address, and a forwarding entry that says at which node it is. Source: flannel pkg/backend/vxlan.
"""

from collections.abc import Collection, Sequence

from netpod.cni.flannel import LINKS, PORT, VNI, Peer
from netpod.cni.hostgw import PROTOCOL
from netpod.ip import Address, Family, family_of, interface_of
from netpod.linux import link, netlink, route, vxlan


def mac_of(node_ip: Address) -> str:
    """MAC address of a node's flannel.1; it is the same after a reboot."""
    return link.mac_of(node_ip)


def prepare(netns: str, own: Peer, *, dev: str = "eth0", mtu: int) -> None:
    """Make or correct a node's flannel.1; repeating it changes nothing.

    Raises:
        Unsupported: the kernel has no VXLAN.
        KernelError: ENODEV, no link `dev`.
    """
    name = LINKS[family_of(own.pod_cidr)]
    vxlan.ensure(netns, name, vni=VNI, local=own.node_ip, dev=dev, port=PORT, mac=own.mac, mtu=mtu)
    first = own.pod_cidr.network_address
    wanted = interface_of(first, first.max_prefixlen)
    for stale in link.observe_addresses(netns, name):
        if stale != wanted and not stale.is_link_local:
            link.delete_address(netns, name, stale)
    link.ensure_address(netns, name, wanted)


def sync(
    netns: str, peers: Sequence[Peer], *, families: Collection[Family] = (Family.IPV4,)
) -> None:
    """Send to exactly these nodes; what `prepare` made is there.

    Raises:
        KernelError: the kernel refused one of them; the others are made.
    """
    for family in families:
        index = link.index(netns, LINKS[family])
        messages = _changes(
            netns, index, family, [p for p in peers if family_of(p.pod_cidr) is family]
        )
        if messages:
            netlink.send(netns, messages)


def _changes(
    netns: str, index: int, family: Family, peers: Sequence[Peer]
) -> list[netlink.Message]:
    """What differs. A peer's route comes last, so that no packet goes where nobody knows it."""
    entries = vxlan.observe_fdb(netns, index)
    neighbours = {
        it.address: it.mac
        for it in route.observe_neighbours(netns, family=family)
        if it.index == index and it.permanent
    }
    routes = {
        it.destination: (it.gateway, it.index)
        for it in route.observe(netns, protocol=PROTOCOL, family=family)
    }
    messages = [
        route.delete_message(it, protocol=PROTOCOL)
        for it in routes
        if it not in {peer.pod_cidr for peer in peers}
    ]
    gateways = {peer.pod_cidr.network_address: peer for peer in peers}
    messages += [
        route.delete_neighbour_message(index, it) for it in neighbours if it not in gateways
    ]
    places = {peer.mac: peer.node_ip for peer in peers}
    messages += [
        vxlan.delete_fdb_message(index, mac, machine)
        for mac, machine in entries.items()
        if places.get(mac) != machine
    ]
    for gateway, peer in sorted(gateways.items(), key=str):
        if entries.get(peer.mac) != peer.node_ip:
            messages.append(vxlan.fdb_message(index, peer.mac, peer.node_ip))
        if neighbours.get(gateway) != peer.mac:
            messages.append(route.neighbour_message(index, gateway, peer.mac))
        if routes.get(peer.pod_cidr) != (gateway, index):
            way = route.route_message(
                peer.pod_cidr, via=gateway, index=index, protocol=PROTOCOL, onlink=True
            )
            messages.append(way)
    return messages
