"""Handles of one chain's rules, in order: asked of the kernel for this chain alone, quick however many there are.

Source: Linux net/netfilter/nf_tables_api.c nf_tables_dump_rules; include/uapi/linux/netfilter/nf_tables.h.
"""

import socket
import struct

from netpod.errors import KernelError
from netpod.linux import netns
from netpod.trace.sources import netlink

_NEWRULE, _GETRULE = (10 << 8) | 6, (10 << 8) | 7
_TABLE, _CHAIN, _HANDLE = 1, 2, 3
_REQUEST_DUMP, _DONE, _ERROR = 0x301, 3, 2
_FAMILIES = {"inet": 1, "ip": 2, "netdev": 5, "bridge": 7, "ip6": 10}


def handles(netns_name: str, family: str, table: str, chain: str) -> list[int]:
    """Return the handles of a chain's rules in order; none when there is no such chain."""
    body = struct.pack("!BBH", _FAMILIES.get(family, 0), 0, 0)
    body += _text(_TABLE, table) + _text(_CHAIN, chain)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    found: list[int] = []
    try:
        with netns.socket_in(
            netns_name, socket.AF_NETLINK, kind, netlink.NETLINK_NETFILTER
        ) as sock:
            sock.settimeout(2)
            sock.send(struct.pack("IHHII", 16 + len(body), _GETRULE, _REQUEST_DUMP, 1, 0) + body)
            while True:
                for answer, _, message in netlink.messages(sock.recv(1 << 18)):
                    if answer in (_DONE, _ERROR):
                        return found
                    attributes = netlink.attributes(message, 4)
                    # A kernel that does not filter sends the rules of all chains.
                    same = netlink.text(attributes.get(_CHAIN, b"")) == chain
                    if answer == _NEWRULE and same:
                        found.append(int.from_bytes(attributes.get(_HANDLE, b""), "big"))
    except (KernelError, OSError):
        return []


def _text(kind: int, value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)
