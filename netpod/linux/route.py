"""Routes of the main table, and neighbours (ARP and neighbour discovery entries), of both families.

A route carries the number of whoever made it ("protocol"), so that a component finds its own again and leaves the
others alone. Sources: rtnetlink(7), ip-route(8), ip-neighbour(8).
"""

import errno
import functools
import ipaddress
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netpod.ip import Address, Family, Network, family_of
from netpod.linux import link, netlink

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
DEFAULT = ipaddress.IPv4Network("0.0.0.0/0")
DEFAULT6 = ipaddress.IPv6Network("::/0")
PROTOCOL_BOOT = 3
"""What `ip route add` writes."""

_MAIN = 254
_UNSPECIFIED, _UNICAST = 0, 1
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_NUD_PERMANENT = 0x80
_RTNH_F_ONLINK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One unicast route of the main table.

    Attributes:
        destination: 0.0.0.0/0 and ::/0 are the default routes.
        gateway: None when the destination is on the link.
        index: Number of the link it leaves by.
        protocol: Who made it: 2 the kernel, 3 `ip`, else a number of one's own.
    """

    destination: Network
    gateway: Address | None
    index: int
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An ARP entry: who answers for an address on a link, and whether it was learnt or set for good."""

    address: Address
    mac: str
    index: int
    permanent: bool


@functools.lru_cache(maxsize=128)
def route_message(
    destination: Network,
    *,
    via: Address | None = None,
    index: int = 0,
    protocol: int = PROTOCOL_BOOT,
    onlink: bool = False,
) -> netlink.Message:
    """Make the route to a network this one, whatever it was: by a gateway, by a link, or both.

    With `onlink` the gateway is taken to be on the link, whatever the link's addresses are.
    """
    assert via is not None or index, "a route needs a gateway or a link"
    message = _route(destination, via, index)
    message["proto"] = protocol
    message["type"] = _UNICAST
    message["scope"] = _SCOPE_LINK if via is None else _SCOPE_UNIVERSE
    message["flags"] = _RTNH_F_ONLINK if onlink else 0
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    what = f"replace route {_name(destination)}" + (f" via {via}" if via else "")
    return netlink.encode(message, RTM_NEWROUTE, flags, what)


def delete_message(
    destination: Network,
    *,
    via: Address | None = None,
    protocol: int = 0,
) -> netlink.Message:
    """Delete a route, if wanted only this gateway's or this protocol's. Absent is well."""
    message = _route(destination, via, 0)
    message["proto"] = protocol
    message["type"] = _UNSPECIFIED
    message["scope"] = _SCOPE_NOWHERE  # any
    what = f"delete route {_name(destination)}"
    return netlink.encode(message, RTM_DELROUTE, 0, what, [errno.ESRCH])


def replace(
    netns: str,
    destination: Network,
    *,
    via: Address | None = None,
    dev: str = "",
    protocol: int = PROTOCOL_BOOT,
) -> None:
    """Make the route to a network this one; repeating it changes nothing.

    Raises:
        KernelError: ENETUNREACH, the gateway is on no link of this namespace; ENODEV, no such link.
    """
    index = link.index(netns, dev) if dev else 0
    netlink.send(netns, [route_message(destination, via=via, index=index, protocol=protocol)])


def delete(
    netns: str,
    destination: Network,
    *,
    via: Address | None = None,
    protocol: int = 0,
) -> None:
    """Delete a route; absent: nothing to do."""
    netlink.send(netns, [delete_message(destination, via=via, protocol=protocol)])


def default_of(gateway: Address) -> Network:
    """The default route's destination, of a gateway's family."""
    return DEFAULT if gateway.version == 4 else DEFAULT6


def observe(netns: str, *, protocol: int = 0, family: Family = Family.IPV4) -> list[Route]:
    """Unicast routes of one family in the main table, of one protocol or all, by destination."""
    message = rtmsg()
    message["family"] = family.af
    message["table"] = _MAIN
    message["proto"] = protocol
    request = netlink.encode(message, RTM_GETROUTE, netlink.NLM_F_DUMP, "list routes")
    found = [
        _observed(reply)
        for reply in netlink.dump(netns, request, rtmsg)
        if reply["type"] == _UNICAST and reply["table"] == _MAIN
    ]
    return sorted(
        (it for it in found if not protocol or it.protocol == protocol),
        key=lambda it: (it.destination, str(it.gateway or "")),
    )


def replace_neighbour(netns: str, dev: str, address: Address, mac: str) -> None:
    """Say for good who has an address on a link, so that nobody asks."""
    netlink.send(netns, [neighbour_message(link.index(netns, dev), address, mac)])


def delete_neighbour(netns: str, dev: str, address: Address) -> None:
    """Forget who has an address on a link; absent: nothing to do."""
    netlink.send(netns, [delete_neighbour_message(link.index(netns, dev), address)])


def neighbour_message(index: int, address: Address, mac: str) -> netlink.Message:
    """Say for good who has an address on a link."""
    message = _neighbour(index, address)
    message["state"] = _NUD_PERMANENT
    message["attrs"].append(("NDA_LLADDR", mac))
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return netlink.encode(message, RTM_NEWNEIGH, flags, f"replace neighbour {address}")


def delete_neighbour_message(index: int, address: Address) -> netlink.Message:
    """Forget who has an address on a link. Absent is well."""
    message = _neighbour(index, address)
    return netlink.encode(message, RTM_DELNEIGH, 0, f"delete neighbour {address}", [errno.ENOENT])


def observe_neighbours(netns: str, *, family: Family = Family.IPV4) -> list[Neighbour]:
    """Neighbours of one family, of all links, that have a MAC address, by address."""
    message = ndmsg()
    message["family"] = family.af
    request = netlink.encode(message, RTM_GETNEIGH, netlink.NLM_F_DUMP, "list neighbours")
    found = [
        Neighbour(
            address=ipaddress.ip_address(reply.get_attr("NDA_DST")),
            mac=reply.get_attr("NDA_LLADDR"),
            index=reply["ifindex"],
            permanent=bool(reply["state"] & _NUD_PERMANENT),
        )
        for reply in netlink.dump(netns, request, ndmsg)
        if reply.get_attr("NDA_LLADDR")
    ]
    return sorted(found, key=lambda it: it.address)


def _route(destination: Network, via: Address | None, index: int) -> Any:
    message = rtmsg()
    message["family"] = family_of(destination).af
    message["table"] = _MAIN
    message["dst_len"] = destination.prefixlen
    attributes: list[tuple[str, Any]] = []
    if destination.prefixlen:
        attributes.append(("RTA_DST", str(destination.network_address)))
    if via is not None:
        attributes.append(("RTA_GATEWAY", str(via)))
    if index:
        attributes.append(("RTA_OIF", index))
    message["attrs"] = attributes
    return message


def _neighbour(index: int, address: Address) -> Any:
    message = ndmsg()
    message["family"] = family_of(address).af
    message["ifindex"] = index
    message["attrs"] = [("NDA_DST", str(address))]
    return message


def _observed(message: Any) -> Route:
    default = DEFAULT if message["family"] == Family.IPV4.af else DEFAULT6
    destination = message.get_attr("RTA_DST") or default.network_address
    gateway = message.get_attr("RTA_GATEWAY")
    return Route(
        destination=ipaddress.ip_network(f"{destination}/{message['dst_len']}"),
        gateway=ipaddress.ip_address(gateway) if gateway else None,
        index=message.get_attr("RTA_OIF") or 0,
        protocol=message["proto"],
    )


def _name(destination: Network) -> str:
    return str(destination) if destination.prefixlen else "default"
