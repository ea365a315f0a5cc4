"""From a record to a trace: join, verify, judge. Touches no kernel."""

import time
from collections.abc import Mapping
from dataclasses import replace

from netpod.ip import Address as IPAddress
from netpod.trace import correlate, path
from netpod.trace.clues import Clues, Examine, IcmpError, Silence
from netpod.trace.diagnose import Doctor
from netpod.trace.findings import Findings
from netpod.trace.hop import Witness
from netpod.trace.model import (
    CtEntry,
    Evidence,
    Flow,
    Leg,
    Role,
    RuleHit,
    Source,
    SourceReport,
    Trace,
)
from netpod.trace.packet import ARP_REPLY, HeaderKey, parse_error, parse_neighbour
from netpod.trace.record import Record
from netpod.trace.request import TraceRequest
from netpod.trace.rules import EMPTY, RuleBook, legacy_verdict, meaning
from netpod.trace.sources import legacyarm, nflog
from netpod.trace.sources.frames import Frame
from netpod.trace.sources.nftrace import RuleEvent
from netpod.trace.topology import Topology, World


def evaluate(
    request: TraceRequest,
    world: World,
    record: Record,
    books: Mapping[str, RuleBook],
    topology: Topology,
    examine: Examine,
) -> Trace:
    """Join what was heard into legs and steps, and judge them.

    Args:
        request: What was sent.
        world: Where it could go.
        record: What was heard.
        books: Rules of the namespaces that had any, by name.
        topology: Links and addresses of the namespaces crossed.
        examine: Looks at what the kernel says now, should the request have failed.
    """
    clock = time.monotonic_ns()
    walks = correlate.build_walks(record.frames, topology, record.started_at_ns)
    if world.place(request.netns).role in (Role.NODE, Role.EDGE):
        walks = correlate.attach_socket(
            walks, record.flow, request.netns, record.entries, record.events
        )
    legs = correlate.build_legs(walks)
    access = record.lines[-1] if record.lines else None
    client = correlate.find_client_leg(legs, record.flow)
    upstream = correlate.find_upstream_leg(
        legs, client, trace_id=request.id, access=access, reserved=request.reserved
    )
    record.events[:] = [_judged(event, books) for event in record.events]
    mine = tuple(leg for leg in (client, upstream) if leg is not None)
    entries = entries_of(record.entries, mine)
    witness = Witness(
        rules=_hits(record.events, books),
        entries=entries,
        stopped=tuple(
            (e.flow, _hit(e, books))
            for e in record.events
            if e.verdict == "drop" and e.flow is not None
        ),
        virtual=record.virtual,
    )
    clues = Clues(
        icmp=_errors(record),
        drops=tuple(replace(d, time_ns=d.time_ns - record.started_at_ns) for d in record.drops),
        counters=record.counters,
        silent=_silences(record),
        frames_lost=record.frames_lost,
        inspect=examine.inspect,
        addresses=topology.addresses,
    )
    found = Findings(
        request=request,
        world=world,
        witness=witness,
        doctor=Doctor(
            world=world, witness=witness, clues=clues, name_function=examine.name_function
        ),
        client=client,
        upstream=upstream,
        access=access,
        answer=record.answer,
    )
    steps = path.walk_steps(found)
    verdict, sentence = path.judge(found, steps)
    reports = _reports(record, books, world)
    lost = [f"{r.source} lost {r.lost}" for r in reports if r.lost]
    return Trace(
        id=request.id,
        method=request.method,
        url=request.url,
        what=request.what,
        started_at_ns=record.started_at_ns,
        duration_ns=record.ended_at_ns - record.started_at_ns,
        steps=steps,
        legs=mine,
        conntrack=entries,
        sources=reports,
        verdict=verdict,
        sentence=sentence + (f" ({', '.join(lost)})" if lost else ""),
        answer=record.answer,
        places={
            name: world.place(name)
            for name in sorted({s.tap.netns for g in mine for w in g.walks for s in w.sightings})
        },
        timing_ns=record.timing | {"correlate": time.monotonic_ns() - clock},
    )


def _errors(record: Record) -> tuple[IcmpError, ...]:
    """ICMP errors, each once, with the namespace in which it was first seen."""
    first: dict[tuple[object, ...], IcmpError] = {}
    found: dict[IcmpError, None] = {}
    for frame in sorted(record.frames, key=lambda f: (f.time_ns, f.sequence)):
        error = parse_error(frame.data)
        if error is None:
            continue
        # NAT also rewrites what is quoted: any form of it may be the one that is known.
        time_ns = frame.time_ns - record.started_at_ns
        began = first.setdefault(
            (error.type, error.code, error.ip_id),
            replace(error, netns=frame.netns, time_ns=time_ns),
        )
        found[replace(began, flow=error.flow)] = None
    return tuple(found)


