"""Room for a pod of higher priority: which pods of which node would have to go (pure).

Per node: take away every pod of lower priority; if the pod fits then, give back as many as fit beside it, those
protected by a PodDisruptionBudget first. Of the nodes that are left, the one whose victims matter least.

Source: kubernetes pkg/scheduler/framework/preemption/preemption.go, plugins/defaultpreemption/default_preemption.go.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from netpod.api import selectors
from netpod.api.policy import PodDisruptionBudget
from netpod.scheduler import filters
from netpod.scheduler import state as counting
from netpod.scheduler.cache import Cache
from netpod.scheduler.filters import Outcome, Refusal
from netpod.scheduler.model import NodeInfo, PodInfo

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that would do.

    Attributes:
        node: Its name.
        victims: Who would have to go, the most important first.
        violations: How many of them a disruption budget protects.
    """

    node: str
    victims: tuple[PodInfo, ...]
    violations: int


def objection(pod: PodInfo, cache: Cache) -> str:
    """Say why a pod may evict nobody now; "" when it may."""
    if pod.pod.spec.preemption_policy == "Never":
        return "not eligible due to preemptionPolicy=Never."
    nominated = cache.nodes.get(pod.pod.status.nominated_node_name)
    if nominated is not None and any(
        other.pod.metadata.deletion_timestamp and other.priority < pod.priority
        for other in nominated.pods.values()
    ):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def find(
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    outcome: Outcome,
    cache: Cache,
    budgets: Iterable[PodDisruptionBudget],
) -> tuple[Candidate | None, str]:
    """Return the best node to evict pods from, or None and why there is none, in upstream's words."""
    known = tuple(budgets)
    found: list[Candidate] = []
    against: list[Refusal] = []
    for node in nodes:
        refused = outcome.refused[node.name]
        if refused.lasting:
            against.append(Refusal("", (NOT_HELPFUL,)))
            continue
        answer = _dry_run(pod, node, nodes, cache, known)
        if isinstance(answer, Candidate):
            found.append(answer)
        else:
            against.append(answer)
    if found:
        return min(found, key=_cost), ""
    total = len(nodes)
    return None, f"0/{total} nodes are available: {filters.reasons_text(against)}."


def _dry_run(
    pod: PodInfo,
    node: NodeInfo,
    nodes: Sequence[NodeInfo],
    cache: Cache,
    budgets: Sequence[PodDisruptionBudget],
) -> Candidate | Refusal:
    lower = [other for other in node.pods.values() if other.priority < pod.priority]
    if not lower:
        return Refusal("", (NO_VICTIMS,))
    guests = cache.guests(pod).get(node.name, [])

    def refused(gone: Collection[PodInfo]) -> Refusal | None:
        keys = {other.key for other in gone}
        there = node.changed(without=keys, with_=guests)
        everywhere = [there if other.name == node.name else other for other in nodes]
        coming = [(guest, there) for guest in guests]
        state = counting.prepare(pod, everywhere, cache, gone=keys, guests=coming)
        return filters.refusal(pod, there, state)

    against = refused(lower)
    if against is not None:
        return against
    lower.sort(key=_importance)
    protected = _protected(lower, budgets)
    gone = list(lower)
    violations = 0
    for other in (
        *(p for p in lower if p.key in protected),
        *(p for p in lower if p.key not in protected),
    ):
        kept = [victim for victim in gone if victim.key != other.key]
        if refused(kept) is None:
            gone = kept
        elif other.key in protected:
            violations += 1
    if not gone:
        return Refusal("", (NO_VICTIMS,))
    return Candidate(node=node.name, victims=tuple(gone), violations=violations)


def _importance(pod: PodInfo) -> tuple[int, str]:
    """Order by importance: higher priority, then longer running. Source: util.MoreImportantPod."""
    return -pod.priority, pod.pod.status.start_time or "9"


def _protected(
    victims: Sequence[PodInfo], budgets: Sequence[PodDisruptionBudget]
) -> Collection[object]:
    """Return the keys of those whose going a budget does not allow. Source: filterPodsWithPDBViolation."""
    left = [budget.status.disruptions_allowed for budget in budgets]
    queries = [
        selectors.from_label_selector(budget.spec.selector)
        if budget.spec.selector is not None
        else selectors.NOTHING
        for budget in budgets
    ]
    found: set[object] = set()
    for victim in victims:
        about = victim.pod.metadata
        if not about.labels:
            continue
        for index, budget in enumerate(budgets):
            if budget.metadata.namespace != about.namespace:
                continue
            if not queries[index].requirements or not queries[index].matches(about.labels):
                continue
            if about.name in budget.status.disrupted_pods:
                continue
            left[index] -= 1
            if left[index] < 0:
                found.add(victim.key)
    return found


def _cost(candidate: Candidate) -> tuple[object, ...]:
    """Order candidates by what is lost. Source: pickOneNodeForPreemption."""
    victims = candidate.victims
    highest = victims[0].priority
    earliest = min(_start(victim) for victim in victims if victim.priority == highest)
    return (
        candidate.violations,
        highest,
        sum(victim.priority + (1 << 31) for victim in victims),
        len(victims),
        # The later the most important of them started, the less is lost.
        tuple(-ord(letter) for letter in earliest),
        candidate.node,
    )


def _start(victim: PodInfo) -> str:
    return victim.pod.status.start_time or "9"
