"""The same request under several proxy modes, side by side."""

import textwrap
from collections.abc import Iterator, Mapping

from netpod.trace.encode import dump, to_dict
from netpod.trace.model import Hop, Step, Trace, Verdict

_NAMES, _GAP, _LEAST = 20, 2, 24


def to_json(traces: Mapping[str, Trace]) -> str:
    """Return {"kind": "Comparison", "modes": {MODE: trace}}."""
    modes = {mode: to_dict(trace) for mode, trace in traces.items()}
    return dump({"kind": "Comparison", "version": 1, "modes": modes})


def to_text(traces: Mapping[str, Trace], *, width: int = 100) -> str:
    """Return one column per mode: what each step did, by which rules, and how it ended.

    Args:
        traces: By mode.
        width: Columns of the terminal.
    """
    first = next(iter(traces.values()))
    column = max(_LEAST, (width - _NAMES) // len(traces) - _GAP)
    lines = [f"{first.what} under {len(traces)} proxy modes", ""]
    lines += _row("", list(traces), column)
    names = dict.fromkeys(step.name for trace in traces.values() for step in trace.steps)
    for name in names:
        cells = ["\n".join(_cell(_step(trace, name))) for trace in traces.values()]
        lines += ["", *_row(name, cells, column)]
    lines += ["", *_row("rules met", [str(_rules(t)) for t in traces.values()], column)]
    lines += _row("took", [f"{t.duration_ns / 1e6:.2f} ms" for t in traces.values()], column)
    lines += _row("verdict", [str(t.verdict) for t in traces.values()], column)
    same = len({t.verdict for t in traces.values()}) == 1
    lines += ["", "Every mode leads to the same verdict." if same else "The modes do not agree."]
    for mode, trace in traces.items():
        lines += textwrap.wrap(f"{mode}: {trace.sentence}", width, subsequent_indent="  ")
    return "\n".join(lines)


def _step(trace: Trace, name: str) -> Step | None:
    return next((step for step in trace.steps if step.name == name), None)


def _rules(trace: Trace) -> int:
    return sum(len(hop.rules) for hop in trace.hops)


def _cell(step: Step | None) -> Iterator[str]:
    if step is None:
        yield "-"
        return
    if step.name == "the way back" and step.hops:
        yield f"{len(step.hops)} hops, NAT undone in {sum(h.nat is not None for h in step.hops)}"
    else:
        changes = [line for hop in step.hops for line in _hop(hop)]
        yield from changes or (step.sentence,)
    if step.verdict is not Verdict.DELIVERED:
        yield f"{step.verdict}: {step.sentence}"


def _hop(hop: Hop) -> Iterator[str]:
    """What changed there and the chains that had a say; a hop that only passed the packet on is left out."""
    chains = [r.chain for r in hop.rules if r.table != "filter" and r.verdict != "return"]
    if hop.nat is None and not any(r.verdict == "drop" for r in hop.rules):
        return
    yield f"{hop.nat.kind if hop.nat else 'stopped'} → {hop.after.destination}"
    if hop.nat is not None and hop.before.source != hop.after.source:
        yield f"as {hop.after.source}"
    yield from (f"· {chain}" for chain in dict.fromkeys(chains))


def _row(name: str, cells: list[str], column: int) -> Iterator[str]:
    wrapped = [
        [
            piece
            for line in cell.split("\n")
            for piece in textwrap.wrap(line, column, break_on_hyphens=False, subsequent_indent="  ")
        ]
        for cell in cells
    ]
    for number in range(max(1, *map(len, wrapped))):
        texts = [w[number] if number < len(w) else "" for w in wrapped]
        head = name if number == 0 else ""
        yield (head.ljust(_NAMES) + (" " * _GAP).join(t.ljust(column) for t in texts)).rstrip()
