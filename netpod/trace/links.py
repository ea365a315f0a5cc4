"""The links and addresses of a namespace as the kernel lists them: names, peers of veth pairs, ports of bridges.

Read over a bare rtnetlink socket: one dump costs a millisecond, which a trace can afford for each namespace crossed.

Source: rtnetlink(7); Linux include/uapi/linux/if_link.h (IFLA_*), if_addr.h (IFA_*).
"""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from netpod.errors import KernelError
from netpod.ip import Address as IPAddress
from netpod.linux import netns
from netpod.trace.sources import netlink
from netpod.trace.topology import Link, Topology

_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_NLMSG_DONE, _NLMSG_ERROR = 3, 2
_NLM_F_REQUEST_DUMP = 0x301
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 3, 4, 5, 10, 18
_INFO_KIND, _INFO_SLAVE_DATA, _BRPORT_MODE = 1, 5, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP, _IFF_LOWER_UP = 1, 1 << 16


def observe_links(namespaces: Iterable[str]) -> Topology:
    """Read the links and addresses of some namespaces; one that is gone meanwhile has none."""
    links: dict[tuple[str, str], Link] = {}
    addresses: dict[str, frozenset[IPAddress]] = {}
    for name in namespaces:
        try:
            if netns.exists(name):
                found = _dump(name, _RTM_GETLINK, _RTM_NEWLINK, 16)
                links |= {(name, link.name): link for link in (_parse(name, m) for m in found)}
                owned = _dump(name, _RTM_GETADDR, _RTM_NEWADDR, 8)
                addresses[name] = frozenset(ip for m in owned if (ip := _address(m)) is not None)
        except (KernelError, OSError):
            continue
    return Topology(links=links, addresses=addresses)


def _dump(netns_name: str, ask: int, answer: int, size: int) -> list[bytes]:
    found: list[bytes] = []
    with netns.socket_in(netns_name, socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(1)
        body = bytes(size)
        sock.send(struct.pack("IHHII", 16 + len(body), ask, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        while True:
            for kind, _, message in netlink.messages(sock.recv(1 << 18)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return found
                if kind == answer:
                    found.append(message)


def _address(message: bytes) -> IPAddress | None:
    found = netlink.attributes(message, 8)
    # IPv6 has no local one beside the address, unless a link has two ends.
    value = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
    if message[0] == socket.AF_INET and len(value) == 4:
        return IPv4Address(value)
    return IPv6Address(value) if message[0] == socket.AF_INET6 and len(value) == 16 else None


def _parse(netns_name: str, message: bytes) -> Link:
    found = netlink.attributes(message, 16)
    info = netlink.attributes(found.get(_IFLA_LINKINFO, b""))
    port = netlink.attributes(info.get(_INFO_SLAVE_DATA, b""))
    index, flags = struct.unpack_from("iI", message, 4)
    return Link(
        netns=netns_name,
        index=int(index),
        name=netlink.text(found.get(_IFLA_IFNAME, b"")),
        peer=int.from_bytes(found.get(_IFLA_LINK, b""), "little"),
        master=int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
        kind=netlink.text(info.get(_INFO_KIND, b"")),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        mtu=int.from_bytes(found.get(_IFLA_MTU, b""), "little"),
        hairpin=bool(port[_BRPORT_MODE][0]) if port.get(_BRPORT_MODE) else None,
    )
