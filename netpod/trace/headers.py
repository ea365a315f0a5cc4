"""The network header of a packet in either family, its extension headers included: where it ends, what follows (pure).

Source: RFC 791 section 3.1; RFC 8200 sections 3 and 4.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netpod.ip import Address as IPAddress

ETHERNET = 14
ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 1, 6, 17, 58
LABEL = 1 << 20
"""Set in an identity that is a flow label: it has 20 bits, an IPv4 id 16."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = frozenset((0, 43, 60, 135, _FRAGMENT, _AUTHENTICATION))
"""Hop-by-hop and destination options, routing, mobility, fragment, authentication: all begin with what follows."""
_SHORTEST = {4: 20, 6: 40}
_VERSIONS = {ETH_P_IP: 4, ETH_P_IPV6: 6}


class Header(NamedTuple):
    """A network header.

    Attributes:
        version: 4 or 6.
        size: Its bytes, options and extension headers included.
        total: Bytes of header and payload as it says itself; 0 when it does not (a segment not cut yet).
        protocol: Number of what follows it.
        identity: What no router or NAT changes: an IPv4 id, or LABEL and an IPv6 flow label. IPv6 has no id but in
            fragments; the label is of the flow, and Linux draws another for what it sends again after a time-out.
        offset: Of a fragment's payload in the whole packet, bytes.
        more: Whether fragments follow that come behind this one in the whole packet.
        fragment: Number that all fragments of one packet share, as long as nobody puts it together on the way.
        source: Address, packed.
        destination: Address, packed.
    """

    version: int
    size: int
    total: int
    protocol: int
    identity: int
    offset: int
    source: bytes
    destination: bytes
    more: bool = False
    fragment: int = 0

    @property
    def ends(self) -> tuple[IPAddress, IPAddress]:
        """Source and destination."""
        if self.version == 4:
            return IPv4Address(self.source), IPv4Address(self.destination)
        return IPv6Address(self.source), IPv6Address(self.destination)


def of_frame(frame: bytes) -> Header | None:
    """Read the network header of an Ethernet frame; None when it carries something else than IP, or is cut."""
    version = _VERSIONS.get(int.from_bytes(frame[12:14], "big"))
    found = read(frame, ETHERNET) if version is not None else None
    return found if found is not None and found.version == version else None


def read(data: bytes, start: int = 0) -> Header | None:
    """Read the network header that begins at an offset; None when there is none, or it is cut."""
    version = data[start] >> 4 if len(data) > start else 0
    if version not in _SHORTEST or len(data) < start + _SHORTEST[version]:
        return None
    return (_read_six if version == 6 else _read_four)(data, start)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Cut a packet behind its network header; of what is no packet nothing is left."""
    found = read(data)
    return (data[: found.size], data[found.size :]) if found is not None else (b"", b"")


def _read_four(data: bytes, start: int) -> Header:
    return Header(
        version=4,
        size=(data[start] & 15) * 4,
        total=int.from_bytes(data[start + 2 : start + 4], "big"),
        protocol=data[start + 9],
        identity=int.from_bytes(data[start + 4 : start + 6], "big"),
        offset=(int.from_bytes(data[start + 6 : start + 8], "big") & 0x1FFF) * 8,
        source=data[start + 12 : start + 16],
        destination=data[start + 16 : start + 20],
        more=bool(data[start + 6] & 0x20),
        fragment=int.from_bytes(data[start + 4 : start + 6], "big"),
    )


def _read_six(data: bytes, start: int) -> Header | None:
    follows, at, offset = data[start + 6], start + 40, 0
    more, fragment = False, 0
    while follows in _EXTENSIONS:
        if len(data) < at + 8:
            return None
        kind, follows, size = follows, data[at], (data[at + 1] + 1) * 8
        if kind == _FRAGMENT:
            # Only the first fragment has more headers behind this one.
            offset, size = int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8, 8
            more = bool(data[at + 3] & 1)
            fragment = int.from_bytes(data[at + 4 : at + 8], "big")
        elif kind == _AUTHENTICATION:
            size = (data[at + 1] + 2) * 4
        at += size
        if offset:
            break
    length = int.from_bytes(data[start + 4 : start + 6], "big")
    return Header(
        version=6,
        size=at - start,
        total=length + 40 if length else 0,
        protocol=follows,
        identity=LABEL | int.from_bytes(data[start : start + 4], "big") & 0xFFFFF,
        offset=offset,
        source=data[start + 8 : start + 24],
        destination=data[start + 24 : start + 40],
        more=more,
        fragment=fragment,
    )
