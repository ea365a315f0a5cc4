"""PodDisruptionBudgets and evictions against the real API server."""

import dataclasses
from pathlib import Path

import pytest

from netpod.api import codec, registry
from netpod.api.apps import Deployment
from netpod.api.meta import IntOrString, ObjectMeta
from netpod.api.pod import Pod
from netpod.api.policy import Eviction, PodDisruptionBudget
from netpod.client.rest import Client
from netpod.controllers import budgets
from netpod.errors import TooManyRequests
from tests.unit.controllers import builders, plane, workloads

BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
"""


async def evict(client: Client, pod: Pod) -> None:
    """Ask for an eviction, as `kubectl drain` does."""
    about = ObjectMeta(name=pod.metadata.name, namespace="shop")
    path = registry.of(Pod).path("shop", pod.metadata.name, "eviction")
    await client.raw("POST", path, codec.to_json(Eviction(metadata=about)))


async def allows(client: Client, number: int) -> bool:
    """Tell whether the budget allows so many disruptions, with everything counted."""
    found = await client.get(PodDisruptionBudget, "web", "shop")
    state = found.status
    return state.observed_generation == found.metadata.generation and (
        state.disruptions_allowed,
        state.expected_pods,
    ) == (number, 3)


def test_second_eviction_is_refused_until_the_first_pod_is_replaced(tmp_path: Path) -> None:
    """maxUnavailable 1: one eviction goes through, the next is answered 429, and the one after the replacement goes."""
    held: list[str] = []

    def play(pod: Pod) -> str:
        return "wait" if held and pod.metadata.uid not in held else "run"

    async def story(client: Client) -> None:
        full = dataclasses.replace(
            builders.deployment(3), metadata=ObjectMeta(name="web", namespace="shop")
        )
        await client.create(full)
        await client.create(workloads.made(BUDGET))
        await plane.until(lambda: allows(client, 1))
        found = await plane.pods(client)
        held.extend(p.metadata.uid for p in found)
        await evict(client, found[0])
        with pytest.raises(TooManyRequests, match="disruption budget"):
            await evict(client, found[1])
        await plane.until(lambda: allows(client, 0))
        held.clear()
        await plane.until(lambda: allows(client, 1))
        await evict(client, found[1])
        await client.patch(Deployment, "web", "shop", {"spec": {"replicas": 0}})

    workloads.tell(tmp_path, story, play=play)


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected", "allowed"),
    [
        (2, None, 3, 1),
        ("50%", None, 3, 1),
        (None, 1, 3, 1),
        (None, "34%", 3, 2),
        (3, None, 3, 0),
        (5, None, 3, 0),
        (None, 0, 3, 0),
        (0, None, 0, 0),
    ],
)
def test_bounds_are_numbers_or_percentages_rounded_up(
    minimum: IntOrString | None, maximum: IntOrString | None, expected: int, allowed: int
) -> None:
    """Three healthy pods: what may go follows from the bound."""
    budget = workloads.made(BUDGET)
    spec = dataclasses.replace(budget.spec, min_available=minimum, max_unavailable=maximum)
    budget = dataclasses.replace(budget, spec=spec)
    there = [builders.pod(f"web-{n}") for n in range(3)]
    state = budgets.status(budget, there, expected, {}, builders.NOW)
    assert state.disruptions_allowed == allowed
    assert state.conditions[0].reason == ("SufficientPods" if allowed else "InsufficientPods")


def test_an_eviction_that_deleted_nothing_is_forgotten() -> None:
    """After two minutes a pod that is still there counts as healthy again."""
    budget = workloads.made(BUDGET)
    pod = builders.pod("web-0")
    for age, kept in ((60, {"web-0"}), (121, set())):
        status = dataclasses.replace(budget.status, disrupted_pods={"web-0": builders.ago(age)})
        waited, _ = budgets.disrupted(
            dataclasses.replace(budget, status=status), [pod], builders.NOW
        )
        assert set(waited) == kept
