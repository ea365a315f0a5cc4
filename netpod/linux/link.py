"""Links and their addresses: veth pairs, bridges, bridge ports.

Functions named `*_message` only encode, so that a caller can hand over many in one go (`netlink.send`); the others
do it, in the network namespace named first. Links are told by name, as in `ip link`.

Sources: rtnetlink(7), ip-link(8), bridge(8); kernel drivers/net/veth.c, net/bridge/br_netlink.c.
"""

import errno
import functools
import hashlib
import ipaddress
import os
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netpod.errors import KernelError
from netpod.ip import Address, Interface, family_of
from netpod.linux import netlink
from netpod.linux import netns as namespaces

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFF_UP = 1
IFNAMSIZ = 15
LOOPBACK = 1
"""Index of `lo` in every network namespace."""

_SKIP_STATS = 1 << 3
_IFA_F_PERMANENT = 0x80
_IFA_F_NODAD = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a veth pair as it shall be made.

    Attributes:
        name: At most 15 characters; see `short_name`.
        mac: "aa:bb:cc:dd:ee:ff"; "" lets the kernel pick one at random.
        index: Number it gets in its namespace; 0 lets the kernel pick.
    """

    name: str
    mac: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel has it.

    Attributes:
        kind: "veth", "bridge", ...; "" for loopback and hardware.
        master: Index of the bridge it is a port of, or 0.
        peer: Index of a veth's other end in that end's namespace, or 0.
        hairpin: Whether this bridge port sends frames back where they came from.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: int
    peer: int
    hairpin: bool


def short_name(prefix: str, seed: str) -> str:
    """Name of a link for a longer name: prefix and hash, 15 characters, the same for the same seed."""
    room = IFNAMSIZ - len(prefix)
    assert room >= 8, "a prefix longer than 7 characters leaves no room for a hash"
    return prefix + hashlib.sha256(seed.encode()).hexdigest()[:room]


def mac_of(address: Address) -> str:
    """MAC address derived from an address: whoever gets the address again keeps neighbours' caches right.

    An IPv6 address does not fit; four bytes of its hash do.

    Source: CNI plugins' pkg/utils/hwaddr, GenerateHardwareAddr4 (prefix 0a:58).
    """
    four = address.packed if address.version == 4 else hashlib.sha256(address.packed).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x58, *four))


def veth_message(
    near: End,
    far: End,
    *,
    far_netns_fd: int | None = None,
    mtu: int = 1500,
    master: int = 0,
) -> netlink.Message:
    """Make a veth pair: the near end up and a port of a bridge, the far end in another namespace and down.

    The kernel pairs the ends last, so a far end that shall be up fails to open (ENOTCONN); it needs a message of
    its own.
    """
    peer: list[tuple[str, Any]] = [("IFLA_IFNAME", far.name), ("IFLA_MTU", mtu)]
    if far.mac:
        peer.append(("IFLA_ADDRESS", far.mac))
    if far_netns_fd is not None:
        peer.append(("IFLA_NET_NS_FD", far_netns_fd))
    attributes: list[tuple[str, Any]] = [("IFLA_MTU", mtu)]
    if near.mac:
        attributes.append(("IFLA_ADDRESS", near.mac))
    if master:
        attributes.append(("IFLA_MASTER", master))
    far_end = {"index": far.index, "attrs": peer}
    data = {"attrs": [("VETH_INFO_PEER", far_end)]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    attributes.append(("IFLA_LINKINFO", info))
    return _link_message(
        near.name, near.index, True, attributes, f"create link {near.name}", create="veth links"
    )


def bridge_message(name: str, *, mac: str = "", mtu: int = 1500) -> netlink.Message:
    """Make a bridge, up. Without a MAC of its own a bridge takes its lowest port's and changes it with the ports."""
    attributes: list[tuple[str, Any]] = [("IFLA_MTU", mtu)]
    if mac:
        attributes.append(("IFLA_ADDRESS", mac))
    attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}))
    return _link_message(
        name, 0, True, attributes, f"create link {name}", create="bridges (module bridge)"
    )


