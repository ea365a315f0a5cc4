"""What each namespace did to one packet: interfaces, rules, NAT and conntrack entry, joined (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from netpod.trace import virtual
from netpod.trace.model import (
    CtEntry,
    Direction,
    Evidence,
    Flow,
    Hop,
    NatRewrite,
    RuleHit,
    Sighting,
    Source,
    Walk,
)
from netpod.trace.packet import HeaderKey, header_key
from netpod.trace.virtual import Ipvs


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What was recorded beside the frames: rules met, by namespace and packet, and conntrack entries.

    Attributes:
        stopped: Rules that stopped a packet, with its addresses there: a packet changed on its way is no longer known
            by its headers.
        virtual: IPVS by namespace.
    """

    rules: Mapping[tuple[str, HeaderKey], tuple[RuleHit, ...]]
    entries: tuple[CtEntry, ...]
    stopped: tuple[tuple[Flow, RuleHit], ...] = ()
    virtual: Mapping[str, Ipvs] = field(default_factory=dict)

    def hops(self, walk: Walk) -> tuple[Hop, ...]:
        """Cut a packet's path into one hop per namespace, in order."""
        stages = groupby(walk.path(), key=lambda s: s.tap.netns)
        return tuple(self._hop(netns, list(sightings)) for netns, sightings in stages)

    def _hop(self, netns: str, sightings: Sequence[Sighting]) -> Hop:
        first, last = sightings[0], sightings[-1]
        before, after = first.packet.flow, last.packet.flow
        entries = [e for e in self.entries if e.netns == netns]
        entry = next((e for e in entries if (before, after) in _rewrites(e)), None)
        nat = None
        if before != after:
            nat = NatRewrite(
                netns=netns,
                before=before,
                after=after,
                conntrack=entry,
                evidence=_nat_evidence(first, last, entry),
            )
        if entry is None:
            # Dropped on the way, or half of an un-NAT: the entry it came in on still tells.
            entry = next((e for e in entries if before in (e.original, e.reply)), None)
        return Hop(
            netns=netns,
            inward=_interfaces(sightings, Direction.IN),
            outward=_interfaces(sightings, Direction.OUT),
            before=before,
            after=after,
            start_ns=first.time_ns,
            end_ns=last.time_ns,
            rules=virtual.with_choice(
                self.rules.get((netns, header_key(first.packet)), ()),
                self.virtual,
                netns,
                before,
                after,
                first.packet.protocol,
            ),
            nat=nat,
            conntrack=entry,
            tunnel=next((s.packet.tunnel for s in sightings if s.packet.tunnel), ""),
        )


def _rewrites(entry: CtEntry) -> tuple[tuple[Flow, Flow], tuple[Flow, Flow]]:
    """What an entry turns into what: the original direction, and the reply's."""
    return (
        (entry.original, entry.reply.reversed()),
        (entry.reply, entry.original.reversed()),
    )


def _nat_evidence(first: Sighting, last: Sighting, entry: CtEntry | None) -> tuple[Evidence, ...]:
    netns = first.tap.netns
    seen = [
        Evidence(source=Source.CAPTURE, netns=netns, time_ns=s.time_ns, reference=str(s.tap))
        for s in (first, last)
    ]
    if entry is not None:
        seen.append(
            Evidence(source=Source.CONNTRACK, netns=netns, reference=f"conntrack id {entry.id:#x}")
        )
    return tuple(seen)


def _interfaces(sightings: Sequence[Sighting], direction: Direction) -> tuple[str, ...]:
    names = [s.tap.interface for s in sightings if s.tap.direction is direction]
    return tuple(dict.fromkeys(names))
