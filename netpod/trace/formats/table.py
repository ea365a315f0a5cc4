"""A trace as a table: one line per hop of the request and of its answer."""

import textwrap

from netpod.trace.formats.columns import columns
from netpod.trace.model import Hop, Step, Trace

HEADINGS = ("STEP", "TIME", "WHERE", "IN", "OUT", "SOURCE", "DESTINATION", "NAT", "RULE")

WHERE = HEADINGS.index("WHERE")


def to_table(trace: Trace, width: int = 0) -> str:
    """Return the hops in columns, then verdict and sentence; `width` 0 is as wide as it gets."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for step in trace.steps:
        rows += [_row(step, hop) for hop in step.hops] or [_bare(step)]
    said = f"{trace.verdict}: {trace.sentence}"
    end = textwrap.wrap(said, width, break_on_hyphens=False) if width else [said]
    return "\n".join([columns(rows, width, soft=(WHERE,)), "", *end])


def _row(step: Step, hop: Hop) -> tuple[str, ...]:
    decided = [r for r in hop.rules if r.verdict == "drop"]
    decided += [r for r in hop.rules if "DNAT" in r.text or "dnat to" in r.text]
    return (
        f"{step.number} {step.name}",
        f"{hop.start_ns / 1e6:.3f}ms",
        hop.netns,
        ",".join(hop.inward) or "-",
        ",".join(hop.outward) or "-",
        str(hop.after.source),
        str(hop.after.destination),
        hop.nat.kind if hop.nat is not None else "-",
        decided[0].chain if decided else "-",
    )


def _bare(step: Step) -> tuple[str, ...]:
    when = "-" if step.time_ns is None else f"{step.time_ns / 1e6:.3f}ms"
    return (f"{step.number} {step.name}", when, str(step.verdict), *("-" * 6))