@functools.lru_cache(maxsize=128)
def set_message(
    name: str = "",
    *,
    index: int = 0,
    up: bool | None = None,
    master: int | None = None,
    mtu: int = 0,
    mac: str = "",
    netns_fd: int | None = None,
) -> netlink.Message:
    """Change a link, told by name or index; `master` 0 takes it out of its bridge."""
    attributes: list[tuple[str, Any]] = []
    if master is not None:
        attributes.append(("IFLA_MASTER", master))
    if mtu:
        attributes.append(("IFLA_MTU", mtu))
    if mac:
        attributes.append(("IFLA_ADDRESS", mac))
    if netns_fd is not None:
        attributes.append(("IFLA_NET_NS_FD", netns_fd))
    what = f"change link {name or index}"
    return _link_message(name, index, up, attributes, what)


def hairpin_message(name: str, on: bool = True) -> netlink.Message:
    """Let a bridge port send a frame back out of the port it came in by: a pod that reaches itself by a Service."""
    data = {"attrs": [("IFLA_BRPORT_MODE", int(on))]}
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]}
    return _link_message(name, 0, None, [("IFLA_LINKINFO", info)], f"set hairpin of link {name}")


def delete_message(name: str) -> netlink.Message:
    """Delete a link; a veth's other end goes with it. Absent is well."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return netlink.encode(message, RTM_DELLINK, 0, f"delete link {name}", [errno.ENODEV])


def address_message(index: int, address: Interface) -> netlink.Message:
    """Add an address to a link; the kernel adds the route to its subnet. There already is well.

    An IPv6 address is of use at once: nobody is asked whether it is taken (`nodad`).
    """
    return _address_message(RTM_NEWADDR, index, address, "add", [errno.EEXIST])


def delete_address_message(index: int, address: Interface) -> netlink.Message:
    """Take an address from a link; absent is well."""
    return _address_message(RTM_DELADDR, index, address, "delete", [errno.EADDRNOTAVAIL])


def ensure_bridge(netns: str, name: str, *, mac: str = "", mtu: int = 1500) -> Link:
    """A bridge of that name, up, with that MAC and MTU; one that exists is corrected."""
    with netlink.Socket(netns) as channel:
        found = _observe(channel, name)
        if found is None:
            channel.send([bridge_message(name, mac=mac, mtu=mtu)])
        elif found.kind != "bridge":
            raise KernelError(f"cannot create link {name}: it exists and is no bridge", netns=netns)
        elif not found.up or found.mtu != mtu or (mac and found.mac != mac):
            channel.send([set_message(name, up=True, mtu=mtu, mac=mac)])
        else:
            return found
        made = _observe(channel, name)
    assert made is not None, "a link that was just made is there"
    return made


def create_veth(
    netns: str, near: End, far_netns: str, far: End, *, mtu: int = 1500, master: str = ""
) -> None:
    """Make a veth pair with its ends in two namespaces, both up, the near one a port of bridge `master`.

    Raises:
        KernelError: EEXIST, one of the names is taken.
    """
    fd = namespaces.open_fd(far_netns)
    try:
        with netlink.Socket(netns) as channel:
            bridge = _index(channel, master) if master else 0
            channel.send([veth_message(near, far, far_netns_fd=fd, mtu=mtu, master=bridge)])
        netlink.send(far_netns, [set_message(far.name, up=True)])
    finally:
        os.close(fd)


def set_link(
    netns: str,
    name: str,
    *,
    up: bool | None = None,
    master: str | None = None,
    mtu: int = 0,
    mac: str = "",
) -> None:
    """Change a link; `master` is a bridge's name, "" takes it out of its bridge.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    with netlink.Socket(netns) as channel:
        bridge = _index(channel, master) if master else (None if master is None else 0)
        channel.send([set_message(name, up=up, master=bridge, mtu=mtu, mac=mac)])


def set_hairpin(netns: str, name: str, on: bool = True) -> None:
    """Switch hairpin mode of a bridge port."""
    netlink.send(netns, [hairpin_message(name, on)])


def delete_link(netns: str, name: str) -> None:
    """Delete a link; absent: nothing to do."""
    netlink.send(netns, [delete_message(name)])


