"""Packets in fragments, put together at each interface they were seen at (pure).

The first fragment stands for all: it alone has ports. Where conntrack is, a packet is put together, meets the rules
once, and is cut again on its way out.

Source: RFC 791 section 3.2; RFC 8200 section 4.5; Linux net/ipv4/netfilter/nf_defrag_ipv4.c.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from netpod.trace import headers
from netpod.trace.headers import IPPROTO_UDP
from netpod.trace.model import Flow, Packet
from netpod.trace.packet import (
    UNSEEN,
    HeaderKey,
    header_key,
    parse_error,
    parse_frame,
    tunnelled,
)
from netpod.trace.sources.frames import Frame

_Piece = tuple[int, int, bool]
"""Offset and length of a fragment's payload, and whether more follow."""


class Pieces:
    """The fragments among some frames, by the packet they are of and the interface they were seen at."""

    def __init__(self, parsed: Iterable[tuple[Frame, Packet | None]]) -> None:
        self._found: dict[Hashable, set[_Piece]] = {}
        self._cut: set[HeaderKey] = set()
        for frame, packet in parsed:
            if packet is not None and not packet.fragments:
                continue
            if packet is not None:
                self._cut.add(header_key(packet))
            header = _header(frame)
            if header is not None and (header.offset or header.more):
                piece = header.offset, header.total - header.size, header.more
                self._found.setdefault(_key(frame, header), set()).add(piece)

    def joined(self, frame: Frame, first: Packet) -> Packet:
        """Return a packet as it is: of a first fragment with all that was seen of it at the same interface."""
        if not first.fragments:
            # Put together by conntrack, e.g. on a bridge that asks iptables: the same packet as its fragments.
            key = header_key(first)
            return replace(first, fingerprint=(*key, *UNSEEN)) if key in self._cut else first
        header = _header(frame)
        pieces = sorted(self._found.get(_key(frame, header), ())) if header is not None else []
        end, whole = 0, bool(pieces) and not pieces[-1][2]
        for offset, length, _ in pieces:
            whole = whole and offset == end
            end = offset + length
        length = first.length if first.protocol == IPPROTO_UDP and not whole else end - 8
        return replace(first, fragments=len(pieces), whole=whole, length=max(0, length))


def flows(frames: Sequence[Frame], *, errors: bool = False) -> list[Flow | None]:
    """Return whose each frame is: the address pair of its packet; None of all others.

    Args:
        frames: Later fragments behind their first.
        errors: Whether an ICMP error is of the packet that it quotes.
    """
    parsed = [parse_frame(frame.data) for frame in frames]
    later: dict[Hashable, Flow] = {}
    for frame, packet in zip(frames, parsed, strict=True):
        if packet is not None and packet.fragments:
            header = _header(frame)
            if header is not None:
                later[_of(header)] = packet.flow
    found: list[Flow | None] = []
    for frame, packet in zip(frames, parsed, strict=True):
        if packet is not None:
            found.append(packet.flow)
            continue
        header = _header(frame)
        error = parse_error(frame.data) if errors else None
        if header is not None and header.offset:
            found.append(later.get(_of(header)))
        else:
            found.append(error.flow if error is not None else None)
    return found


def _of(header: headers.Header) -> Hashable:
    # Where conntrack cuts an IPv6 packet again its fragments get a new id, written into bytes that earlier taps share
    # with it: the flow label stays. Source: Linux net/ipv6/ip6_output.c ip6_fragment.
    shared = header.fragment if header.version == 4 else header.identity
    return header.source, header.destination, header.protocol, shared


def _header(frame: Frame) -> headers.Header | None:
    return headers.of_frame(tunnelled(frame.data) or frame.data)


def _key(frame: Frame, header: headers.Header) -> Hashable:
    return frame.netns, frame.interface, frame.outgoing, _of(header)
