"""Frames of others are left out before anything is read of them; none of the request's own is."""

import struct
from ipaddress import IPv4Address

from netpod.trace import sift
from netpod.trace.model import Address, Flow
from netpod.trace.sources.frames import Frame
from tests.unit.trace.builders import ACK, CLIENT, PSH_ACK, SERVER, SYN_ACK, A, B, C, frame, seen

RESERVED = (61000, 61999)
HIDDEN, BEHIND = Address(B, 12345), Address(C, 8080)


def kept(frames: list[Frame], *, ends: tuple[Address, ...] = ()) -> list[int]:
    """The times of the frames that are left."""
    found = sift.sift(
        frames, flows=[Flow(CLIENT, SERVER)], ends=ends, ports=RESERVED, needle=b"id-1"
    )
    return [f.time_ns for f in found]


def test_a_packet_leads_to_the_addresses_it_gets_on_its_way_and_they_to_the_answer() -> None:
    """The SYN under two address pairs, the answer under the second; others with the same ports are not ours."""
    other = Address(A, 40001)
    frames = [
        seen("outside", "eth0", "out", 1, frame(CLIENT, SERVER)),
        seen("node", "eth0", "out", 2, frame(HIDDEN, BEHIND)),
        seen("node", "eth0", "out", 3, frame(other, SERVER, sequence=9, ip_id=8)),
        seen("pod", "eth0", "out", 4, frame(BEHIND, HIDDEN, flags=SYN_ACK, sequence=5, ip_id=0)),
        seen("node", "eth0", "in", 5, frame(SERVER, other, flags=ACK, sequence=6, ip_id=9)),
    ]
    assert kept(frames) == [1, 2, 4]


def test_connections_of_the_proxy_are_known_by_port_by_address_and_by_what_they_carry() -> None:
    """Each of the three alone is enough."""
    proxy = Address(C, 33000)
    frames = [
        seen("pod", "eth0", "out", 1, frame(Address(C, 61500), SERVER, sequence=2, ip_id=1)),
        seen("pod", "eth0", "out", 2, frame(proxy, SERVER, sequence=3, ip_id=2)),
        seen("pod", "eth0", "out", 3, frame(proxy, BEHIND, sequence=4, ip_id=3)),
        seen(
            "pod", "eth0", "out", 4,
            frame(Address(C, 34000), SERVER, flags=PSH_ACK, sequence=5, ip_id=4, payload=b"x: id-1\r\n"),
        ),
        seen("pod", "eth0", "out", 5, frame(Address(C, 35000), SERVER, sequence=6, ip_id=5)),
    ]  # fmt: skip
    assert kept(frames) == [1, 4]
    assert kept(frames, ends=(proxy,)) == [1, 2, 3, 4]


def test_what_is_no_whole_tcp_or_udp_packet_stays() -> None:
    """ICMP and ARP say why a packet ended; a later fragment has no ports."""
    icmp = bytearray(frame(Address(C, 1), Address(B, 2)))
    icmp[23] = 1
    piece = bytearray(frame(Address(C, 1), Address(B, 2)))
    piece[20:22] = struct.pack("!H", 185)
    arp = b"\0" * 12 + b"\x08\x06" + b"\0" * 28
    frames = [seen("node", "eth0", "in", t, bytes(d)) for t, d in enumerate((icmp, piece, arp), 1)]
    assert kept(frames) == [1, 2, 3]


def test_what_a_tunnel_carries_counts_not_the_tunnel() -> None:
    """The request's packet inside VXLAN is kept, another's inside the same tunnel is not."""

    def carried(inner: bytes) -> bytes:
        udp = struct.pack("!HHHH", 50000, 8472, 16 + len(inner), 0) + b"\x08\0\0\0\0\0\x01\0"
        head = struct.pack("!BBHHHBBH", 0x45, 0, 36 + len(inner), 1, 0, 64, 17, 0)
        ends = IPv4Address("172.18.0.3").packed + IPv4Address("172.18.0.4").packed
        return b"\0" * 12 + b"\x08\0" + head + ends + udp + inner

    frames = [
        seen("node", "eth0", "out", 1, carried(frame(CLIENT, SERVER))),
        seen("node", "eth0", "out", 2, carried(frame(HIDDEN, BEHIND, sequence=7, ip_id=2))),
    ]
    assert kept(frames) == [1]
