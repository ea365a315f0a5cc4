"""cni0: the bridge that joins a node's pods, and the kernel settings that make Services work across it.

Source: CNI plugins/main/bridge; kubernetes pkg/proxy/iptables (bridge-nf-call-iptables); sysctl names as in the
kernel's Documentation/networking/ip-sysctl.rst.
"""

import errno
from collections.abc import Iterable, Sequence

from netpod import ip
from netpod.errors import KernelError, Unsupported
from netpod.ip import Family, Interface, Network
from netpod.linux import link, sysctl

FORWARDING = {
    Family.IPV4: {"net.ipv4.ip_forward": 1},
    Family.IPV6: {"net.ipv6.conf.all.forwarding": 1},
}

# Two pods on one bridge, one reaching the other through a cluster IP: without this the answer is switched straight
# back and never passes the conntrack entry that knows the cluster IP.
BRIDGE_CALLS_IPTABLES = {
    Family.IPV4: {"net.bridge.bridge-nf-call-iptables": 1},
    Family.IPV6: {"net.bridge.bridge-nf-call-ip6tables": 1},
}


def gateway(pod_cidr: Network) -> Interface:
    """The bridge's address: the first of the pod CIDR, e.g. 10.244.1.1/24."""
    return ip.interface_of(pod_cidr[1], pod_cidr.prefixlen)


def ensure_bridge(netns: str, name: str, pod_cidrs: Sequence[Network], *, mtu: int) -> int:
    """The bridge with its addresses, up, and the node forwarding between pods, Services and the world.

    Another subnet's address that the bridge had is taken away: a node has one pod CIDR of a family.

    Returns:
        The bridge's index.

    Raises:
        Unsupported: the kernel has no bridge netfilter (module br_netfilter).
        KernelError: a link of that name exists and is no bridge.
    """
    families = [ip.family_of(it) for it in pod_cidrs]
    settle_ipv6(netns, families)
    addresses = [gateway(it) for it in pod_cidrs]
    made = link.ensure_bridge(netns, name, mac=link.mac_of(addresses[0].ip), mtu=mtu)
    if Family.IPV6 in families:
        sysctl.write_all(netns, sysctl.SILENT_PORTS)
    for stale in link.observe_addresses(netns, name):
        if stale not in addresses:
            link.delete_address(netns, name, stale)
    for address in addresses:
        link.ensure_address(netns, name, address)
    for family in families:
        sysctl.write_all(netns, FORWARDING[family])
    try:
        for family in families:
            sysctl.write_all(netns, BRIDGE_CALLS_IPTABLES[family])
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raise Unsupported(
            "cannot filter bridged packets: this kernel has no br_netfilter; modprobe br_netfilter",
            netns=netns,
        ) from error
    return made.index


def settle_ipv6(netns: str, families: Iterable[Family]) -> None:
    """Have IPv6 on the links of this namespace, or not, now and later; without it wanted, a kernel may lack it.

    Raises:
        Unsupported: IPv6 is wanted, and this kernel has none.
    """
    wanted = Family.IPV6 in families
    try:
        sysctl.write_all(netns, sysctl.IPV6 if wanted else sysctl.NO_IPV6)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        if wanted:
            raise Unsupported(
                "cannot use IPv6: this kernel has none, or was started with ipv6.disable=1",
                netns=netns,
            ) from error
