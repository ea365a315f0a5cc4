"""A trace as a table: one line per hop of the request and of its answer."""

from netpod.trace.model import Hop, Step, Trace

HEADINGS = ("STEP", "TIME", "WHERE", "IN", "OUT", "SOURCE", "DESTINATION", "NAT", "RULE")


def to_table(trace: Trace) -> str:
    """Return the hops in columns, then verdict and sentence."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for step in trace.steps:
        rows += [_row(step, hop) for hop in step.hops] or [_bare(step)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([*lines, "", f"{trace.verdict}: {trace.sentence}"])


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
