"""Bytes of an Ethernet frame or of copied headers → `Packet`, `IcmpError` (pure).

NAT changes addresses, ports, ICMP ids and checksums; a router changes the TTL and the Ethernet header. All else stays,
and makes a fingerprint under which the sightings of one packet are grouped. TCP options are left out: TCPMSS changes
them. What a VXLAN tunnel carries is the packet; the tunnel is only a way.
"""

import struct
import zlib
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from netpod.ip import Address as IPAddress
from netpod.trace import headers
from netpod.trace.clues import IcmpError
from netpod.trace.headers import ETHERNET, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from netpod.trace.model import Address, Flow, Packet

ARP_REPLY = 2
VXLAN_PORTS = (4789, 8472)
"""IANA's, and the one Linux and flannel use."""
UNSEEN = (0, 0, 0)
"""The end of the fingerprint of what came in fragments: all their payload was never in one frame."""
HeaderKey = tuple[int, ...]
"""Protocol, identity and what else of a packet's headers no NAT changes: what a rule event's headers can tell."""

_FLAG_NAMES = ((2, "SYN"), (16, "ACK"), (8, "PSH"), (1, "FIN"), (4, "RST"))
_ERRORS = {IPPROTO_ICMP: (3, 5, 11, 12), IPPROTO_ICMPV6: (1, 2, 3, 4)}
"""Types that quote the packet they are about. Source: RFC 792; RFC 4443 section 3."""
_ECHOES = {IPPROTO_ICMP: (8, 0), IPPROTO_ICMPV6: (128, 129)}
"""Types of echo request and reply."""
_SOLICITATION, _ADVERTISEMENT = 135, 136
_UDP_COPY = 12
"""Bytes of payload behind a UDP or ICMP header that a rule event copies (NFT_TRACETYPE_TRANSPORT_HSIZE is 20)."""


def parse_frame(frame: bytes) -> Packet | None:
    """Read an Ethernet frame, or return None when it holds no TCP, UDP or ICMP echo, or a later fragment of one."""
    ip = headers.of_frame(frame)
    if ip is None:
        return None
    inner = _carried(frame, ip)
    if inner is not None:
        packet = parse_frame(inner)
        return None if packet is None else replace(packet, tunnel=_tunnel(frame, ip))
    return parse_ip(frame[ETHERNET:])


def tunnelled(frame: bytes) -> bytes | None:
    """Return the frame that a VXLAN packet carries, or None for any other. Source: RFC 7348 section 5."""
    ip = headers.of_frame(frame)
    return None if ip is None else _carried(frame, ip)


def _carried(frame: bytes, ip: headers.Header) -> bytes | None:
    if ip.protocol != IPPROTO_UDP or ip.offset:
        return None
    start = ETHERNET + ip.size
    if len(frame) < start + 16 + ETHERNET + 20:
        return None
    if int.from_bytes(frame[start + 2 : start + 4], "big") not in VXLAN_PORTS:
        return None
    return frame[start + 16 :] if frame[start + 8] & 8 else None


def _tunnel(frame: bytes, ip: headers.Header) -> str:
    """Network number and both ends of a VXLAN tunnel."""
    vni = ETHERNET + ip.size + 12
    return f"VXLAN {int.from_bytes(frame[vni : vni + 3], 'big')}: {' → '.join(map(str, ip.ends))}"


def parse_ip(data: bytes) -> Packet | None:
    """Read an IP packet; as `parse_frame`."""
    ip = headers.read(data)
    key = header_of(data[: ip.size], data[ip.size :]) if ip is not None else None
    if ip is None or key is None or ip.offset:
        return None
    flags, window = 0, 0
    transport = data[ip.size : ip.total] if ip.total else data[ip.size :]
    if ip.protocol == IPPROTO_TCP:
        if len(transport) < 20:
            return None
        flags, window = transport[13], int.from_bytes(transport[14:16], "big")
        header = (transport[12] >> 4) * 4
    else:
        header = 8
    payload = transport[header:]
    length = ip.total - ip.size - header
    # The payload may be cut by the snapshot length, equally at every tap; by a smaller MTU on the way it may not.
    mark = UNSEEN if ip.more else (window, length, zlib.crc32(payload))
    return Packet(
        fingerprint=(*key, *mark),
        flow=_flow(ip, transport),
        protocol=ip.protocol,
        flags=flags,
        length=length,
        payload=payload,
        ip_id=ip.identity,
        fragments=int(ip.more),
    )


def header_key(packet: Packet) -> HeaderKey:
    """Return the part of a fingerprint that copied headers also show."""
    return packet.fingerprint[:-3]


