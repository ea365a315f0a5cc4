"""Bytes of an Ethernet frame or of copied headers → `Packet`, `IcmpError` (pure).

NAT changes addresses, ports, ICMP ids and checksums; a router changes the TTL and the Ethernet header. All else stays,
and makes a fingerprint under which the sightings of one packet are grouped. TCP options are left out: TCPMSS changes
them. What a VXLAN tunnel carries is the packet; the tunnel is only a way.
"""

import struct
import zlib
from dataclasses import replace
from ipaddress import IPv4Address

from netpod.trace.clues import IcmpError
from netpod.trace.model import Address, Flow, Packet

ETHERNET = 14
ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
ARP_REPLY = 2
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP = 1, 6, 17
VXLAN_PORTS = (4789, 8472)
"""IANA's, and the one Linux and flannel use."""
HeaderKey = tuple[int, ...]
"""Protocol, IP id and what else of a packet's first 40 bytes no NAT changes: what a rule event's headers can tell."""

_FLAG_NAMES = ((2, "SYN"), (16, "ACK"), (8, "PSH"), (1, "FIN"), (4, "RST"))
_ERRORS = (3, 5, 11, 12)
"""ICMP types that quote the packet they are about. Source: RFC 792."""
_ECHO_REPLY, _ECHO = 0, 8
_UDP_COPY = 12
"""Bytes of payload behind a UDP or ICMP header that a rule event copies (NFT_TRACETYPE_TRANSPORT_HSIZE is 20)."""


def parse_frame(frame: bytes) -> Packet | None:
    """Read an Ethernet frame, or return None when it holds no unfragmented TCP, UDP or ICMP echo over IPv4."""
    if len(frame) < ETHERNET + 28 or int.from_bytes(frame[12:14], "big") != ETH_P_IP:
        return None
    inner = tunnelled(frame)
    if inner is not None:
        packet = parse_frame(inner)
        return None if packet is None else replace(packet, tunnel=_tunnel(frame))
    return parse_ip(frame[ETHERNET:])


def tunnelled(frame: bytes) -> bytes | None:
    """Return the frame that a VXLAN packet carries, or None for any other. Source: RFC 7348 section 5."""
    ip = ETHERNET
    if frame[ip + 9] != IPPROTO_UDP or int.from_bytes(frame[ip + 6 : ip + 8], "big") & 0x1FFF:
        return None
    start = ip + (frame[ip] & 15) * 4
    if len(frame) < start + 16 + ETHERNET + 20:
        return None
    if int.from_bytes(frame[start + 2 : start + 4], "big") not in VXLAN_PORTS:
        return None
    return frame[start + 16 :] if frame[start + 8] & 8 else None


def _tunnel(frame: bytes) -> str:
    """Network number and both ends of a VXLAN tunnel."""
    vni = ETHERNET + (frame[ETHERNET] & 15) * 4 + 12
    ends = (IPv4Address(frame[ETHERNET + at : ETHERNET + at + 4]) for at in (12, 16))
    return f"VXLAN {int.from_bytes(frame[vni : vni + 3], 'big')}: {' → '.join(map(str, ends))}"


def parse_ip(data: bytes) -> Packet | None:
    """Read an IPv4 packet; as `parse_frame`."""
    if len(data) < 28 or data[0] >> 4 != 4:
        return None
    ip_length = (data[0] & 15) * 4
    total, ip_id, fragment = struct.unpack_from("!HHH", data, 2)
    key = header_of(data[:ip_length], data[ip_length:])
    if key is None or fragment & 0x1FFF:
        return None
    protocol, flags, window = data[9], 0, 0
    transport = data[ip_length:total] if total else data[ip_length:]
    if protocol == IPPROTO_TCP:
        if len(transport) < 20:
            return None
        flags, window = transport[13], int.from_bytes(transport[14:16], "big")
        header = (transport[12] >> 4) * 4
    else:
        header = 8
    ports = _ports(protocol, transport)
    payload = transport[header:]
    length = total - ip_length - header
    return Packet(
        # The payload may be cut by the snapshot length, equally at every tap.
        fingerprint=(*key, window, length, zlib.crc32(payload)),
        flow=Flow(
            Address(IPv4Address(data[12:16]), ports[0]),
            Address(IPv4Address(data[16:20]), ports[1]),
        ),
        protocol=protocol,
        flags=flags,
        length=length,
        payload=payload,
        ip_id=ip_id,
    )


