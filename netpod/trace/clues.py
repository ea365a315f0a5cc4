"""What tells why a packet got no further, beside rules: ICMP errors, the kernel's drop reasons, counters (values)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netpod.ip import Address as IPAddress
from netpod.trace.model import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """An ICMP error message, and what it quotes of the packet it is about.

    Attributes:
        type: 3 unreachable, 5 redirect, 11 time exceeded, 12 parameter problem; from an IPv6 sender 1 unreachable,
            2 packet too big, 3 time exceeded, 4 parameter problem. Source: RFC 792; RFC 4443.
        mtu: Of the next link when the packet was too big for it, else 0.
        ip_id: Identity of the quoted packet, as `headers.Header`.
        netns: Namespace that sent it, as the first one it was seen leaving, or "".
    """

    type: int
    code: int
    mtu: int
    sender: IPAddress
    protocol: int
    flow: Flow
    ip_id: int
    netns: str = ""
    time_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One packet buffer that the kernel freed unsent, from its tracepoint skb:kfree_skb.

    Attributes:
        reason: The kernel's word without its prefix, e.g. "NO_SOCKET"; "NOT_SPECIFIED" says nothing.
        function: Kernel function that gave it up, e.g. "tcp_v4_rcv+0x7d2", or "".
        packet: Header key, as `packet.header_of`, or None when there was no header.
    """

    netns: str
    time_ns: int
    reason: str
    function: str
    location: int
    packet: tuple[int, ...] | None
    flow: Flow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """An address that was asked for by ARP or neighbour discovery and did not answer.

    How often, and where the question was first seen.
    """

    address: IPAddress
    asked: int
    netns: str
    interface: str
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """By how much a counter of /proc/net rose while the request ran; not only this request moves it."""

    netns: str
    name: str
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something observed about a namespace after a failure: `cause` is the word for it, `words` the sentence."""

    cause: str
    words: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Where a packet ended: the namespace, the way it came in and the address pair it had there."""

    netns: str
    inward: str
    outward: str
    flow: Flow
    protocol: int
    source_netns: str = ""


Inspect = Callable[[Stuck], tuple[Finding, ...]]
"""Looks at links, routes, neighbours and settings where a packet ended."""


def no_inspection(stuck: Stuck) -> tuple[Finding, ...]:
    """Look at nothing: for traces that are read, not made."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """All of them, for one request. `addresses` are the addresses of each namespace."""

    icmp: tuple[IcmpError, ...] = ()
    drops: tuple[Drop, ...] = ()
    counters: tuple[Counter, ...] = ()
    silent: tuple[Silence, ...] = ()
    frames_lost: int = 0
    inspect: Inspect = no_inspection
    addresses: Mapping[str, frozenset[IPAddress]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examine:
    """What may be asked of the kernel after a failure; by default nothing."""

    inspect: Inspect = no_inspection
    name_function: Callable[[int], str] = lambda location: ""
