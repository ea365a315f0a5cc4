"""A trace as text: the steps as a tree, the verdict, one sentence, and the answer's body.

Plain text is complete; colour only repeats what the words say. A hop shows its addresses where they change and where
a step begins; between, the packet is the same.
"""

import re
import textwrap
from collections.abc import Iterator

from netpod.trace.encode import to_json
from netpod.trace.model import Flow, Hop, RuleHit, Source, Step, Trace, Verdict
from netpod.trace.packet import label
from netpod.trace.paint import Paint, printable

__all__ = ["to_json", "to_text"]

_WAY_BACK = "the way back"
_CHAIN = re.compile(r"^-A \S+ ")
_COMMENT = re.compile(r'-m comment --comment (?:"[^"]*"|\S+) ?| ?\bcomment "[^"]*"')
_BODY = 4000
"""Bytes of the answer's body that are shown."""
_LEAST = 40
"""Columns below which nothing is wrapped any more."""


def to_text(
    trace: Trace,
    *,
    colour: bool = False,
    verbose: bool = False,
    all_packets: bool = False,
    width: int = 0,
) -> str:
    """Return the trace for people.

    Args:
        trace: What to show.
        colour: Use terminal colours; never in a pipe.
        verbose: Show every rule of every hop, not only those that decided where the packet goes.
        all_packets: Show every packet's way, not only that of the first.
        width: Columns to fit into; 0 leaves lines as long as they are, as a pipe wants them.
    """
    return "\n".join(map(printable, _Tree(trace, Paint(colour), verbose, width).lines(all_packets)))