def header_of(network: bytes, transport: bytes) -> HeaderKey | None:
    """Return the header key of a packet from its headers, or None when they are something else.

    Of an IPv6 packet with extension headers a rule event has the first 40 bytes alone: what follows is not known then.
    """
    ip = headers.read(network)
    if ip is None or len(transport) < 8:
        return None
    if ip.protocol == IPPROTO_TCP:
        if len(transport) < 14:
            return None
        sequence, acknowledgement, offset, flags = struct.unpack_from("!IIBB", transport, 4)
        length = ip.total - ip.size - (offset >> 4) * 4
        return (ip.protocol, ip.identity, sequence, acknowledgement, flags, length)
    rest = transport[8 : 8 + _UDP_COPY]
    rest = rest[: max(0, ip.total - ip.size - 8)]
    # Lengths as the whole packet's, also of a first fragment: where rules are met it has been put together.
    if ip.protocol == IPPROTO_UDP:
        length = int.from_bytes(transport[4:6], "big")
        return (ip.protocol, ip.identity, length, int.from_bytes(rest, "big"))
    if transport[0] in _ECHOES.get(ip.protocol, ()):
        sequence = int.from_bytes(transport[6:8], "big")
        text = int.from_bytes(rest, "big")
        return (ip.protocol, ip.identity, 0, transport[0], sequence, text)
    return None


def flow_of(network: bytes, transport: bytes) -> Flow | None:
    """Return addresses and ports of a packet from its headers, or None when they are cut."""
    ip = headers.read(network)
    return None if ip is None or len(transport) < 8 else _flow(ip, transport)


def parse_error(frame: bytes) -> IcmpError | None:
    """Read an ICMP error from an Ethernet frame, with the packet it quotes; None for any other frame."""
    ip = headers.of_frame(frame)
    if ip is None:
        return None
    inner = _carried(frame, ip)
    if inner is not None:
        return parse_error(inner)
    start = ETHERNET + ip.size
    if len(frame) < start + 36 or ip.offset or frame[start] not in _ERRORS.get(ip.protocol, ()):
        return None
    about = headers.read(frame, start + 8)
    flow = flow_of(*headers.split(frame[start + 8 :]))
    if about is None or flow is None:
        return None
    # IPv6 gives the MTU all four bytes, of which IPv4 uses the last two: the first are zero there.
    return IcmpError(
        type=frame[start],
        code=frame[start + 1],
        mtu=int.from_bytes(frame[start + 4 : start + 8], "big") & 0xFFFF,
        sender=ip.ends[0],
        protocol=about.protocol,
        flow=flow,
        ip_id=about.identity,
    )


def parse_neighbour(frame: bytes) -> tuple[int, IPAddress, IPAddress] | None:
    """Read an ARP frame or a neighbour solicitation or advertisement; None for any other.

    Returns:
        1 asks or 2 answers; who asks or answers; the address asked for. Who only announces, or looks whether anybody
        has its own address already, asks for itself. Source: RFC 826; RFC 4861 sections 4.3 and 4.4.
    """
    if int.from_bytes(frame[12:14], "big") == headers.ETH_P_ARP and len(frame) >= ETHERNET + 28:
        operation = int.from_bytes(frame[ETHERNET + 6 : ETHERNET + 8], "big")
        sender, wanted = frame[ETHERNET + 14 : ETHERNET + 18], frame[ETHERNET + 24 : ETHERNET + 28]
        return operation, IPv4Address(sender), IPv4Address(wanted)
    ip = headers.of_frame(frame)
    start = ETHERNET + ip.size if ip is not None else 0
    if ip is None or ip.protocol != IPPROTO_ICMPV6 or len(frame) < start + 24:
        return None
    target = IPv6Address(frame[start + 8 : start + 24])
    if frame[start] == _ADVERTISEMENT:
        return ARP_REPLY, target, target
    if frame[start] == _SOLICITATION:
        asker = ip.ends[0]
        return 1, target if asker.is_unspecified else asker, target
    return None


def _flow(ip: headers.Header, transport: bytes) -> Flow:
    """Addresses and ports; an ICMP echo's id stands for both, as in conntrack."""
    if ip.protocol in _ECHOES:
        identity = int.from_bytes(transport[4:6], "big")
        ports = identity, identity
    else:
        ports = int.from_bytes(transport[:2], "big"), int.from_bytes(transport[2:4], "big")
    source, destination = ip.ends
    return Flow(Address(source, ports[0]), Address(destination, ports[1]))


def flag_names(flags: int) -> str:
    """Return TCP flags in words, e.g. "SYN ACK"."""
    return " ".join(name for bit, name in _FLAG_NAMES if flags & bit) or "none"


def label(packet: Packet) -> str:
    """Return what a packet is in a few words, e.g. "SYN", "UDP, 44 bytes", "ICMP echo request"."""
    if packet.protocol == IPPROTO_TCP:
        return flag_names(packet.flags) + (f", {packet.length} bytes" if packet.length else "")
    pieces = f" in {packet.fragments} fragments" if packet.fragments else ""
    if packet.protocol == IPPROTO_UDP:
        return f"UDP, {packet.length} bytes{pieces}"
    word = "ICMP" if packet.protocol == IPPROTO_ICMP else "ICMPv6"
    return f"{word} echo {'reply' if packet.echo_reply else 'request'}{pieces}"
