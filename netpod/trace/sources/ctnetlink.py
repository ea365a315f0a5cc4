"""What conntrack did: events of new, changed and ended entries, with both tuples and the entry's id.

The entry is what proves an address rewrite: NAT exists only as a difference between its two tuples.

Source: Linux net/netfilter/nf_conntrack_netlink.c; include/uapi/linux/netfilter/nfnetlink_conntrack.h (CTA_*).
"""

import socket
import struct
from dataclasses import replace
from ipaddress import ip_address

from netpod.linux import netns
from netpod.trace.model import Address, CtEntry, Flow
from netpod.trace.sources import netlink

BUFFER = 32 << 20
"""Bytes at most: events of everybody's connections come, some 500 bytes each."""
_GROUPS = (1, 2, 3)
"""NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY."""
_NEW, _DELETE = 1 << 8, (1 << 8) | 2
_ORIGINAL, _REPLY, _STATUS, _ID = 1, 2, 3, 12
_NLM_F_CREATE = 0x400
_GET, _REQUEST_DUMP, _DONE, _ERROR = (1 << 8) | 1, 0x301, 3, 2


class Conntrack:
    """Conntrack events of one network namespace; open it before the connection, only then are they sent."""

    def __init__(self, netns_name: str) -> None:
        self._events = netlink.EventSocket(netns_name, _GROUPS, buffer=BUFFER)
        self.netns = netns_name

    @property
    def lost(self) -> int:
        """How often the kernel dropped events because the buffer was full."""
        return self._events.lost

    def read(self) -> list[CtEntry]:
        """Return the entries that changed, each with its events in order, e.g. ("new", "update"); never blocks."""
        entries: dict[tuple[int, Flow, Flow], CtEntry] = {}
        for kind, flags, body in self._events.read():
            entry = parse_entry(self.netns, kind, flags, body)
            if entry is None:
                continue
            # An id is made of the entry's place in memory and its original tuple: one that follows at once, e.g. when a
            # refused SYN comes again, may have the same. Only NAT's choice tells them apart.
            key = entry.id, entry.original, entry.reply
            known = entries.get(key)
            if known is not None:
                entry = CtEntry(
                    netns=entry.netns,
                    id=entry.id,
                    original=entry.original,
                    reply=entry.reply,
                    status=known.status | entry.status,
                    events=known.events + entry.events,
                )
            entries[key] = entry
        return list(entries.values())

    def hush(self) -> None:
        """Get no more events; those waiting can still be read."""
        self._events.hush()

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self._events.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._events.close()


def observe(netns_name: str) -> list[CtEntry]:
    """Return the entries that are there now: what costs a request nothing, but may miss what came and went."""
    found: list[CtEntry] = []
    with netns.socket_in(
        netns_name,
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC,
        netlink.NETLINK_NETFILTER,
    ) as sock:
        sock.settimeout(1)
        body = struct.pack("!BBH", socket.AF_UNSPEC, 0, 0)
        sock.send(struct.pack("IHHII", 16 + len(body), _GET, _REQUEST_DUMP, 1, 0) + body)
        while True:
            for kind, flags, message in netlink.messages(sock.recv(1 << 18)):
                if kind in (_DONE, _ERROR):
                    return found
                entry = parse_entry(netns_name, kind, flags & ~_NLM_F_CREATE, message)
                if entry is not None:
                    found.append(replace(entry, events=()))


def parse_entry(netns_name: str, kind: int, flags: int, body: bytes) -> CtEntry | None:
    """Decode one conntrack message, or return None when it is not about TCP, UDP or ICMP (pure)."""
    if kind not in (_NEW, _DELETE):
        return None
    found = netlink.attributes(body, 4)
    original = _flow(found.get(_ORIGINAL, b""))
    reply = _flow(found.get(_REPLY, b""))
    if original is None or reply is None:
        return None
    event = "destroy" if kind == _DELETE else "new" if flags & _NLM_F_CREATE else "update"
    return CtEntry(
        netns=netns_name,
        id=int.from_bytes(found.get(_ID, b""), "big"),
        original=original,
        reply=reply,
        status=int.from_bytes(found.get(_STATUS, b""), "big"),
        events=(event,),
    )


def _flow(tuple_: bytes) -> Flow | None:
    nested = netlink.attributes(tuple_)
    ip = netlink.attributes(nested.get(1, b""))
    proto = netlink.attributes(nested.get(2, b""))
    # CTA_IP_V4_SRC and _DST, or CTA_IP_V6_SRC and _DST.
    ends = [ip[k] for k in ((1, 2) if 1 in ip else (3, 4)) if k in ip]
    if len(ends) != 2 or proto.get(1, b"\0")[0] not in (1, 6, 17, 58):
        return None
    # An ICMP echo has an id (CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID) in place of both ports.
    identity = proto.get(4, proto.get(7, b""))
    ports = [int.from_bytes(proto.get(k, identity), "big") for k in (2, 3)]
    return Flow(Address(ip_address(ends[0]), ports[0]), Address(ip_address(ends[1]), ports[1]))
