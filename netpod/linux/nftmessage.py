"""Netlink messages of nftables as bytes: header, attributes, nests. nftwire.py and nftread.py say what stands in
them.

Sources: kernel uapi linux/netlink.h, linux/netfilter/nfnetlink.h.
"""

import os
import socket
import struct
from functools import lru_cache

from netpod.ip import Family

REQUEST = 0x1
SUBSYSTEM = 10
"""nftables' number within nfnetlink."""
_NESTED = 0x8000
_FAMILY_AT = 16
"""Where a message has its address family: behind the header of 16 bytes."""


@lru_cache(maxsize=1024)
def number(kind: int, value: int) -> bytes:
    """An attribute that is a number of four bytes, big endian as nftables has them."""
    return struct.pack("=HH", 8, kind) + struct.pack("!I", value)


def text(kind: int, value: str) -> bytes:
    """An attribute that is a text."""
    return attribute(kind, os.fsencode(value) + b"\0")


def nested(kind: int, *pieces: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(pieces))


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute of bytes, padded to whole words."""
    size = len(data) + 4
    return struct.pack("=HH", size, kind) + data + b"\0" * (-size % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request of type NFT_MSG_* for family ip, with sequence number 0."""
    start = header(SUBSYSTEM << 8 | kind, REQUEST | flags, 0, 0, family=socket.AF_INET)
    return struct.pack("=I", len(start) + len(body)) + start[4:] + body


def of_family(made: bytes, family: Family) -> bytes:
    """The same message for a family."""
    return made[:_FAMILY_AT] + bytes([family.af]) + made[_FAMILY_AT + 1 :]


def header(kind: int, flags: int, sequence: int, resource: int, *, family: int) -> bytes:
    """Headers of netlink and nfnetlink, of a message without a body."""
    return struct.pack("=IHHII", 20, kind, flags, sequence, 0) + struct.pack(
        "!BBH", family, 0, resource
    )
