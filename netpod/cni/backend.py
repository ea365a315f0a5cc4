"""How this node reaches the others' pods, by whichever of flannel's backends the cluster has."""

from collections.abc import Collection, Sequence

from netpod.cni import flannel, hostgw, vxlan
from netpod.cni.flannel import Backend, Peer
from netpod.ip import Address, Family, Network, by_family, family_of


def annotations(backend: Backend, node_ips: Sequence[Address]) -> dict[str, str]:
    """What this Node says of itself to the others; the same after a reboot."""
    macs = {family: vxlan.mac_of(it) for family, it in by_family(node_ips).items()}
    return flannel.annotations(backend, node_ips, macs)


def prepare(
    backend: Backend, netns: str, node_ips: Sequence[Address], pod_cidrs: Sequence[Network]
) -> None:
    """Make the node's own part, once its pod CIDRs are known; see vxlan.prepare."""
    if backend is not Backend.VXLAN:
        return
    addresses = by_family(node_ips)
    size = flannel.mtu(backend, [family_of(it) for it in pod_cidrs])
    for pod_cidr in pod_cidrs:
        node_ip = addresses[family_of(pod_cidr)]
        own = Peer(pod_cidr=pod_cidr, node_ip=node_ip, mac=vxlan.mac_of(node_ip))
        vxlan.prepare(netns, own, mtu=size)


def sync(
    backend: Backend, netns: str, others: Sequence[Peer], *, families: Collection[Family]
) -> None:
    """Reach the pods of exactly these nodes; see hostgw.sync and vxlan.sync."""
    if backend is Backend.VXLAN:
        vxlan.sync(netns, others, families=families)
    else:
        routes = {it.pod_cidr: it.node_ip for it in others}
        hostgw.sync(netns, routes, families=families)
