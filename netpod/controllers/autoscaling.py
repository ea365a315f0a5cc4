"""How many replicas a HorizontalPodAutoscaler wants, from what its pods use (pure).

    ratio       used / (target utilization * requested), or used / (target average value * pods)
    wanted      ceil(ratio * pods), but no change while the ratio is within 10 % of 1
    no metrics  such a pod counts as using its target when that would scale down, as using nothing when up

Source: kubernetes pkg/controller/podautoscaler/replica_calculator.go, horizontal.go.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from netpod.api import meta, quantity
from netpod.api.autoscaling import HorizontalPodAutoscaler
from netpod.api.meta import Condition, Json
from netpod.api.pod import Pod
from netpod.controllers import pods

TOLERANCE = Fraction(1, 10)
_OF_PODS = ("Resource", "ContainerResource")
Usage = Mapping[str, Mapping[str, Mapping[str, Fraction]]]
"""What is used: by pod name, by container name, by resource."""


class NoMetrics(Exception):
    """A metric cannot be read; the message says why in upstream's words, `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = message
        """What is said of all metrics together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What one metric asks for, and its present value as the status shows it."""

    replicas: int
    metric: str
    current: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A number of replicas wanted or taken at some time."""

    at: datetime
    replicas: int


def propose(
    metric: Mapping[str, Json], current: int, there: Sequence[Pod], usage: Usage
) -> Proposal:
    """Compute what one metric asks for.

    Raises:
        NoMetrics: it cannot be computed.
    """
    type_ = str(metric.get("type", ""))
    if type_ not in _OF_PODS:
        raise NoMetrics(
            f"FailedGet{type_}Metric",
            f"unable to get metric: no {type_.lower()} metrics API is served",
        )
    source = metric["resource" if type_ == "Resource" else "containerResource"]
    name, container = str(source["name"]), str(source.get("container", ""))
    target = source.get("target") or {}
    alive = [p for p in there if pods.is_active(p)]
    used = {
        p.metadata.name: total
        for p in alive
        if (total := _used(usage.get(p.metadata.name), name, container)) is not None
    }
    if not used:
        raise NoMetrics(
            f"FailedGet{type_}Metric",
            f"failed to get {name} utilization: unable to get metrics for resource {name}: "
            "no metrics returned from resource metrics API",
        )
    goals = {p.metadata.name: _goal(p, name, container, target, type_) for p in alive}
    ready = {p.metadata.name for p in alive if pods.is_ready(p)}
    replicas = _replicas(current, used, goals, ready)
    return Proposal(
        replicas=replicas,
        metric=f"{name} {'resource utilization' if _is_share(target) else 'resource'}",
        current=_shown(metric, type_, name, container, used, alive, target),
    )


def propose_all(
    metrics: Sequence[Mapping[str, Json]],
    current: int,
    there: Sequence[Pod],
    usage: Usage | NoMetrics,
) -> tuple[list[Proposal], list[NoMetrics]]:
    """Compute what each metric asks for; return also why some cannot be computed."""
    proposals: list[Proposal] = []
    failures: list[NoMetrics] = []
    for metric in metrics:
        try:
            if isinstance(usage, NoMetrics) and metric.get("type") in _OF_PODS:
                raise usage
            known = {} if isinstance(usage, NoMetrics) else usage
            proposals.append(propose(metric, current, there, known))
        except NoMetrics as error:
            failures.append(error)
    return proposals, failures


def largest(proposals: Sequence[Proposal], failures: Sequence[NoMetrics], current: int) -> Proposal:
    """Return the largest proposal; with metrics that cannot be read, only one that does not scale down counts.

    Raises:
        NoMetrics: the first failure, when there is nothing to go by.
    """
    best = max(proposals, key=lambda p: p.replicas, default=None)
    if best is None or (failures and best.replicas < current):
        first = failures[0]
        total = len(proposals) + len(failures)
        first.summary = (
            f"invalid metrics ({len(failures)} invalid out of {total}), first error is: {first}"
        )
        raise first
    return best


def _is_share(target: Mapping[str, Json]) -> bool:
    return target.get("averageUtilization") is not None


def _used(
    containers: Mapping[str, Mapping[str, Fraction]] | None, name: str, only: str
) -> Fraction | None:
    if containers is None:
        return None
    values = [u[name] for c, u in containers.items() if name in u and (not only or c == only)]
    return sum(values, Fraction(0)) if values else None


def _requested(pod: Pod, name: str, only: str) -> Fraction | None:
    total = Fraction(0)
    for container in pod.spec.containers:
        if only and container.name != only:
            continue
        if name not in container.resources.requests:
            return None
        total += quantity.parse(container.resources.requests[name])
    return total


def _goal(pod: Pod, name: str, only: str, target: Mapping[str, Json], type_: str) -> Fraction:
    if not _is_share(target):
        return quantity.parse(target.get("averageValue") or target.get("value") or 1)
    requested = _requested(pod, name, only)
    if requested is None or requested == 0:
        where = only or pod.spec.containers[0].name
        raise NoMetrics(
            f"FailedGet{type_}Metric",
            f"failed to get {name} utilization: missing request for {name} in container {where} "
            f"of Pod {pod.metadata.name}",
        )
    return requested * int(target["averageUtilization"]) / 100


def _replicas(
    current: int,
    used: Mapping[str, Fraction],
    goals: Mapping[str, Fraction],
    ready: set[str],
) -> int:
    counted = {n: u for n, u in used.items() if n in ready}
    missing = [n for n in goals if n not in used]
    unready = [n for n in used if n not in ready]
    if not counted:
        return current
    ratio = sum(counted.values(), Fraction(0)) / sum((goals[n] for n in counted), Fraction(0))
    if not missing and (not unready or ratio <= 1):
        if abs(ratio - 1) <= TOLERANCE:
            return current
        return math.ceil(ratio * len(counted))
    for name in missing:
        counted[name] = goals[name] if ratio < 1 else Fraction(0)
    if ratio > 1:
        counted |= dict.fromkeys(unready, Fraction(0))
    again = sum(counted.values(), Fraction(0)) / sum((goals[n] for n in counted), Fraction(0))
    if abs(again - 1) <= TOLERANCE or (ratio > 1) != (again > 1):
        return current
    found = math.ceil(again * len(counted))
    return current if (again < 1 and found > current) or (again > 1 and found < current) else found


def _shown(
    metric: Mapping[str, Json],
    type_: str,
    name: str,
    container: str,
    used: Mapping[str, Fraction],
    alive: Iterable[Pod],
    target: Mapping[str, Json],
) -> dict[str, Json]:
    average = sum(used.values(), Fraction(0)) / len(used)
    style = quantity.Format.DECIMAL_SI
    rounded = Fraction(math.ceil(average * 1000), 1000) if name == "cpu" else math.ceil(average)
    value: dict[str, Json] = {"averageValue": quantity.format(rounded, style)}
    if _is_share(target):
        requests = [_requested(p, name, container) for p in alive if p.metadata.name in used]
        requested = sum((r for r in requests if r is not None), Fraction(0))
        value["averageUtilization"] = int(sum(used.values(), Fraction(0)) * 100 / requested)
    key = "resource" if type_ == "Resource" else "containerResource"
    source: dict[str, Json] = {"name": name, "current": value}
    if container:
        source["container"] = container
    return {"type": type_, key: source}


def limit(
    autoscaler: HorizontalPodAutoscaler,
    current: int,
    proposed: int,
    advice: Sequence[Change],
    taken: Sequence[Change],
    now: datetime,
) -> tuple[int, list[Condition]]:
    """Hold a proposal against stabilization, rates and bounds.

    Args:
        autoscaler: Gives the bounds and behaviour.
        current: Replicas now.
        proposed: The largest of the metrics' proposals.
        advice: Earlier proposals.
        taken: Earlier numbers of replicas before a change, when it was made.
        now: Present moment.

    Returns:
        Replicas to have, and conditions AbleToScale and ScalingLimited without times.
    """
    rules = autoscaler.spec.behavior or {}
    down, up = rules.get("scaleDown") or {}, rules.get("scaleUp") or {}
    wanted = _stable(current, proposed, advice, down, up, now)
    able = Condition(
        type="AbleToScale",
        status="True",
        reason="ReadyForNewScale",
        message="recommended size matches current size",
    )
    if wanted != proposed:
        way = "Down" if wanted > proposed else "Up"
        able = dataclasses.replace(
            able,
            reason=f"Scale{way}Stabilized",
            message="recent recommendations were "
            f"{'higher' if way == 'Down' else 'lower'} than current one, applying the "
            f"{'highest' if way == 'Down' else 'lowest'} recent recommendation",
        )
    low, high = autoscaler.spec.min_replicas or 1, autoscaler.spec.max_replicas
    most = max(current, _rate(current, taken, up, _UP, now, grows=True))
    least = min(current, _rate(current, taken, down, _DOWN, now, grows=False))
    reason, why = "DesiredWithinRange", "the desired count is within the acceptable range"
    bounded = wanted
    if wanted > min(most, high):
        bounded = min(most, high)
        reason, why = (
            "TooManyReplicas",
            "the desired replica count is more than the maximum replica count",
        )
        if most < high:
            reason = "ScaleUpLimit"
            why = "the desired replica count is increasing faster than the maximum scale rate"
    elif wanted < max(least, low):
        bounded = max(least, low)
        reason, why = (
            "TooFewReplicas",
            "the desired replica count is less than the minimum replica count",
        )
        if least > low:
            reason = "ScaleDownLimit"
            why = "the desired replica count is decreasing faster than the maximum scale rate"
    limited = Condition(
        type="ScalingLimited",
        status=str(reason != "DesiredWithinRange"),
        reason=reason,
        message=why,
    )
    return bounded, [able, limited]


_UP: tuple[Mapping[str, Json], ...] = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN: tuple[Mapping[str, Json], ...] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


def _stable(
    current: int,
    proposed: int,
    advice: Sequence[Change],
    down: Mapping[str, Json],
    up: Mapping[str, Json],
    now: datetime,
) -> int:
    """Follow the most careful of the recent proposals: the highest on the way down, the lowest up."""

    def recent(seconds: float) -> list[int]:
        since = now - timedelta(seconds=seconds)
        return [proposed, *(c.replicas for c in advice if c.at > since)]

    if proposed > current:
        return max(current, min(recent(_window(up, 0))))
    return min(current, max(recent(_window(down, 300))))


def _window(rules: Mapping[str, Json], default: int) -> int:
    value = rules.get("stabilizationWindowSeconds")
    return default if value is None else int(value)


def _rate(
    current: int,
    taken: Sequence[Change],
    rules: Mapping[str, Json],
    default: Sequence[Mapping[str, Json]],
    now: datetime,
    *,
    grows: bool,
) -> int:
    """Return how far the policies let the number go."""
    choice = rules.get("selectPolicy") or "Max"
    if choice == "Disabled":
        return current
    found = []
    for policy in rules.get("policies") or default:
        since = now - timedelta(seconds=int(policy.get("periodSeconds", 15)))
        # Where the period began: what the first change in it changed from.
        start = next((c.replicas for c in taken if c.at > since), current)
        value = int(policy.get("value", 0))
        if policy.get("type") == "Pods":
            found.append(start + value if grows else start - value)
        elif grows:
            found.append(math.ceil(Fraction(start * (100 + value), 100)))
        else:
            found.append(math.floor(Fraction(start * (100 - value), 100)))
    return max(found) if grows == (choice == "Max") else min(found)


def with_conditions(
    known: tuple[Condition, ...], new: Iterable[Condition], now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions with new ones in place of those of their types."""
    for condition in new:
        stamped = dataclasses.replace(condition, last_transition_time=meta.timestamp(now))
        known = pods.set_condition(known, stamped)
    return known
