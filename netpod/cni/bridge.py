"""cni0: the bridge that joins a node's pods, and the kernel settings that make Services work across it.

Source: CNI plugins/main/bridge; kubernetes pkg/proxy/iptables (bridge-nf-call-iptables); sysctl names as in the
kernel's Documentation/networking/ip-sysctl.rst.
"""

import errno
import ipaddress

from netpod.errors import KernelError, Unsupported
from netpod.linux import link, sysctl

NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": 1}
"""Also sets `default`. Without it each link sends neighbour discovery and router solicitations nobody answers."""

FORWARDING = {"net.ipv4.ip_forward": 1}

# Two pods on one bridge, one reaching the other through a cluster IP: without this the answer is switched straight
# back and never passes the conntrack entry that knows the cluster IP.
BRIDGE_CALLS_IPTABLES = {"net.bridge.bridge-nf-call-iptables": 1}


def gateway(pod_cidr: ipaddress.IPv4Network) -> ipaddress.IPv4Interface:
    """The bridge's address: the first of the pod CIDR, e.g. 10.244.1.1/24."""
    return ipaddress.IPv4Interface((int(pod_cidr.network_address) + 1, pod_cidr.prefixlen))


def ensure_bridge(netns: str, name: str, pod_cidr: ipaddress.IPv4Network, *, mtu: int) -> int:
    """The bridge with its address, up, and the node forwarding between pods, Services and the world.

    Another subnet's address that the bridge had is taken away: a node has one pod CIDR.

    Returns:
        The bridge's index.

    Raises:
        Unsupported: the kernel has no bridge netfilter (module br_netfilter).
        KernelError: a link of that name exists and is no bridge.
    """
    disable_ipv6(netns)
    address = gateway(pod_cidr)
    made = link.ensure_bridge(netns, name, mac=link.mac_of(address.ip), mtu=mtu)
    for stale in link.observe_addresses(netns, name):
        if stale != address:
            link.delete_address(netns, name, stale)
    link.ensure_address(netns, name, address)
    sysctl.write_all(netns, FORWARDING)
    try:
        sysctl.write_all(netns, BRIDGE_CALLS_IPTABLES)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raise Unsupported(
            "cannot filter bridged packets: this kernel has no br_netfilter; modprobe br_netfilter",
            netns=netns,
        ) from error
    return made.index


def disable_ipv6(netns: str) -> None:
    """No IPv6 on any link of this namespace, now and later; a kernel without IPv6 is content already."""
    try:
        sysctl.write_all(netns, NO_IPV6)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
