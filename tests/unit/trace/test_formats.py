"""What people read: it fits the terminal, and many requests end in a few numbers."""

import json

import pytest

from netpod.trace.formats import columns, summary
from netpod.trace.model import Answer, Step, Trace, Verdict

ROWS = [
    ["WHERE", "STATE", "ORIGINAL", "MEANING"],
    ["node worker", "ESTABLISHED", "203.0.113.10:40000 → 198.51.100.1:80", "web " * 20],
    ["node worker2", "TIME_WAIT", "203.0.113.10:40001 → 198.51.100.1:80", "web"],
]


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_columns_fit_the_terminal_and_lose_no_row(width: int) -> None:
    """Every line fits, every row begins at the margin, and what is not cut is there."""
    lines = columns.columns(ROWS, width).split("\n")
    assert max(map(len, lines)) <= width
    firsts = [line for line in lines if not line.startswith(" ")]
    assert [line.split()[-1] in line for line in firsts] == [True] * 3
    assert [line[:12].rstrip() for line in firsts] == ["WHERE", "node worker", "node worker2"]


def test_columns_stay_whole_in_a_pipe() -> None:
    """No width, no folding."""
    assert len(columns.columns(ROWS).split("\n")) == 3


def test_a_name_that_is_too_long_keeps_both_ends() -> None:
    """What differs is at the end as often as at the beginning."""
    assert columns.elide("netpod-netpod-worker2-default.web-abc12", 20) == "netpod-net…web-abc12"
    assert columns.elide("short", 20) == "short"
    assert columns.elide("abc", 1) == "…"


def trace(verdict: Verdict, took: int, pod: str = "", *, cause: str = "") -> Trace:
    """A trace with a Service of two endpoints and the step that ended it."""
    delivered = verdict is Verdict.DELIVERED
    last = Step(
        number=2,
        name="container",
        verdict=verdict,
        sentence="",
        facts={"pod": pod, "node": "worker"} if delivered else {"cause": cause},
    )
    ready = {"endpoints": "10.244.1.6, 10.244.2.6"}
    service = Step(
        number=1, name="Service", verdict=Verdict.DELIVERED, sentence="", facts=ready
    )  # fmt: skip
    return Trace(
        id="1", method="GET", url="http://example.com/", started_at_ns=0, duration_ns=took,
        steps=(service, last), legs=(), conntrack=(), sources=(), verdict=verdict, sentence="",
        answer=Answer(), timing_ns={},
    )  # fmt: skip


def test_many_requests_end_in_counts_shares_and_latencies() -> None:
    """Of those delivered: who answered, how fast; of the others: where they ended and why."""
    traces = [
        trace(Verdict.DELIVERED, 3_000_000, "pod default/web-0"),
        trace(Verdict.DELIVERED, 1_000_000, "pod default/web-1"),
        trace(Verdict.DELIVERED, 8_000_000, "pod default/web-0"),
        trace(Verdict.DROPPED, 900_000_000, cause="rule"),
    ]
    found = json.loads(summary.to_json(traces))
    assert (found["kind"], len(found["items"])) == ("TraceList", 4)
    said = found["summary"]
    assert said["verdicts"] == {"DELIVERED": 3, "DROPPED": 1}
    assert said["latency_ns"] == {"min": 1_000_000, "median": 3_000_000, "max": 8_000_000}
    assert [(e["name"], e["count"]) for e in said["endpoints"]][:2] == [
        ("pod default/web-0", 2),
        ("pod default/web-1", 1),
    ]
    failure = {"verdict": "DROPPED", "step": "2 container", "cause": "rule", "count": 1}
    assert said["failures"] == [failure]
    text = summary.to_text(traces, 80)
    assert "4 requests: 3 DELIVERED, 1 DROPPED" in text
    assert "pod default/web-0  on worker  2  67%" in text
    assert "1 DROPPED at step 2 container (rule)" in text
    assert "min 1.00 ms, median 3.00 ms, max 8.00 ms" in text


def test_no_answer_at_all_has_no_latency() -> None:
    """Nothing delivered: nothing is said of endpoints."""
    said = summary.summarize([trace(Verdict.DROPPED, 5)])
    assert said["latency_ns"] is None
    assert said["endpoints"] == []
