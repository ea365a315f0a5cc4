"""Who reaches whom: every source, every kind of Service, under policies; prediction and trace must say the same.

A seeded third of the questions is asked, of IPv6 an eighth; NETPOD_WHOLE=1 asks all, 648 in each mode and family.
"""

import os
import random

import pytest

from netpod.trace import batch, explain, render, run, where
from netpod.trace.model import Verdict
from netpod.trace.predict.walk import Walker
from netpod.trace.world import observe_world
from tests.kernel.trace import kinds, modes
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab
from tests.kernel.trace.plan import FOUR

every = pytest.mark.parametrize("mode", modes.EVERY, indirect=True)


@every
@pytest.mark.parametrize("policy", list(kinds.POLICIES))
def test_prediction_and_trace_agree(lab: Lab, mode: str, policy: str) -> None:
    """One of the predicted outcomes is what happens, and what the trace says is what the client saw."""
    plan = lab.plan
    objects, asked = kinds.objects(plan), kinds.questions(plan)
    assert len(asked) * len(kinds.POLICIES) >= 300
    if not os.environ.get("NETPOD_WHOLE"):
        share = 3 if plan is FOUR else 8
        asked = random.Random(f"{mode} {policy}").sample(asked, len(asked) // share)
    lab.program(objects)
    with kinds.enforced(kinds.POLICIES[policy], plan), kinds.udp_servers(plan):
        whole = observe_world(world.PATHS, objects, targets=objects.pods)
        walker, requests, predictions = Walker(whole), [], []
        for question in asked:
            place = where.resolve(world.PATHS, objects, question.source, question.namespace)
            requests.append(run.request_of(question, objects, place))
            predictions.append(explain.explain(world.PATHS, question, objects, walker=walker))
        traces = batch.follow_all(requests, whole)
    wrong = []
    for question, prediction, found in zip(asked, predictions, traces, strict=True):
        differs = explain.disagreements(prediction, found)
        name = f"{mode}, {policy}: {question.source} to {question.target}"
        if differs:
            wrong.append(
                f"{name}: {differs}\n{explain.to_text(prediction)}\n{render.to_text(found)}"
            )
        if Verdict.INCONCLUSIVE in prediction.verdicts:
            wrong.append(f"{name}: unsure\n{explain.to_text(prediction)}")
        if (found.verdict is Verdict.DELIVERED) is bool(found.answer.error):
            wrong.append(f"{name}: the client got {found.answer}\n{render.to_text(found)}")
        if found.verdict is Verdict.INCONCLUSIVE:
            wrong.append(f"{name}: {found.sentence}\n{render.to_text(found)}")
    assert not wrong, f"{len(wrong)} of {len(traces)}\n" + "\n\n".join(wrong[:6])


@every
def test_policy_that_forbids_is_named(lab: Lab, mode: str) -> None:
    """The rule that drops carries the names of the policies that isolate the pod; the prediction quotes them too."""
    question = run.Question(
        target="pod/default/web-1:8080", source="pod/kube-system/ingress-0", timeout=0.4
    )
    with kinds.enforced(kinds.POLICIES["web-1 isolated"], lab.plan):
        prediction = explain.explain(world.PATHS, question, lab.objects)
        found = run.trace(world.PATHS, question, lab.objects)
    assert found.verdict is Verdict.DROPPED, render.to_text(found)
    assert "NetworkPolicy default/policy-0 allows no such" in found.sentence
    assert not explain.disagreements(prediction, found)


def test_prediction_goes_on_behind_the_ingress(lab: Lab, mode: str) -> None:
    """Host and path rule, Service and endpoint are predicted, and both connections end where they were said to."""
    for url, verdict in (
        ("http://example.com/", Verdict.DELIVERED),
        ("http://none.example/", Verdict.REFUSED),
    ):
        question = run.Question(target=url, timeout=1.5)
        prediction = explain.explain(world.PATHS, question, lab.objects)
        found = run.trace(world.PATHS, question, lab.objects)
        text = explain.to_text(prediction) + "\n" + render.to_text(found)
        assert prediction.verdicts == {verdict}, text
        assert found.verdict is verdict, text
        assert not explain.disagreements(prediction, found), text
    (then,) = explain.explain(
        world.PATHS, run.Question(target="http://example.com/"), lab.objects
    ).onward.values()
    assert "rule example.com Prefix / → Service default/example-service:80" in then.rule
    assert {str(o.end.destination) for o in then.outcomes} == {w[3] for w in lab.plan.web}
