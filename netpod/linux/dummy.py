"""Dummy links: addresses that are this machine's, and no wire. Down and without ARP, they only hold addresses.

Sources: ip-link(8); kernel drivers/net/dummy.c.
"""

import errno
import ipaddress
from collections.abc import Iterable

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netpod.ip import Address, Interface
from netpod.linux import link, netlink

_IFF_UP, _IFF_NOARP = 0x1, 0x80


def ensure(netns: str, name: str) -> None:
    """A dummy link of that name, down.

    Raises:
        Unsupported: this kernel has no dummy links.
    """
    message = ifinfmsg()
    message["flags"], message["change"] = _IFF_NOARP, _IFF_UP | _IFF_NOARP
    info = {"attrs": [("IFLA_INFO_KIND", "dummy")]}
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", info)]
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    what = f"create link {name}"
    feature = "dummy links (modprobe dummy, or a kernel with CONFIG_DUMMY)"
    request = netlink.encode(message, link.RTM_NEWLINK, flags, what, [errno.EEXIST], feature)
    netlink.send(netns, [request])


def addresses(netns: str, name: str) -> set[Address]:
    """The addresses of a link; none when there is no such link."""
    if link.observe_link(netns, name) is None:
        return set()
    return {found.ip for found in link.observe_addresses(netns, name)}


def change(
    netns: str, name: str, *, add: Iterable[Address] = (), remove: Iterable[Address] = ()
) -> None:
    """Add addresses, then take others away; those that are so already are fine.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    index = link.index(netns, name)
    messages = [link.address_message(index, _alone(address)) for address in add]
    messages += [link.delete_address_message(index, _alone(address)) for address in remove]
    netlink.send(netns, messages)


def _alone(address: Address) -> Interface:
    return ipaddress.ip_interface(address)  # its network is itself
