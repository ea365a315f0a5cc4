"""The same request many times: who answered how often, how long it took, how the others ended (pure)."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from netpod.trace.encode import Json, dump, to_dict
from netpod.trace.formats.columns import columns
from netpod.trace.model import Step, Trace, Verdict

VERSION = 1


def to_json(traces: Sequence[Trace]) -> str:
    """Return {"kind": "TraceList", "items": the traces, "summary": what `summarize` says}."""
    found: Json = {
        "kind": "TraceList",
        "version": VERSION,
        "items": [to_dict(trace) for trace in traces],
        "summary": summarize(traces),
    }
    return dump(found)


def summarize(traces: Sequence[Trace]) -> Json:
    """Return counts and latencies.

    Returns:
        `count`; `verdicts` by word; `endpoints`: `name`, `node`, `count` and `share` of who answered, and those that
        were ready and never did, with 0; `latency_ns`: `min`, `median` and `max` over the requests delivered, null
        when there are none; `failures`: `verdict`, `step`, `cause` and `count`.
    """
    delivered = [trace for trace in traces if trace.verdict is Verdict.DELIVERED]
    took = sorted(trace.duration_ns for trace in delivered)
    return {
        "count": len(traces),
        "verdicts": dict(Counter(str(trace.verdict) for trace in traces).most_common()),
        "endpoints": list(_endpoints(traces)),
        "latency_ns": {"min": took[0], "median": int(statistics.median(took)), "max": took[-1]}
        if took
        else None,
        "failures": [
            {"verdict": verdict, "step": step, "cause": cause, "count": count}
            for (verdict, step, cause), count in Counter(_failures(traces)).most_common()
        ],
    }


def to_text(traces: Sequence[Trace], width: int = 0) -> str:
    """Return the summary for people."""
    delivered = [trace.duration_ns for trace in traces if trace.verdict is Verdict.DELIVERED]
    counts = Counter(str(trace.verdict) for trace in traces).most_common()
    lines = [f"{len(traces)} requests: " + ", ".join(f"{n} {verdict}" for verdict, n in counts)]
    rows = [
        [f"  {row['name']}", str(row["node"] and f"on {row['node']}"), str(row["count"]), _share(row)]
        for row in _endpoints(traces)
    ]  # fmt: skip
    if rows:
        lines += ["answered by", columns(rows, width)]
    for (verdict, step, cause), count in Counter(_failures(traces)).most_common():
        lines.append(f"{count} {verdict} at step {step}" + (f" ({cause})" if cause else ""))
    if delivered:
        low, middle, high = min(delivered), statistics.median(delivered), max(delivered)
        parts = (
            f"{n} {v / 1e6:.2f} ms" for n, v in (("min", low), ("median", middle), ("max", high))
        )
        lines.append("latency while traced: " + ", ".join(parts))
    return "\n".join(lines)


def _share(row: Json) -> str:
    share = row["share"]
    assert isinstance(share, float), "a share is a number"
    return f"{share:.0%}"


def _endpoints(traces: Sequence[Trace]) -> Iterator[Json]:
    """Who answered, the busiest first, then who never did."""
    answered = [found for trace in traces if (found := _answering(trace)) is not None]
    for (name, node), count in Counter(answered).most_common():
        yield {"name": name, "node": node, "count": count, "share": count / len(answered)}
    seen = {place for trace in traces for place in _addresses(trace)}
    ready = {
        ip
        for trace in traces
        for step in trace.steps
        if step.name == "Service"
        for ip in step.facts.get("endpoints", "").split(", ")
        if ip not in ("", "none")
    }
    for ip in sorted(ready - seen) if answered else ():
        yield {"name": ip, "node": "", "count": 0, "share": 0.0}


def _answering(trace: Trace) -> tuple[str, str] | None:
    step = _reached(trace)
    if trace.verdict is not Verdict.DELIVERED or step is None:
        return None
    return step.facts.get("pod") or step.facts.get("place", "?"), step.facts.get("node", "")


def _addresses(trace: Trace) -> Iterator[str]:
    step = _reached(trace)
    for hop in step.hops[-1:] if step is not None else ():
        yield str(hop.after.destination.ip)


def _reached(trace: Trace) -> Step | None:
    return next((s for s in trace.steps if s.name in ("container", "destination")), None)


def _failures(traces: Sequence[Trace]) -> Iterator[tuple[str, str, str]]:
    for trace in traces:
        if trace.verdict is not Verdict.DELIVERED:
            step = next((s for s in trace.steps if s.verdict is not Verdict.DELIVERED), None)
            where = f"{step.number} {step.name}" if step is not None else "?"
            yield str(trace.verdict), where, step.facts.get("cause", "") if step is not None else ""
