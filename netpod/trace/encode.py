"""A trace as JSON: one object, versioned, times in integer nanoseconds since the start of the request.

Readers may rely on: fields are only ever added within one version. Addresses read "IP:PORT". Every fact carries its
evidence: who saw it, how sure it is, and what to look for to see it again.
"""

from collections.abc import Mapping

import orjson

from netpod.trace.model import (
    CtEntry,
    Evidence,
    Flow,
    Hop,
    Leg,
    NatRewrite,
    RuleHit,
    Sighting,
    Source,
    SourceReport,
    Step,
    Trace,
    Walk,
)
from netpod.trace.packet import flag_names, label
from netpod.trace.place import Place

VERSION = 1
Json = dict[str, object]


def to_json(trace: Trace) -> str:
    """Return the trace as one indented JSON document."""
    return dump(to_dict(trace))


def dump(value: Json, *, indented: bool = True) -> str:
    """Write plain values as JSON; the standard library takes a hundred times as long for what a trace has."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None).decode()


def to_dict(trace: Trace) -> Json:
    """Return the trace as plain values."""
    names = {netns: str(place) for netns, place in trace.places.items()}
    return {
        "kind": "Trace",
        "version": VERSION,
        "id": trace.id,
        "request": {"method": trace.method, "url": trace.url},
        "started_at_ns": trace.started_at_ns,
        "duration_ns": trace.duration_ns,
        "verdict": trace.verdict,
        "sentence": trace.sentence,
        "places": [_place(place) for place in trace.places.values()],
        "steps": [_step(step, names) for step in trace.steps],
        "answer": {
            "status": trace.answer.status,
            "reason": trace.answer.reason,
            "headers": [list(pair) for pair in trace.answer.headers],
            "body": trace.answer.body.decode(errors="replace"),
            "error": trace.answer.error,
            "evidence": [_evidence(Evidence(source=Source.CLIENT))],
        },
        "legs": _legs(trace),
        "conntrack": [_entry(entry) for entry in trace.conntrack],
        "sources": [_report(report) for report in trace.sources],
        "timing_ns": dict(trace.timing_ns),
    }


def _place(place: Place) -> Json:
    return {
        "netns": place.netns,
        "name": str(place),
        "role": place.role,
        "node": place.node,
        "pod": "" if place.pod is None else f"{place.pod.namespace}/{place.pod.name}",
    }


def _step(step: Step, names: Mapping[str, str]) -> Json:
    return {
        "number": step.number,
        "name": step.name,
        "verdict": step.verdict,
        "sentence": step.sentence,
        "time_ns": step.time_ns,
        "facts": dict(step.facts),
        "hops": [_hop(hop, names.get(hop.netns, hop.netns)) for hop in step.hops],
        "evidence": [_evidence(e) for e in step.evidence],
    }


def _hop(hop: Hop, place: str) -> Json:
    return {
        "netns": hop.netns,
        "place": place,
        "in": list(hop.inward),
        "out": list(hop.outward),
        "start_ns": hop.start_ns,
        "end_ns": hop.end_ns,
        "before": _flow(hop.before),
        "after": _flow(hop.after),
        "rules": [_rule(rule) for rule in hop.rules],
        "nat": None if hop.nat is None else _nat(hop.nat),
        "conntrack": None if hop.conntrack is None else _entry(hop.conntrack),
        "tunnel": hop.tunnel,
        "evidence": [
            _evidence(Evidence(source=Source.CAPTURE, netns=hop.netns, time_ns=hop.start_ns))
        ],
    }


def _rule(rule: RuleHit) -> Json:
    return {
        "family": rule.family,
        "table": rule.table,
        "chain": rule.chain,
        "handle": rule.handle,
        "verdict": rule.verdict,
        "target": rule.target,
        "text": rule.text,
        "meaning": rule.meaning,
        "evidence": [_evidence(e) for e in rule.evidence],
    }


def _nat(nat: NatRewrite) -> Json:
    return {
        "kind": nat.kind,
        "before": _flow(nat.before),
        "after": _flow(nat.after),
        "proven": nat.conntrack is not None,
        "evidence": [_evidence(e) for e in nat.evidence],
    }


def _entry(entry: CtEntry) -> Json:
    reference = f"conntrack id {entry.id:#x}"
    return {
        "netns": entry.netns,
        "id": entry.id,
        "original": _flow(entry.original),
        "reply": _flow(entry.reply),
        "status": entry.status,
        "events": list(entry.events),
        "evidence": [
            _evidence(Evidence(source=Source.CONNTRACK, netns=entry.netns, reference=reference))
        ],
    }


def _legs(trace: Trace) -> list[Json]:
    """Packets are numbered through all legs, from 1; pcapng files have the same numbers."""
    found, number = [], 1
    for leg in trace.legs:
        found.append(_leg(leg, number))
        number += len(leg.walks)
    return found


def _leg(leg: Leg, first: int) -> Json:
    return {
        "name": leg.name,
        "flows": [_flow(flow) for flow in leg.flows],
        "packets": [{"id": n} | _walk(walk) for n, walk in enumerate(leg.walks, first)],
        "evidence": [_evidence(e) for e in leg.evidence],
    }


def _walk(walk: Walk) -> Json:
    return {
        "protocol": walk.packet.protocol,
        "flags": flag_names(walk.packet.flags),
        "label": label(walk.packet),
        "payload_bytes": walk.packet.length,
        "sightings": [
            _sighting(sighting, parent)
            for sighting, parent in zip(walk.sightings, walk.parents, strict=True)
        ],
        "evidence": [_evidence(Evidence(source=Source.CAPTURE))],
    }


def _sighting(sighting: Sighting, parent: int | None) -> Json:
    return {
        "netns": sighting.tap.netns,
        "interface": sighting.tap.interface,
        "direction": sighting.tap.direction,
        "time_ns": sighting.time_ns,
        "flow": _flow(sighting.packet.flow),
        "fragments": sighting.packet.fragments,
        "parent": parent,
    }


def _report(report: SourceReport) -> Json:
    return {
        "source": report.source,
        "events": report.events,
        "lost": report.lost,
        "complete": report.complete,
        "note": report.note,
    }


def _flow(flow: Flow) -> Json:
    return {"source": str(flow.source), "destination": str(flow.destination)}


def _evidence(evidence: Evidence) -> Json:
    return {
        "source": evidence.source,
        "confidence": evidence.confidence,
        "netns": evidence.netns,
        "time_ns": evidence.time_ns,
        "reference": evidence.reference,
    }
