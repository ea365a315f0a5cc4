"""Of all frames heard, those that a request's own connections may have a part in (pure).

Sockets hear everybody who uses the same ports: tens of thousands of frames a second where clients are busy. Reading a
frame whole costs twenty microseconds; here each is looked at by a few slices of its bytes, and what has nothing to do
with the request, neither by its addresses nor by sharing a packet with something that has, is left out.
"""

from collections.abc import Iterable, Sequence

from netpod.trace.headers import ETHERNET, IPPROTO_TCP, IPPROTO_UDP
from netpod.trace.model import Address, Flow
from netpod.trace.packet import tunnelled
from netpod.trace.sources.frames import Frame

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
Pair = tuple[bytes, bytes]
"""Both ends of a connection, the smaller first; an end is its address and port as on the wire."""


def sift(
    frames: Sequence[Frame],
    *,
    flows: Iterable[Flow],
    ends: Iterable[Address] = (),
    ports: tuple[int, int],
    needle: bytes,
) -> list[Frame]:
    """Return the frames that matter, in their order.

    Args:
        frames: All.
        flows: Address pairs known to be the request's.
        ends: Addresses of which every connection is kept.
        ports: First and last of the ports that only traced connections have.
        needle: Bytes that only the request's payload has.

    Returns:
        Frames of those connections, under all their addresses, and all that are neither TCP nor UDP.
    """
    names: dict[bytes, set[Pair]] = {}
    pairs: dict[Pair, set[bytes]] = {}
    looks = [_look(frame.data) for frame in frames]
    wanted = {_pair(_end(flow.source), _end(flow.destination)) for flow in flows}
    whole = {_end(end) for end in ends}
    low, high = ports[0].to_bytes(2, "big"), ports[1].to_bytes(2, "big")
    for frame, look in zip(frames, looks, strict=True):
        if look is None:
            continue
        name, pair = look
        if pair not in pairs:
            if low <= pair[0][-2:] <= high or low <= pair[1][-2:] <= high:
                wanted.add(pair)
            elif whole and not whole.isdisjoint(pair):
                wanted.add(pair)
            pairs[pair] = {name}
        else:
            pairs[pair].add(name)
        names.setdefault(name, set()).add(pair)
        if needle in frame.data:
            wanted.add(pair)
    todo = list(wanted)
    while todo:
        for name in pairs.get(todo.pop(), ()):
            fresh = names[name] - wanted
            wanted |= fresh
            todo += fresh
    return [f for f, look in zip(frames, looks, strict=True) if look is None or look[1] in wanted]


def _look(data: bytes) -> tuple[bytes, Pair] | None:
    """What neither NAT nor a router changes, and the address pair; None for all but whole TCP and UDP packets."""
    kind = data[12:14]
    if kind == _IPV4:
        protocol, at = data[23], ETHERNET + (data[14] & 15) * 4
        if data[20] & 0x3F or data[21]:
            return None  # a fragment
        source, destination, mark = data[26:30], data[30:34], data[18:20]
    elif kind == _IPV6:
        protocol, at = data[20], ETHERNET + 40
        source, destination = data[22:38], data[38:54]
        mark = bytes((data[15] & 15,)) + data[16:18]  # the flow label
    else:
        return None
    if protocol == IPPROTO_TCP:
        mark += data[at + 4 : at + 14]
    elif protocol == IPPROTO_UDP:
        if (inner := tunnelled(data)) is not None:
            return _look(inner)
        mark += data[at + 4 : at + 6] + data[at + 8 : at + 20]
    else:
        return None
    pair = _pair(source + data[at : at + 2], destination + data[at + 2 : at + 4])
    return bytes((protocol,)) + mark, pair


def _pair(a: bytes, b: bytes) -> Pair:
    return (a, b) if a < b else (b, a)


def _end(address: Address) -> bytes:
    return address.ip.packed + address.port.to_bytes(2, "big")
