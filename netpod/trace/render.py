"""A trace as text: the eight steps as a tree, the verdict, one sentence, and the answer's body.

Plain text is complete; colour only repeats what the words say.
"""

from collections.abc import Iterable, Iterator

from netpod.trace.encode import to_json
from netpod.trace.model import Hop, RuleHit, Source, Step, Trace, Verdict
from netpod.trace.packet import label

__all__ = ["to_json", "to_text"]

_RESET = "\x1b[0m"
_BOLD, _DIM = "\x1b[1m", "\x1b[2m"
_COLOURS = {
    Verdict.DELIVERED: "\x1b[32m",
    Verdict.REFUSED: "\x1b[31m",
    Verdict.DROPPED: "\x1b[31m",
    Verdict.INCONCLUSIVE: "\x1b[33m",
    Verdict.NOT_REACHED: _DIM,
}
_WAY_BACK = "the way back"


def to_text(
    trace: Trace, *, colour: bool = False, verbose: bool = False, all_packets: bool = False
) -> str:
    """Return the trace for people.

    Args:
        trace: What to show.
        colour: Use terminal colours; never in a pipe.
        verbose: Show every rule of every hop, not only those that decided where the packet goes.
        all_packets: Show every packet's way, not only that of the first.
    """
    paint = _Paint(colour)
    lines = [f"{paint.bold(trace.what)}   {paint.dim(f'trace {trace.id}')}"]
    for step in trace.steps:
        lines += _step(step, paint, verbose=verbose)
    if all_packets:
        lines += _packets(trace, paint)
    lines.append("")
    lines.append(
        f"{paint.verdict(trace.verdict)} in {_ms(trace.duration_ns)}: {trace.sentence}"
        if trace.verdict is Verdict.DELIVERED
        else f"{paint.verdict(trace.verdict)} after {_ms(trace.duration_ns)}: {trace.sentence}"
    )
    lines += [f"evidence: {note}" for note in _losses(trace)]
    if trace.answer.body:
        lines += ["", trace.answer.body.decode(errors="replace").rstrip("\n")]
    return "\n".join(map(_printable, lines))


def _packets(trace: Trace, paint: "_Paint") -> Iterator[str]:
    """One line per packet and namespace."""
    number = 0
    for leg in trace.legs:
        yield ""
        yield paint.bold(f"packets of the {leg.name} connection")
        for walk in leg.walks:
            number += 1
            way = "→" if leg.forward(walk) else "←"
            yield f"  {number:>3} {way} +{_ms(walk.sightings[0].time_ns)}  {label(walk.packet)}"
            before = None
            for sighting in walk.path():
                flow = sighting.packet.flow
                note = "" if flow == before else f"  {flow}"
                if before not in (None, flow):
                    note += "  NAT by conntrack entry"
                before = flow
                yield paint.dim(f"        {sighting.tap}{note}")


class _Paint:
    """Terminal colours, or none."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def bold(self, text: str) -> str:
        return self._wrap(_BOLD, text)

    def dim(self, text: str) -> str:
        return self._wrap(_DIM, text)

    def verdict(self, verdict: Verdict) -> str:
        return self._wrap(_COLOURS[verdict], verdict)

    def _wrap(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour else str(text)


def _step(step: Step, paint: _Paint, *, verbose: bool) -> Iterator[str]:
    when = "" if step.time_ns is None else f"  +{_ms(step.time_ns)}"
    mark = "" if step.verdict is Verdict.DELIVERED else f"  {paint.verdict(step.verdict)}"
    yield ""
    yield f"{paint.bold(f'{step.number} {step.name}')}{paint.dim(when)}{mark}"
    yield f"  {step.sentence}"
    details: list[list[str]] = []
    if step.hops:
        back = step.name == _WAY_BACK
        details = [list(_hop(hop, step, paint, verbose=verbose, back=back)) for hop in step.hops]
    else:
        details += [[f"{name}: {value}"] for name, value in step.facts.items()]
        details += [
            [f"{e.confidence} by the ingress proxy's access line"]
            for e in step.evidence
            if e.source is Source.PROXY_LOG
        ]
    yield from _tree(details, paint)


def _tree(branches: list[list[str]], paint: _Paint) -> Iterator[str]:
    for index, (first, *rest) in enumerate(branches):
        last = index == len(branches) - 1
        yield paint.dim("  └─ " if last else "  ├─ ") + first
        for line in rest:
            yield paint.dim("     " if last else "  │  ") + line


def _hop(hop: Hop, step: Step, paint: _Paint, *, verbose: bool, back: bool) -> Iterator[str]:
    ways = [f"in {name}" for name in hop.inward] + [f"out {name}" for name in hop.outward]
    since = hop.start_ns - (step.time_ns or 0)
    yield f"{hop.netns}  {', '.join(ways)}  {paint.dim(f'+{since / 1000:.0f} µs')}"
    if hop.nat is None:
        yield f"  {hop.before}"
    else:
        yield f"  before  {hop.before}"
        yield f"  after   {hop.after}   {_rewrite(hop, back=back)}"
    if not back or verbose:
        yield from _rules(hop.rules, paint, verbose=verbose)
    if hop.conntrack is not None:
        entry = hop.conntrack
        yield f"  conntrack {entry.id:#x}  original {entry.original}  reply {entry.reply}"


def _rewrite(hop: Hop, *, back: bool) -> str:
    assert hop.nat is not None, "only a hop with NAT has a rewrite"
    if hop.nat.conntrack is None:
        return f"{hop.nat.kind}, no conntrack entry explains it"
    return "NAT undone by conntrack" if back else hop.nat.kind


def _rules(rules: Iterable[RuleHit], paint: _Paint, *, verbose: bool) -> Iterator[str]:
    """Rules of nat in full, one per line; those of other tables in one line unless they stopped the packet."""
    passed: list[str] = []
    for rule in rules:
        if verbose or rule.verdict == "drop" or _decides(rule):
            words = rule.text or f"handle {rule.handle} (its text is not known)"
            prefix = "" if words.startswith("-A ") else f"{rule.chain}: "
            yield f"  {rule.table:<6} {prefix}{words}"
            if rule.meaning:
                yield paint.dim(f"         = {rule.meaning}")
        else:
            passed.append(f"{rule.table} {rule.chain} {rule.verdict}")
    if passed:
        yield paint.dim(f"  passed {', '.join(dict.fromkeys(passed))}")


def _decides(rule: RuleHit) -> bool:
    return rule.table != "filter" and rule.chain not in ("OUTPUT", "POSTROUTING")


def _losses(trace: Trace) -> Iterator[str]:
    for report in trace.sources:
        if report.lost:
            yield f"{report.source} lost {report.lost} of its events"
        if report.note:
            yield f"{report.source}: {report.note}"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f} ms"


def _printable(line: str) -> str:
    """Keep what a server answered from steering the terminal: our own colour codes are the only escapes."""
    if "\x1b" not in line and line.isprintable():
        return line
    kept = line
    for code in {_RESET, _BOLD, _DIM, *_COLOURS.values()}:
        kept = kept.replace(code, "")
    if kept.replace("\n", "").replace("\t", "").isprintable():
        return line
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in kept)