class _Tree:
    """One trace on its way to text."""

    def __init__(self, trace: Trace, paint: Paint, verbose: bool, width: int) -> None:
        self._trace, self._paint, self._verbose, self._width = trace, paint, verbose, width

    def lines(self, all_packets: bool) -> Iterator[str]:
        trace, paint = self._trace, self._paint
        yield from self._headed(trace.what, f"trace {trace.id}")
        for step in trace.steps:
            yield from self._step(step)
        if all_packets:
            yield from self._packets()
        yield ""
        word = "in" if trace.verdict is Verdict.DELIVERED else "after"
        yield from self._wrap(
            f"{trace.verdict} {word} {_ms(trace.duration_ns)}: {trace.sentence}",
            first=str(trace.verdict),
            painted=paint.verdict(trace.verdict),
        )
        for note in _losses(trace):
            yield from self._wrap(f"evidence: {note}")
        if trace.answer.body:
            yield ""
            body = trace.answer.body
            yield body[:_BODY].decode(errors="replace").rstrip("\n")
            if len(body) > _BODY:
                yield f"... and {len(body) - _BODY} bytes more; -o json has them"

    def _headed(self, what: str, note: str) -> Iterator[str]:
        """A heading, and a note beside it, or below where there is no room."""
        if self._width and len(what) + 3 + len(note) > self._width:
            yield from self._wrap(what, first=what, painted=self._paint.bold(what), hang="  ")
            yield f"  {self._paint.dim(note)}"
        else:
            yield f"{self._paint.bold(what)}   {self._paint.dim(note)}"

    def _step(self, step: Step) -> Iterator[str]:
        paint = self._paint
        when = "" if step.time_ns is None else f"  +{_ms(step.time_ns)}"
        mark = "" if step.verdict is Verdict.DELIVERED else f"  {paint.verdict(step.verdict)}"
        yield ""
        yield f"{paint.bold(f'{step.number} {step.name}')}{paint.dim(when)}{mark}"
        yield from self._wrap(step.sentence, "  ")
        details: list[list[str]] = []
        if step.hops:
            before: Flow | None = None
            for hop in step.hops:
                details.append(list(self._hop(hop, before, back=step.name == _WAY_BACK)))
                before = hop.after
        elif step.verdict is not Verdict.NOT_REACHED:
            details += [
                list(self._wrap(f"{name}: {value}", hang="  ", room=5))
                for name, value in step.facts.items()
            ]
            details += [
                [f"{e.confidence} by the ingress proxy's access line"]
                for e in step.evidence
                if e.source is Source.PROXY_LOG
            ]
        yield from self._branches(details)

    def _branches(self, branches: list[list[str]]) -> Iterator[str]:
        for index, (first, *rest) in enumerate(branches):
            last = index == len(branches) - 1
            yield self._paint.dim("  └─ " if last else "  ├─ ") + first
            for line in rest:
                yield self._paint.dim("     " if last else "  │  ") + line

    def _hop(self, hop: Hop, before: Flow | None, *, back: bool) -> Iterator[str]:
        paint = self._paint
        place = self._trace.places.get(hop.netns)
        name = hop.netns if place is None else str(place)
        when = f"+{_ms(hop.start_ns)}"
        words = f"{name}  {_ways(hop)}  {when}"
        for line in self._wrap(words, hang="    ", room=5, first=name, painted=paint.place(name)):
            yield line.replace(when, paint.dim(when))
        if hop.nat is not None:
            yield from self._pair(str(hop.before.source), str(hop.before.destination))
            yield from self._rewritten(hop, back=back)
        elif hop.before != before:
            yield from self._pair(str(hop.before.source), str(hop.before.destination))
        if hop.tunnel:
            yield paint.dim(f"  carried by {hop.tunnel}")
        if not back or self._verbose:
            yield from self._rules(hop)
        if hop.conntrack is not None and (self._verbose or (hop.nat is not None and not back)):
            entry = hop.conntrack
            words = f"conntrack {entry.id:#x}: original {entry.original}, reply {entry.reply}"
            yield from map(paint.dim, self._wrap(words, "  ", hang="  ", room=5))

    def _pair(self, source: str, destination: str, *, plain: int = 0) -> Iterator[str]:
        """Both addresses in one line, or in two where one is too short; `plain` is how long they are unpainted."""
        length = plain or len(source) + len(destination)
        if self._width and length + 5 > self._width - 5:
            yield f"  {source} →"
            yield f"    {destination}"
        else:
            yield f"  {source} → {destination}"

    def _rewritten(self, hop: Hop, *, back: bool) -> Iterator[str]:
        """The addresses after NAT, those that changed highlighted, under those before."""
        assert hop.nat is not None, "only a hop with NAT has a rewrite"
        pairs = zip(hop.before, hop.after, strict=True)
        width = max(len(str(hop.before.source)), len(str(hop.after.source)))
        source, destination = (
            self._paint.changed(str(new)) if old != new else str(new) for old, new in pairs
        )
        plain = width + len(str(hop.after.destination))
        source += " " * (width - len(str(hop.after.source)))
        entry = hop.nat.conntrack
        if entry is None:
            why = f"{hop.nat.kind}, no conntrack entry explains it"
        elif back:
            why = f"NAT undone by conntrack entry {entry.id:#x}"
        else:
            why = hop.nat.kind
        *above, line = self._pair(source, destination, plain=plain)
        yield from above
        mark = f"{self._paint.changed('◀')} {why}"
        if self._width and (above or plain + 5 + 5 + len(why) > self._width - 5):
            yield line
            yield from self._wrap(f"◀ {why}", "      ", hang="  ", room=5, first="      ◀",
                                  painted=f"      {self._paint.changed('◀')}")  # fmt: skip
        else:
            yield f"{line}   {mark}"

    def _rules(self, hop: Hop) -> Iterator[str]:
        """Rules that decide: chain and meaning, then the text; the others in one line."""
        passed: list[str] = []
        for rule in hop.rules:
            stopped = rule.verdict == "drop"
            if self._verbose or stopped or (hop.nat is not None and _decides(rule)):
                said = f"  {rule.meaning}" if rule.meaning else ""
                head = f"  {rule.table} {rule.chain}"
                yield from self._wrap(
                    f"{head}{said}", hang="    ", room=5, first=head,
                    painted=f"  {self._paint.dim(rule.table)} {self._paint.rule(rule.chain, rule.verdict)}",
                )  # fmt: skip
                words = rule.text or f"handle {rule.handle} (its text is not known)"
                if not self._verbose and not stopped and rule.meaning:
                    words = _brief(words)
                yield from map(self._paint.dim, self._wrap(words, "      ", hang="  ", room=5))
            else:
                passed.append(f"{rule.table} {rule.chain}")
        if passed:
            words = f"passed {', '.join(dict.fromkeys(passed))}"
            yield from map(self._paint.dim, self._wrap(words, "  ", hang="  ", room=5))

    def _packets(self) -> Iterator[str]:
        """One line per packet and namespace."""
        number, paint = 0, self._paint
        for leg in self._trace.legs:
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
                    place = self._trace.places.get(sighting.tap.netns, sighting.tap.netns)
                    words = f"{place}/{sighting.tap.interface} {sighting.tap.direction}{note}"
                    yield from map(paint.dim, self._wrap(words, "        ", hang="    "))

    def _wrap(
        self,
        text: str,
        indent: str = "",
        *,
        hang: str = "",
        room: int = 0,
        first: str = "",
        painted: str = "",
    ) -> Iterator[str]:
        """Break a line that is too long; `first`, at its beginning, is replaced by `painted` afterwards."""
        width = self._width - room
        lines = [indent + text]
        if self._width and width >= _LEAST and len(lines[0]) > width:
            lines = textwrap.wrap(
                text, width, initial_indent=indent, subsequent_indent=indent + hang,
                break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
            )  # fmt: skip
        for line in lines:
            if first and line.startswith(first):
                line, first = painted + line[len(first) :], ""
            yield line


def _ways(hop: Hop) -> str:
    """By which links it came and went, e.g. "eth0 → cni0, veth12"."""
    into, out = ", ".join(hop.inward), ", ".join(hop.outward)
    return (
        f"{into} → {out}" if into and out else f"in {into}" if into else f"out {out}" if out else ""
    )


def _decides(rule: RuleHit) -> bool:
    return rule.table != "filter" and rule.chain not in ("PREROUTING", "OUTPUT", "POSTROUTING")


def _brief(text: str) -> str:
    """A rule's text without its chain, which stands above it, and the comment, which its meaning has said."""
    return _CHAIN.sub("", _COMMENT.sub("", text)).strip()


def _losses(trace: Trace) -> Iterator[str]:
    for report in trace.sources:
        if report.lost:
            yield f"{report.source} lost {report.lost} of its events"
        if report.note:
            yield f"{report.source}: {report.note}"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f} ms"
