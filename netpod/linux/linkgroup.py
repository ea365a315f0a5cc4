"""Many links at once, by the group that the kernel lets a link be in."""

import errno
from collections.abc import Sequence

from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netpod.linux import link, netlink

_GOING = 0x6E65
"""Number of the group of links about to be deleted; nobody else uses it."""


def delete(netns: str, names: Sequence[str]) -> None:
    """Delete links all at once; absent ones: nothing to do. Not for two threads in one namespace.

    Each deletion waits until no processor can still see the link, tens of milliseconds under load. Links of one group
    are deleted together and wait once.

    Source: rtnetlink.c rtnl_group_dellink.
    """
    if len(names) < 2:
        for name in names:
            link.delete_link(netns, name)
        return
    messages = [_group_message(name) for name in names]
    going = ifinfmsg()
    going["attrs"] = [("IFLA_GROUP", _GOING)]
    what = f"delete {len(names)} links"
    messages.append(netlink.encode(going, RTM_DELLINK, 0, what, [errno.ENODEV]))
    netlink.send(netns, messages)


def _group_message(name: str) -> netlink.Message:
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_GROUP", _GOING)]
    return netlink.encode(message, RTM_NEWLINK, 0, f"set group of link {name}", [errno.ENODEV])
