"""The same request under other rules: iptables-legacy, whose events come as log messages, and nftables mode."""

import pytest

from netpod.ip import Family, host_port
from netpod.trace import explain, render, run
from netpod.trace.model import Source, Verdict
from netpod.trace.request import Kind
from netpod.trace.run import Question
from netpod.trace.sources import nflog
from tests.kernel.trace import lab as world
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab

pytestmark = pytest.mark.parametrize("mode", modes.EVERY, indirect=True)
NODES = {name: world.PATHS.netns_node(name) for name in world.NODES}


def test_rules_are_named_in_every_mode(lab: Lab, mode: str) -> None:
    """Each mode has its own words for the choice of an endpoint; the trace knows them all."""
    before = {n: nflog.observe(n, Family) for n in NODES.values()}
    found = run.trace(world.PATHS, Question(target="http://example.com/", timeout=1.5), lab.objects)
    text = render.to_text(found, verbose=True)
    assert found.verdict is Verdict.DELIVERED, text
    chain = "service-*" if mode == "nftables" else "KUBE-SVC-*"
    hops = [h for h in found.hops if any(r.chain.startswith(chain[:-1]) for r in h.rules)]
    assert len(hops) >= 2, text
    choice = next(r for r in hops[-1].rules if r.chain.startswith(chain[:-1]))
    assert "of 2" in choice.meaning, text
    source = Source.NFLOG if mode == "legacy" else Source.NFTRACE
    assert {e.source for e in choice.evidence} == {source, Source.RULES}
    assert {n: nflog.observe(n, Family) for n in NODES.values()} == before


def test_refusal_is_named_in_every_mode(lab: Lab, mode: str) -> None:
    """No endpoints: refused on the client's node, and said so."""
    objects = lab.make(())
    lab.program(objects)
    question = Question(target="svc/example-service", source="pod/web-0", timeout=0.5)
    prediction = explain.explain(world.PATHS, question, objects)
    found = run.trace(world.PATHS, question, objects)
    text = render.to_text(found, verbose=True)
    assert found.verdict is Verdict.REFUSED, text
    assert "node worker refused it" in found.sentence, text
    assert not explain.disagreements(prediction, found), explain.to_text(prediction)
    assert prediction.verdicts == {Verdict.REFUSED}


def test_drop_is_named_in_every_mode(lab: Lab, mode: str) -> None:
    """A DROP rule of somebody else, quoted."""
    question = Question(target="pod/web-1:8080", source="pod/web-0", timeout=0.5)
    with modes.wall(mode, NODES["worker2"], port=8080, verdict="DROP", family=lab.plan.family):
        found = run.trace(world.PATHS, question, lab.objects)
    assert found.verdict is Verdict.DROPPED, render.to_text(found, verbose=True)
    assert "node worker2 dropped it in chain FORWARD" in found.sentence
    assert ("drop" if mode == "nftables" else "-j DROP") in found.sentence


@pytest.mark.parametrize("source", ["outside", "node/worker2", "pod/web-0"])
def test_prediction_and_trace_agree_in_every_mode(lab: Lab, mode: str, source: str) -> None:
    """Other rules, other words, the same journey: what is predicted happens."""
    targets = ["node/worker:30080", "node/worker2:30080", "pod/web-1:8080"]
    targets += (
        [] if source == "outside" else ["svc/example-service", host_port(lab.plan.web_ip, 81)]
    )
    for target in targets:
        question = Question(target=target, source=source, timeout=0.3, kind=Kind.TCP)
        prediction = explain.explain(world.PATHS, question, lab.objects)
        found = run.trace(world.PATHS, question, lab.objects)
        wrong = explain.disagreements(prediction, found)
        text = explain.to_text(prediction) + "\n\n" + render.to_text(found, verbose=True)
        assert not wrong, f"{mode} {source} {target}: {wrong}\n{text}"