def _silences(record: Record) -> tuple[Silence, ...]:
    """Addresses that somebody asked for by ARP or neighbour discovery and nobody had."""
    asked: dict[IPAddress, list[Frame]] = {}
    answered: set[IPAddress] = set()
    for frame in sorted(record.frames, key=lambda f: (f.time_ns, f.sequence)):
        found = parse_neighbour(frame.data)
        if found is None:
            continue
        operation, sender, wanted = found
        if operation == ARP_REPLY:
            answered.add(sender)
        elif sender != wanted:
            asked.setdefault(wanted, []).append(frame)
    return tuple(
        Silence(
            address=address,
            asked=sum(
                (f.netns, f.interface) == (frames[0].netns, frames[0].interface) for f in frames
            ),
            netns=frames[0].netns,
            interface=frames[0].interface,
            time_ns=frames[0].time_ns - record.started_at_ns,
        )
        for address, frames in asked.items()
        if address not in answered
    )


def entries_of(entries: list[CtEntry], legs: tuple[Leg, ...]) -> tuple[CtEntry, ...]:
    """Keep the entries of the request's own flows, one per connection and namespace."""
    flows = {s.packet.flow for leg in legs for w in leg.walks for s in w.sightings}
    kept: dict[tuple[str, int, Flow], CtEntry] = {}
    for entry in entries:
        if entry.original in flows:
            key = entry.netns, entry.id, entry.reply
            known = kept.get(key)
            events = (known.events if known is not None else ()) + entry.events
            kept[key] = replace(entry, events=events)
    return tuple(kept.values())


def _hits(
    events: list[RuleEvent], books: Mapping[str, RuleBook]
) -> dict[tuple[str, HeaderKey], tuple[RuleHit, ...]]:
    """Turn trace events into rules, by namespace and packet; falling off a chain's end is no rule."""
    hits: dict[tuple[str, HeaderKey], list[RuleHit]] = {}
    for event in events:
        if event.packet is None or (not event.handle and event.verdict != "drop"):
            continue
        if _arming(event, books):
            continue
        hits.setdefault((event.netns, event.packet), []).append(_hit(event, books))
    return {key: tuple(rules) for key, rules in hits.items()}


def _arming(event: RuleEvent, books: Mapping[str, RuleBook]) -> bool:
    """Whether it is one of the rules that armed the trace: those of legacy iptables are gone when rules are read."""
    if event.family not in nflog.FAMILIES.values() or event.table != legacyarm.TABLE:
        return False
    return not books.get(event.netns, EMPTY).text(
        event.family, event.table, event.chain, event.handle
    )


def _judged(event: RuleEvent, books: Mapping[str, RuleBook]) -> RuleEvent:
    """Give an event of iptables-legacy its verdict: from the rule, where else."""
    if event.family not in nflog.FAMILIES.values() or event.verdict:
        return event
    book = books.get(event.netns, EMPTY)
    text = book.text(event.family, event.table, event.chain, event.handle)
    verdict, target = legacy_verdict(text) if text else ("accept", "")
    return replace(event, verdict=verdict, target=target)


def _hit(event: RuleEvent, books: Mapping[str, RuleBook]) -> RuleHit:
    book = books.get(event.netns, EMPTY)
    place = (event.family, event.table, event.chain)
    text = book.text(*place, event.handle)
    reference = f"{event.family} {event.table} {event.chain}"
    reference += f" handle {event.handle}" if event.handle else " policy"
    heard = Source.NFLOG if event.family in nflog.FAMILIES.values() else Source.NFTRACE
    evidence = [Evidence(source=heard, netns=event.netns, reference=reference)]
    if text:
        evidence.append(Evidence(source=Source.RULES, netns=event.netns, reference=text))
    return RuleHit(
        netns=event.netns,
        family=event.family,
        table=event.table,
        chain=event.chain,
        handle=event.handle,
        verdict=event.verdict,
        target=event.target,
        text=text,
        meaning=meaning(book.chain(*place), event.chain, event.target, text),
        evidence=tuple(evidence),
    )


def _reports(
    record: Record, books: Mapping[str, RuleBook], world: World
) -> tuple[SourceReport, ...]:
    """Say of every source what it saw and whether something missing may be its fault."""

    def report(
        source: Source, events: int, lost: int = 0, *, complete: bool = True, note: str = ""
    ) -> SourceReport:
        return SourceReport(
            source=source, events=events, lost=lost, complete=complete and not lost, note=note
        )

    unread = sorted(name for name, book in books.items() if not book.complete)
    no_log = "" if record.has_log else "the ingress has no readable access log"
    no_line = "" if record.lines or no_log else "no access line names this request"
    return (
        report(
            Source.CAPTURE,
            record.captured or len(record.frames),
            record.frames_lost,
            note=world.note,
        ),
        report(Source.NFTRACE, len(record.events), record.events_lost),
        report(Source.CONNTRACK, len(record.entries), record.entries_lost),
        report(
            Source.KFREE_SKB,
            len(record.drops),
            complete=not record.drop_note,
            note=record.drop_note,
        ),
        report(Source.COUNTERS, len(record.counters)),
        *(
            [report(Source.IPVS, sum(len(it.connections) for it in record.virtual.values()))]
            if record.virtual
            else []
        ),
        *(
            [
                report(
                    Source.PROXY_LOG,
                    len(record.lines),
                    complete=bool(record.lines),
                    note=no_log or no_line,
                )
            ]
            if record.wants_log
            else []
        ),
        report(
            Source.RULES,
            sum(len(chain) for book in books.values() for chain in book.texts.values()),
            complete=not unread,
            note=f"not all rules of {', '.join(unread)} could be read" if unread else "",
        ),
    )
