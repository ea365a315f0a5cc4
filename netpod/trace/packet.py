"""Bytes of an Ethernet frame or of IP and TCP headers → `Packet` (pure).

NAT changes addresses, ports and checksums; a router changes the TTL and the Ethernet header. All else stays, and
makes a fingerprint under which the sightings of one packet are grouped. TCP options are left out: TCPMSS changes them.
"""

import struct
import zlib
from ipaddress import IPv4Address

from netpod.trace.model import Address, Flow, Packet

ETHERNET = 14
ETH_P_IP = 0x0800
IPPROTO_TCP = 6
HeaderKey = tuple[int, ...]
"""IP id, sequence, acknowledgement, flags, payload length: what a rule event's copied headers can tell."""

_FLAG_NAMES = ((2, "SYN"), (16, "ACK"), (8, "PSH"), (1, "FIN"), (4, "RST"))


def parse_frame(frame: bytes) -> Packet | None:
    """Read an Ethernet frame, or return None when it is not an unfragmented IPv4 TCP segment."""
    if len(frame) < ETHERNET + 40 or int.from_bytes(frame[12:14], "big") != ETH_P_IP:
        return None
    ip_length = (frame[ETHERNET] & 15) * 4
    total, ip_id, fragment = struct.unpack_from("!HHH", frame, ETHERNET + 2)
    if frame[ETHERNET + 9] != IPPROTO_TCP or fragment & 0x1FFF:
        return None
    start = ETHERNET + ip_length
    if len(frame) < start + 20:
        return None
    source_port, destination_port, sequence, acknowledgement, offset, flags, window = (
        struct.unpack_from("!HHIIBBH", frame, start)
    )
    tcp_length = (offset >> 4) * 4
    payload = frame[start + tcp_length : ETHERNET + total]
    length = total - ip_length - tcp_length
    return Packet(
        # The payload may be cut by the snapshot length, equally at every tap.
        fingerprint=(
            ip_id,
            sequence,
            acknowledgement,
            flags,
            length,
            window,
            zlib.crc32(payload),
        ),
        flow=Flow(
            Address(IPv4Address(frame[ETHERNET + 12 : ETHERNET + 16]), source_port),
            Address(IPv4Address(frame[ETHERNET + 16 : ETHERNET + 20]), destination_port),
        ),
        flags=flags,
        length=length,
        payload=payload,
    )


def header_key(packet: Packet) -> HeaderKey:
    """Return the part of a fingerprint that copied headers also show."""
    return packet.fingerprint[:5]


def parse_headers(network: bytes, transport: bytes) -> HeaderKey | None:
    """Return the header key of a packet from its IPv4 and TCP headers, or None when they are something else."""
    if len(network) < 20 or len(transport) < 14 or network[9] != IPPROTO_TCP:
        return None
    total, ip_id = struct.unpack_from("!HH", network, 2)
    sequence, acknowledgement, offset, flags = struct.unpack_from("!IIBB", transport, 4)
    length = total - (network[0] & 15) * 4 - (offset >> 4) * 4
    return (ip_id, sequence, acknowledgement, flags, length)


def flag_names(flags: int) -> str:
    """Return TCP flags in words, e.g. "SYN ACK"."""
    return " ".join(name for bit, name in _FLAG_NAMES if flags & bit) or "none"
