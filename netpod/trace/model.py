"""What a trace is made of: values only, no I/O.

Times are integer nanoseconds. On a `Trace` and all it holds they count from the start of the request;
a `None` time means that the source carries no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from netpod.ip import Address as IPAddress
from netpod.ip import host_port
from netpod.trace.answer import Answer as Answer
from netpod.trace.place import Place
from netpod.trace.place import Role as Role


class Confidence(StrEnum):
    """How a fact is known. Proven: a kernel source saw it. Declared: the program that did it said so.
    Inferred: the only reading that fits what was seen."""

    PROVEN = "proven"
    DECLARED = "declared"
    INFERRED = "inferred"


class Source(StrEnum):
    """Who saw a fact."""

    CLIENT = "client"
    CAPTURE = "capture"
    NFTRACE = "nftrace"
    RULES = "rules"
    CONNTRACK = "conntrack"
    PROXY_LOG = "proxy-log"
    OBJECTS = "objects"
    ICMP = "icmp"
    KFREE_SKB = "kfree-skb"
    COUNTERS = "counters"
    STATE = "state"
    NFLOG = "nflog"
    IPVS = "ipvs"


class Verdict(StrEnum):
    """How a request, or one step of it, ended."""

    DELIVERED = "DELIVERED"
    REFUSED = "REFUSED"
    DROPPED = "DROPPED"
    NOT_REACHED = "NOT REACHED"
    INCONCLUSIVE = "INCONCLUSIVE"


class Direction(StrEnum):
    """Which way a frame crossed an interface, seen from the namespace that owns it."""

    IN = "in"
    OUT = "out"


class Address(NamedTuple):
    """An IP address and a port, or the id of an ICMP echo."""

    ip: IPAddress
    port: int

    def __str__(self) -> str:
        return host_port(self.ip, self.port)


class Flow(NamedTuple):
    """One direction of a connection."""

    source: Address
    destination: Address

    def reversed(self) -> "Flow":
        """Return the other direction."""
        return Flow(self.destination, self.source)

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where one fact comes from.

    Attributes:
        source: Who saw it.
        confidence: How sure it is.
        netns: Namespace it was seen in, or "".
        time_ns: When, since the start of the request, or None when the source has no clock.
        reference: What to look for to see it again: an interface, a rule handle, a conntrack id, a log line.
    """

    source: Source
    confidence: Confidence = Confidence.PROVEN
    netns: str = ""
    time_ns: int | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One TCP segment, UDP datagram or ICMP echo, by what neither NAT nor a router changes.

    Attributes:
        fingerprint: Equal for all sightings of one packet: protocol, IPv4 id or IPv6 flow label, sequence,
            acknowledgement, flags, window, payload length and checksum.
        flow: Addresses as at this sighting; the id of an ICMP echo stands for both ports.
        protocol: IP protocol number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6.
        flags: TCP flag bits, RFC 9293 section 3.1 (FIN 1, SYN 2, RST 4, PSH 8, ACK 16); 0 for others.
        length: Payload bytes in the packet.
        payload: The first of them, as captured.
        ip_id: Its identity, as `headers.Header`.
        tunnel: What carries it at this sighting, e.g. "VXLAN 1: 172.18.0.3 → 172.18.0.4", or "".
        fragments: In how many it was seen at this sighting; 0 when it was not fragmented.
        whole: Whether all of them were.
    """

    fingerprint: tuple[int, ...]
    flow: Flow
    flags: int
    length: int
    payload: bytes = b""
    protocol: int = 6
    ip_id: int = 0
    tunnel: str = ""
    fragments: int = 0
    whole: bool = True

    @property
    def syn(self) -> bool:
        """Whether it opens a TCP connection."""
        return self.protocol == 6 and self.flags & 0x12 == 0x02

    @property
    def echo_reply(self) -> bool:
        """Whether it answers an ICMP echo."""
        return (self.protocol, self.fingerprint[3]) in ((1, 0), (58, 129))

    @property
    def reset(self) -> bool:
        """Whether it refuses or breaks a connection."""
        return bool(self.flags & 0x04)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """One interface of one namespace, seen one way."""

    netns: str
    interface: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.netns}/{self.interface} {self.direction}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One packet at one tap. `for_us` is false for a frame that passes an interface addressed to another."""

    tap: Tap
    time_ns: int
    packet: Packet
    for_us: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """All sightings of one packet, as a tree: a bridge that floods sends one packet many ways.

    Attributes:
        sightings: In order of time.
        parents: For each sighting the index of the one it came from; None for the first.
    """

    sightings: tuple[Sighting, ...]
    parents: tuple[int | None, ...]

    @property
    def packet(self) -> Packet:
        """The packet as first seen."""
        return self.sightings[0].packet

    def path(self) -> tuple[Sighting, ...]:
        """Return the branch that got furthest; frames that reach a link but are meant for another do not count."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent is None else depths[parent] + 1)
        meant = [
            i for i, s in enumerate(self.sightings) if s.for_us or s.tap.direction is Direction.OUT
        ]
        index: int | None = max(meant or range(len(depths)), key=lambda i: (depths[i], i))
        branch = []
        while index is not None:
            branch.append(self.sightings[index])
            index = self.parents[index]
        return tuple(reversed(branch))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleHit:
    """One rule that a packet met and that did something.

    Attributes:
        family: nf_tables family, e.g. "ip".
        handle: The rule's handle, or 0 for a chain's policy.
        verdict: accept, drop, jump, goto, return, continue.
        target: Chain that jump and goto lead to, or "".
        text: The rule as `iptables-save` (or nft for native tables) prints it, or "" when it could not be read.
        meaning: The rule in Kubernetes' words, or "".
    """

    netns: str
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    text: str
    meaning: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CtEntry:
    """One conntrack entry: `original` as the first packet came, `reply` as its answer comes back."""

    netns: str
    id: int
    original: Flow
    reply: Flow
    status: int = 0
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NatRewrite:
    """Addresses changed inside one namespace; `conntrack` proves it, None when no entry explains it."""

    netns: str
    before: Flow
    after: Flow
    conntrack: CtEntry | None
    evidence: tuple[Evidence, ...]

    @property
    def kind(self) -> str:
        """Which side changed: DNAT, SNAT, or both."""
        before, after = self.before, self.after
        echo = all(flow.source.port == flow.destination.port for flow in (before, after))
        if echo and before.destination.ip == after.destination.ip:
            return "SNAT"  # the id of an echo, which NAT chooses as it does a port, stands for both
        changed = zip(("SNAT", "DNAT"), before, after, strict=True)
        return " + ".join(sorted(name for name, old, new in changed if old != new))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One connection, whatever its addresses were on the way.

    Attributes:
        name: "client" (from the client) or "upstream" (ingress to container).
        flows: Every address pair it was seen with, from the opener's side.
        walks: Its packets, in order of time.
        evidence: Why it belongs to this request.
    """

    name: str
    flows: tuple[Flow, ...]
    walks: tuple[Walk, ...]
    evidence: tuple[Evidence, ...]

    @property
    def opening(self) -> tuple[Walk, ...]:
        """The packets that NAT is decided on: SYNs, or all that the opener sent where there are none.

        A TCP connection that was open before anybody listened has no SYN: then what the opener said on it.
        """
        mine = tuple(w for w in self.walks if self.forward(w))
        if self.walks and self.walks[0].packet.protocol == 6:
            syns = tuple(w for w in mine if w.packet.syn)
            return syns or tuple(w for w in mine if w.packet.length)
        return mine

    @property
    def opener(self) -> Walk | None:
        """The packet that opened it: of several tries the first that was accepted, else the first that got furthest."""
        accepted = {
            w.packet.flow.reversed()
            for w in self.walks
            if w.packet.flags & 0x12 == 0x12 and not self.forward(w)
        }
        tries = self.opening
        there = [w for w in tries if w.path()[-1].packet.flow in accepted]
        return max(there or tries, key=lambda w: len(w.path()), default=None)

    def carrier(self, identity: str) -> Walk | None:
        """The packet that carries a trace id from the opener; an answer may quote it and proves nothing."""
        needle = identity.encode()
        for walk in self.walks:
            if walk.packet.flow.source == self.flows[0].source and needle in walk.packet.payload:
                return walk
        return None

    def forward(self, walk: Walk) -> bool:
        """Whether a packet went from the opener to the other end."""
        # An echo and its reply look alike where somebody asks itself.
        return walk.packet.flow in self.flows and not walk.packet.echo_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What one namespace did to one packet."""

    netns: str
    inward: tuple[str, ...]
    outward: tuple[str, ...]
    before: Flow
    after: Flow
    start_ns: int
    end_ns: int
    rules: tuple[RuleHit, ...] = ()
    nat: NatRewrite | None = None
    conntrack: CtEntry | None = None
    tunnel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One of the eight steps of the mission; `sentence` says in words what `hops` and `access` show."""

    number: int
    name: str
    verdict: Verdict
    sentence: str
    time_ns: int | None = None
    hops: tuple[Hop, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What one source saw and what it lost; `complete` is false when a missing fact may be its fault."""

    source: Source
    events: int
    lost: int
    complete: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One request, followed.

    Attributes:
        what: The request in words, e.g. "GET http://example.com/".
        started_at_ns: Start of the request, nanoseconds since the Unix epoch.
        duration_ns: From start to the answer's last byte or the error.
        timing_ns: What tracing itself took, by act: arm, request, drain, disarm, rules, correlate.
        places: What each namespace crossed is.
    """

    id: str
    method: str
    url: str
    what: str = ""
    started_at_ns: int
    duration_ns: int
    steps: tuple[Step, ...]
    legs: tuple[Leg, ...]
    conntrack: tuple[CtEntry, ...]
    sources: tuple[SourceReport, ...]
    verdict: Verdict
    sentence: str
    answer: Answer
    timing_ns: Mapping[str, int]
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def hops(self) -> tuple[Hop, ...]:
        """All hops of all steps, in order."""
        return tuple(hop for step in self.steps for hop in step.hops)

    def hop(self, *, chain: str = "*", netns: str = "*") -> Hop | None:
        """Return the first hop in a namespace where a rule of a chain was met, or None; both may have wildcards."""
        for hop in self.hops:
            met = chain == "*" or any(fnmatchcase(rule.chain, chain) for rule in hop.rules)
            if met and fnmatchcase(hop.netns, netns):
                return hop
        return None