def ensure_address(netns: str, name: str, address: Interface) -> None:
    """Give a link an address unless it has it.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    with netlink.Socket(netns) as channel:
        channel.send([address_message(_index(channel, name), address)])


def delete_address(netns: str, name: str, address: Interface) -> None:
    """Take an address from a link; absent, or no such link: nothing to do."""
    with netlink.Socket(netns) as channel:
        found = _observe(channel, name)
        if found is not None:
            channel.send([delete_address_message(found.index, address)])


def observe_link(netns: str, name: str) -> Link | None:
    """The link of that name, or None."""
    with netlink.Socket(netns) as channel:
        return _observe(channel, name)


def observe_links(netns: str) -> list[Link]:
    """All links of a namespace, by index."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_EXT_MASK", _SKIP_STATS)]
    request = netlink.encode(message, RTM_GETLINK, netlink.NLM_F_DUMP, "list links")
    return sorted(map(_link, netlink.dump(netns, request, ifinfmsg)), key=lambda it: it.index)


def observe_addresses(netns: str, name: str = "") -> list[Interface]:
    """Addresses of one link, or of all, in the kernel's order, IPv4 first; link-local IPv6 ones are the kernel's own.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    with netlink.Socket(netns) as channel:
        message = ifaddrmsg()
        message["index"] = _index(channel, name) if name else 0
        request = netlink.encode(message, RTM_GETADDR, netlink.NLM_F_DUMP, "list addresses")
        found = [
            # IPv6 has no IFA_LOCAL unless the link is point to point.
            ipaddress.ip_interface(
                f"{reply.get_attr('IFA_LOCAL') or reply.get_attr('IFA_ADDRESS')}/{reply['prefixlen']}"
            )
            for reply in channel.dump(request, ifaddrmsg)
        ]
        return [it for it in found if it.version == 4 or not it.is_link_local]


def index(netns: str, name: str) -> int:
    """Number of a link in its namespace.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    with netlink.Socket(netns) as channel:
        return _index(channel, name)


def _link_message(
    name: str,
    number: int,
    up: bool | None,
    attributes: list[tuple[str, Any]],
    what: str,
    *,
    create: str = "",
) -> netlink.Message:
    _check_name(name)
    message = ifinfmsg()
    message["index"] = number
    if up is not None:
        message["flags"] = IFF_UP if up else 0
        message["change"] = IFF_UP
    message["attrs"] = [("IFLA_IFNAME", name), *attributes] if name else attributes
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL if create else 0
    return netlink.encode(message, RTM_NEWLINK, flags, what, feature=create)


def _address_message(
    kind: int, number: int, address: Interface, verb: str, expected: list[int]
) -> netlink.Message:
    message = ifaddrmsg()
    message["family"] = family_of(address).af
    message["prefixlen"] = address.network.prefixlen
    message["flags"] = _IFA_F_PERMANENT if address.version == 4 else _IFA_F_NODAD
    message["index"] = number
    message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    if address.version == 4 and address.network.prefixlen < 31:
        broadcast = str(address.network.broadcast_address)
        message["attrs"].append(("IFA_BROADCAST", broadcast))
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL if kind == RTM_NEWADDR else 0
    return netlink.encode(message, kind, flags, f"{verb} address {address}", expected)


def _check_name(name: str) -> None:
    if len(name) > IFNAMSIZ:
        raise KernelError(f"cannot use link {name}: more than {IFNAMSIZ} characters")


def _observe(channel: netlink.Socket, name: str) -> Link | None:
    _check_name(name)
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_EXT_MASK", _SKIP_STATS)]
    request = netlink.encode(
        message, RTM_GETLINK, netlink.NLM_F_ACK, f"find link {name}", [errno.ENODEV]
    )
    found = channel.dump(request, ifinfmsg)
    return _link(found[0]) if found else None


def _index(channel: netlink.Socket, name: str) -> int:
    _check_name(name)
    number = channel.index(name)
    if not number:
        raise KernelError(f"cannot find link {name}", errno=errno.ENODEV, netns=channel.netns)
    return number


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ""
    port = info.get_attr("IFLA_INFO_SLAVE_DATA") if info else None
    is_port = info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & IFF_UP),
        master=message.get_attr("IFLA_MASTER") or 0,
        peer=(message.get_attr("IFLA_LINK") or 0) if kind == "veth" else 0,
        hairpin=bool(is_port and port is not None and port.get_attr("IFLA_BRPORT_MODE")),
    )
