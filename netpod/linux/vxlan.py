"""VXLAN links, and whom they send to: the forwarding database that says at which machine a MAC address is.

Functions named `*_message` only encode; see link.py. Sources: RFC 7348; ip-link(8) "VXLAN Type Support"; bridge(8) fdb;
kernel drivers/net/vxlan.
"""

import errno
import ipaddress
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from netpod.ip import Address
from netpod.linux import link, netlink, route

_AF_BRIDGE = 7
_NTF_SELF = 2
_NUD_PERMANENT = 0x80


def ensure(
    netns: str, name: str, *, vni: int, local: Address, dev: str, port: int, mac: str, mtu: int
) -> int:
    """A VXLAN link of that name, up, that learns nothing by itself; one that differs is made anew.

    Args:
        netns: The network namespace.
        name: Of the link.
        vni: VXLAN network identifier.
        local: Outer source address.
        dev: Link by which the outer packets leave.
        port: UDP port of the outer packets' destination, and which it listens on.
        mac: Of the link.
        mtu: Of the link, in bytes.

    Returns:
        The link's index.

    Raises:
        KernelError: ENODEV, no link `dev`; a link of that name is no VXLAN.
    """
    wanted = (vni, link.index(netns, dev), str(local), port, mac, mtu)
    with netlink.Socket(netns) as channel:
        found = _observe(channel, name)
        if found is not None and found[1] == wanted:
            channel.send([link.set_message(index=found[0], up=True)])
            return found[0]
        if found is not None:
            channel.send([link.delete_message(name)])
        channel.send([_message(name, *wanted)])
        made = channel.index(name)
    assert made, "a link that was just made is there"
    return made


def fdb_message(index: int, mac: str, machine: Address) -> netlink.Message:
    """Frames for a MAC address go to this machine, whatever was said before."""
    message = _entry(index, mac, machine)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return netlink.encode(
        message, route.RTM_NEWNEIGH, flags, f"replace fdb entry {mac} dst {machine}"
    )


def delete_fdb_message(index: int, mac: str, machine: Address) -> netlink.Message:
    """Forget where a MAC address is. Absent is well."""
    what = f"delete fdb entry {mac}"
    return netlink.encode(_entry(index, mac, machine), route.RTM_DELNEIGH, 0, what, [errno.ENOENT])


def observe_fdb(netns: str, index: int) -> dict[str, Address]:
    """Machine by MAC address of one VXLAN link."""
    message = ndmsg()
    message["family"] = _AF_BRIDGE
    request = netlink.encode(message, route.RTM_GETNEIGH, netlink.NLM_F_DUMP, "list fdb entries")
    return {
        reply.get_attr("NDA_LLADDR"): ipaddress.ip_address(reply.get_attr("NDA_DST"))
        for reply in netlink.dump(netns, request, ndmsg)
        if reply["ifindex"] == index and reply.get_attr("NDA_DST")
    }


def _message(
    name: str, vni: int, under: int, local: str, port: int, mac: str, mtu: int
) -> netlink.Message:
    kind = "IFLA_VXLAN_LOCAL6" if ":" in local else "IFLA_VXLAN_LOCAL"
    data = {
        "attrs": [
            ("IFLA_VXLAN_ID", vni),
            ("IFLA_VXLAN_LINK", under),
            (kind, local),
            ("IFLA_VXLAN_PORT", port),
            ("IFLA_VXLAN_LEARNING", 0),
        ]
    }
    info = {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", data)]}
    message = ifinfmsg()
    message["flags"] = message["change"] = link.IFF_UP
    message["attrs"] = [
        ("IFLA_IFNAME", name),
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", mac),
        ("IFLA_LINKINFO", info),
    ]
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    feature = "VXLAN links (module vxlan)"
    return netlink.encode(message, link.RTM_NEWLINK, flags, f"create link {name}", feature=feature)


def _observe(channel: netlink.Socket, name: str) -> tuple[int, tuple[Any, ...]] | None:
    """Index of the link of that name and what it was made of, as `_message` takes it."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    request = netlink.encode(
        message, link.RTM_GETLINK, netlink.NLM_F_ACK, f"find link {name}", [errno.ENODEV]
    )
    for reply in channel.dump(request, ifinfmsg):
        info = reply.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_DATA") if info else None
        if data is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
            return reply["index"], ()
        made = (
            data.get_attr("IFLA_VXLAN_ID"),
            data.get_attr("IFLA_VXLAN_LINK"),
            data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6"),
            data.get_attr("IFLA_VXLAN_PORT"),
            reply.get_attr("IFLA_ADDRESS"),
            reply.get_attr("IFLA_MTU"),
        )
        return reply["index"], made
    return None


def _entry(index: int, mac: str, machine: Address) -> Any:
    message = ndmsg()
    message["family"] = _AF_BRIDGE
    message["ifindex"] = index
    message["state"] = _NUD_PERMANENT
    message["flags"] = _NTF_SELF
    message["attrs"] = [("NDA_LLADDR", mac), ("NDA_DST", str(machine))]
    return message
