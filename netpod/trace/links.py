"""The links of a namespace as the kernel lists them: names, peers of veth pairs, ports of bridges.

Read over a bare rtnetlink socket: one dump costs a millisecond, which a trace can afford for each namespace crossed.

Source: rtnetlink(7); Linux include/uapi/linux/if_link.h (IFLA_*).
"""

import socket
import struct
from collections.abc import Iterable

from netpod.linux import netns
from netpod.trace.sources import netlink
from netpod.trace.topology import Link, Topology

_RTM_GETLINK, _RTM_NEWLINK, _NLMSG_DONE, _NLMSG_ERROR = 18, 16, 3, 2
_NLM_F_REQUEST_DUMP = 0x301
_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER = 3, 5, 10


def observe_links(namespaces: Iterable[str]) -> Topology:
    """Read the links of some namespaces; one that is gone meanwhile has none."""
    found: dict[tuple[str, str], Link] = {}
    for name in namespaces:
        if netns.exists(name):
            found |= {(name, link.name): link for link in _dump(name)}
    return Topology(links=found)


def _dump(netns_name: str) -> list[Link]:
    links: list[Link] = []
    with netns.socket_in(netns_name, socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(1)
        body = struct.pack("BBHiII", 0, 0, 0, 0, 0, 0)
        sock.send(
            struct.pack("IHHII", 16 + len(body), _RTM_GETLINK, _NLM_F_REQUEST_DUMP, 1, 0) + body
        )
        while True:
            for kind, _, message in netlink.messages(sock.recv(1 << 18)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return links
                if kind == _RTM_NEWLINK:
                    links.append(_parse(netns_name, message))


def _parse(netns_name: str, message: bytes) -> Link:
    found = netlink.attributes(message, 16)
    return Link(
        netns=netns_name,
        index=int(struct.unpack_from("i", message, 4)[0]),
        name=netlink.text(found.get(_IFLA_IFNAME, b"")),
        peer=int.from_bytes(found.get(_IFLA_LINK, b""), "little"),
        master=int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
    )
