"""A trace as a mermaid sequence diagram: namespaces as participants, the opening packet and what carries data."""

from collections.abc import Iterator
from itertools import pairwise

from netpod.trace.model import Hop, Leg, Trace, Walk
from netpod.trace.packet import label


def to_mermaid(trace: Trace) -> str:
    """Return the diagram's text; namespaces without a part in it are left out."""
    lines = [line for leg in trace.legs for walk in _chosen(leg) for line in _walk(walk)]
    crossed = [s.tap.netns for leg in trace.legs for w in _chosen(leg) for s in w.path()]
    people = [f"  participant {_id(name)} as {name}" for name in dict.fromkeys(crossed)]
    rules = [line for step in trace.steps for hop in step.hops for line in _note(hop)]
    end = _text(f"{trace.verdict}: {trace.sentence}")
    over = _id(crossed[0]) if crossed else "client"
    if not crossed:
        people = ["  participant client"]
    return "\n".join(
        ["sequenceDiagram", *people, *lines, *dict.fromkeys(rules), f"  Note over {over}: {end}"]
    )


def _chosen(leg: Leg) -> list[Walk]:
    """The packet that opens the leg, its answer, and the first that carries data each way."""
    found = list(leg.opening[:1])
    back = [w for w in leg.walks if not leg.forward(w)]
    found += back[:1]
    for forward in (True, False):
        data = (w for w in leg.walks if leg.forward(w) is forward and w.packet.length)
        found += [w for w in [next(data, None)] if w is not None]
    unique = {id(w): w for w in found}.values()
    return sorted(unique, key=lambda w: w.sightings[0].time_ns)


def _walk(walk: Walk) -> Iterator[str]:
    path = walk.path()
    places = list(dict.fromkeys(s.tap.netns for s in path))
    for here, there in pairwise(places):
        flow = next(s.packet.flow for s in path if s.tap.netns == there)
        yield f"  {_id(here)}->>{_id(there)}: {_text(f'{label(walk.packet)} {flow}')}"
    if len(places) == 1:
        yield f"  Note over {_id(places[0])}: {_text(f'{label(walk.packet)} goes no further')}"


def _note(hop: Hop) -> Iterator[str]:
    if hop.nat is not None:
        yield f"  Note over {_id(hop.netns)}: {_text(f'{hop.nat.kind} to {hop.after}')}"


def _id(netns: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in netns)


def _text(words: str) -> str:
    """Semicolons and colons end a statement in mermaid; its entity codes do not."""
    return words.replace("#", "#35;").replace(";", "#59;").replace("\n", " ")
