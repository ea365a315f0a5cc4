"""How many pods of a PodDisruptionBudget may go now (pure).

Source: kubernetes pkg/controller/disruption/disruption.go.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from netpod.api import meta
from netpod.api.meta import Condition, IntOrString
from netpod.api.pod import Pod
from netpod.api.policy import PodDisruptionBudget, PodDisruptionBudgetStatus
from netpod.controllers import pods

FORGET_AFTER = 120.0
"""Seconds until an eviction that deleted nothing is forgotten. Source: DeletionTimeout."""


def needs_scale(budget: PodDisruptionBudget) -> bool:
    """Tell whether the bounds are of what the pods' owners want, not of the pods there are."""
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


def disrupted(
    budget: PodDisruptionBudget, there: Sequence[Pod], now: datetime
) -> tuple[dict[str, str], float | None]:
    """Return the evictions still awaited, and the seconds until one of them is forgotten."""
    by_name = {pod.metadata.name: pod for pod in there}
    kept: dict[str, str] = {}
    waits = []
    for name, since in budget.status.disrupted_pods.items():
        pod, moment = by_name.get(name), pods.moment(since)
        if pod is None or pods.is_terminating(pod) or moment is None:
            continue
        left = (moment + timedelta(seconds=FORGET_AFTER) - now).total_seconds()
        if left > 0:
            kept[name] = since
            waits.append(left)
    return kept, min(waits, default=None)


def status(
    budget: PodDisruptionBudget,
    there: Sequence[Pod],
    expected: int,
    waited: Mapping[str, str],
    now: datetime,
) -> PodDisruptionBudgetStatus:
    """Count the pods and say how many may go.

    Args:
        budget: Gives the bounds.
        there: The pods it selects.
        expected: How many there should be.
        waited: From `disrupted`.
        now: Present moment.
    """
    healthy = sum(
        pods.is_ready(p) and not pods.is_terminating(p) and p.metadata.name not in waited
        for p in there
    )
    desired = _desired(budget, expected)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    return _with(
        budget,
        Condition(type="DisruptionAllowed", status=str(allowed > 0), reason=reason),
        now,
        disrupted_pods=dict(waited),
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
    )


def failed(budget: PodDisruptionBudget, why: str, now: datetime) -> PodDisruptionBudgetStatus:
    """Return the status that allows nothing, for nobody knows how many pods there should be."""
    new = Condition(type="DisruptionAllowed", status="False", reason="SyncFailed", message=why)
    return _with(budget, new, now, disruptions_allowed=0)


def _with(
    budget: PodDisruptionBudget, new: Condition, now: datetime, **counts: object
) -> PodDisruptionBudgetStatus:
    generation = budget.metadata.generation
    new = dataclasses.replace(
        new, observed_generation=generation, last_transition_time=meta.timestamp(now)
    )
    return dataclasses.replace(
        budget.status,
        observed_generation=generation,
        conditions=pods.set_condition(budget.status.conditions, new),
        **counts,  # type: ignore[arg-type]
    )


def _desired(budget: PodDisruptionBudget, expected: int) -> int:
    spec = budget.spec
    if spec.max_unavailable is not None:
        return max(0, expected - _scaled(spec.max_unavailable, expected))
    return _scaled(spec.min_available or 0, expected)


def _scaled(value: IntOrString, total: int) -> int:
    """Turn a number or percentage into a number, rounded up."""
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%")) * total / 100)
