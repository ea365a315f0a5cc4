"""Frames and sightings by hand."""

import struct
from ipaddress import IPv4Address, IPv6Address

from netpod.ip import Address as IPAddress
from netpod.trace.model import Address
from netpod.trace.sources.frames import Frame

A, B, C = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
A6, B6, C6 = IPv6Address("fd00::1"), IPv6Address("fd00::2"), IPv6Address("fd00::3")
CLIENT, SERVER = Address(A, 40000), Address(B, 80)
CLIENT6, SERVER6 = Address(A6, 40000), Address(B6, 80)
SYN, SYN_ACK, ACK, PSH_ACK, RST = 2, 18, 16, 24, 20


def frame(
    source: Address = CLIENT,
    destination: Address = SERVER,
    *,
    flags: int = SYN,
    sequence: int = 1,
    payload: bytes = b"",
    options: bytes = b"",
    ttl: int = 64,
    ip_id: int = 7,
) -> bytes:
    """An Ethernet frame with a TCP segment; `ip_id` is the flow label of IPv6."""
    tcp = struct.pack(
        "!HHIIBBHHH", source.port, destination.port, sequence, 5,
        (5 + len(options) // 4) << 4, flags, 1000, ttl, 0,
    )  # fmt: skip
    body = tcp + options + payload
    if source.ip.version == 6:
        return six(source.ip, destination.ip, 6, body, ttl=ttl, label=ip_id)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ip_id, 0x4000, ttl, 6, ttl)
    return b"\0" * 12 + b"\x08\0" + ip + source.ip.packed + destination.ip.packed + body


def six(
    source: IPAddress,
    destination: IPAddress,
    follows: int,
    body: bytes,
    *,
    ttl: int = 64,
    label: int = 7,
) -> bytes:
    """An Ethernet frame with an IPv6 packet; `follows` is the number of what its header is followed by."""
    ip = struct.pack("!IHBB", 6 << 28 | label, len(body), follows, ttl)
    return b"\0" * 12 + b"\x86\xdd" + ip + source.packed + destination.packed + body


def seen(
    netns: str,
    interface: str,
    way: str,
    time_ns: int,
    data: bytes,
    *,
    for_us: bool = True,
) -> Frame:
    """A frame at a tap; `way` is "in" or "out"."""
    return Frame(
        netns=netns,
        interface=interface,
        outgoing=way == "out",
        for_us=for_us,
        time_ns=time_ns,
        sequence=time_ns,
        data=data,
    )