def header_key(packet: Packet) -> HeaderKey:
    """Return the part of a fingerprint that copied headers also show."""
    return packet.fingerprint[:-3]


def header_of(network: bytes, transport: bytes) -> HeaderKey | None:
    """Return the header key of a packet from its IPv4 and transport headers, or None when they are something else."""
    if len(network) < 20 or len(transport) < 8:
        return None
    protocol = network[9]
    total, ip_id = struct.unpack_from("!HH", network, 2)
    if protocol == IPPROTO_TCP:
        if len(transport) < 14:
            return None
        sequence, acknowledgement, offset, flags = struct.unpack_from("!IIBB", transport, 4)
        length = total - (network[0] & 15) * 4 - (offset >> 4) * 4
        return (protocol, ip_id, sequence, acknowledgement, flags, length)
    rest = transport[8 : 8 + _UDP_COPY]
    rest = rest[: max(0, total - (network[0] & 15) * 4 - 8)]
    if protocol == IPPROTO_UDP:
        return (protocol, ip_id, total, int.from_bytes(rest, "big"))
    if protocol == IPPROTO_ICMP and transport[0] in (_ECHO, _ECHO_REPLY):
        sequence = int.from_bytes(transport[6:8], "big")
        return (protocol, ip_id, total, transport[0], sequence, int.from_bytes(rest, "big"))
    return None


def flow_of(network: bytes, transport: bytes) -> Flow | None:
    """Return addresses and ports of a packet from its headers, or None when they are cut."""
    if len(network) < 20 or len(transport) < 8:
        return None
    ports = _ports(network[9], transport)
    return Flow(
        Address(IPv4Address(network[12:16]), ports[0]),
        Address(IPv4Address(network[16:20]), ports[1]),
    )


def parse_error(frame: bytes) -> IcmpError | None:
    """Read an ICMP error from an Ethernet frame, with the packet it quotes; None for any other frame."""
    if len(frame) < ETHERNET + 28 or int.from_bytes(frame[12:14], "big") != ETH_P_IP:
        return None
    inner = tunnelled(frame)
    if inner is not None:
        return parse_error(inner)
    data = frame[ETHERNET:]
    start = (data[0] & 15) * 4
    if data[9] != IPPROTO_ICMP or len(data) < start + 36 or data[start] not in _ERRORS:
        return None
    quoted = data[start + 8 :]
    size = (quoted[0] & 15) * 4
    flow = flow_of(quoted[:size], quoted[size:])
    if flow is None:
        return None
    return IcmpError(
        type=data[start],
        code=data[start + 1],
        mtu=int.from_bytes(data[start + 6 : start + 8], "big"),
        sender=IPv4Address(data[12:16]),
        protocol=quoted[9],
        flow=flow,
        ip_id=int.from_bytes(quoted[4:6], "big"),
    )


def parse_arp(frame: bytes) -> tuple[int, IPv4Address, IPv4Address] | None:
    """Read an ARP frame: operation (1 asks, 2 answers), sender's address, address asked for; None for any other."""
    if len(frame) < ETHERNET + 28 or int.from_bytes(frame[12:14], "big") != ETH_P_ARP:
        return None
    operation = int.from_bytes(frame[ETHERNET + 6 : ETHERNET + 8], "big")
    return (
        operation,
        IPv4Address(frame[ETHERNET + 14 : ETHERNET + 18]),
        IPv4Address(frame[ETHERNET + 24 : ETHERNET + 28]),
    )


def _ports(protocol: int, transport: bytes) -> tuple[int, int]:
    """Ports; an ICMP echo's id stands for both, as in conntrack."""
    if protocol == IPPROTO_ICMP:
        identity = int.from_bytes(transport[4:6], "big")
        return identity, identity
    return int.from_bytes(transport[:2], "big"), int.from_bytes(transport[2:4], "big")


def flag_names(flags: int) -> str:
    """Return TCP flags in words, e.g. "SYN ACK"."""
    return " ".join(name for bit, name in _FLAG_NAMES if flags & bit) or "none"


def label(packet: Packet) -> str:
    """Return what a packet is in a few words, e.g. "SYN", "UDP, 44 bytes", "ICMP echo request"."""
    if packet.protocol == IPPROTO_TCP:
        return flag_names(packet.flags) + (f", {packet.length} bytes" if packet.length else "")
    if packet.protocol == IPPROTO_UDP:
        return f"UDP, {packet.length} bytes"
    return "ICMP echo " + ("request" if packet.fingerprint[3] == _ECHO else "reply")
