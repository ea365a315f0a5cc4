"""Where is the pod best? Each score rates all nodes that passed the filters from 0 to 100 (pure).

Whole numbers, as upstream's. SCORES gives each its weight, upstream's too. Equal sums are decided by fewer pods, then
by name, so that the same cluster always gives the same answer.

Source: kubernetes pkg/scheduler/framework/plugins/*, apis/config/v1/default_plugins.go.
"""

from collections.abc import Callable, Sequence

from netpod.api import tolerations
from netpod.scheduler.model import NodeInfo, PodInfo
from netpod.scheduler.spreadscore import MAX, topology_spread
from netpod.scheduler.state import State

Score = Callable[[PodInfo, Sequence[NodeInfo], State], list[int]]


def least_allocated(pod: PodInfo, nodes: Sequence[NodeInfo], _: State) -> list[int]:
    """More CPU and memory left is better."""

    def free(node: NodeInfo) -> int:
        left = [
            MAX * max(0, total - used) // total
            for total, used in (
                (node.allocatable.get("cpu", 0), node.scored_cpu + pod.scored_cpu),
                (node.allocatable.get("memory", 0), node.scored_memory + pod.scored_memory),
            )
            if total > 0
        ]
        return sum(left) // len(left) if left else 0

    return [free(node) for node in nodes]


def balanced_allocation(pod: PodInfo, nodes: Sequence[NodeInfo], _: State) -> list[int]:
    """CPU and memory used to the same degree is better."""

    def balance(node: NodeInfo) -> int:
        fractions = [
            min(1.0, (node.requested[name] + pod.requests.get(name, 0)) / total)
            for name in ("cpu", "memory")
            if (total := node.allocatable.get(name, 0)) > 0
        ]
        deviation = (max(fractions) - min(fractions)) / 2 if fractions else 0.0
        return int((1 - deviation) * MAX)

    return [balance(node) for node in nodes]


def node_affinity(pod: PodInfo, nodes: Sequence[NodeInfo], _: State) -> list[int]:
    """Meeting more of the preferred node terms is better."""
    if not pod.node_wishes:
        return [0] * len(nodes)
    return _more(
        [
            sum(wish.weight for wish in pod.node_wishes if node.node and wish.holds(node.node))
            for node in nodes
        ]
    )


def inter_pod_affinity(pod: PodInfo, nodes: Sequence[NodeInfo], state: State) -> list[int]:
    """Being near the pods it prefers, and far from those it does not, is better."""
    if not state.wishes:
        return [0] * len(nodes)
    sums = [
        sum(weight for (key, value), weight in state.wishes.items() if node.label(key) == value)
        for node in nodes
    ]
    low, high = min(sums), max(sums)
    return [int(MAX * ((s - low) / (high - low))) if high > low else 0 for s in sums]


def taint_toleration(pod: PodInfo, nodes: Sequence[NodeInfo], _: State) -> list[int]:
    """Fewer PreferNoSchedule taints that the pod does not tolerate is better."""
    return _fewer(
        [
            sum(
                taint.effect == "PreferNoSchedule"
                and not tolerations.tolerated(pod.pod.spec.tolerations, taint)
                for taint in node.taints
            )
            for node in nodes
        ]
    )


MIB = 1 << 20
LEAST_BYTES, MOST_BYTES = 23 * MIB, 1000 * MIB
"""Image sizes that begin to count, and that count in full, per container. Source: image_locality.go."""


def image_locality(pod: PodInfo, nodes: Sequence[NodeInfo], state: State) -> list[int]:
    """More bytes of the pod's images there already is better; an image that few nodes have counts less."""
    most = MOST_BYTES * max(1, len(pod.images))

    def here(node: NodeInfo) -> int:
        found = sum(
            int(node.images[image] * (state.image_nodes[image] / max(1, len(state.everywhere))))
            for image in pod.images
            if image in node.images
        )
        found = min(max(found, LEAST_BYTES), most)
        return MAX * (found - LEAST_BYTES) // (most - LEAST_BYTES)

    return [here(node) for node in nodes]


def _fewer(counts: Sequence[int]) -> list[int]:
    """Rate 100 for none, 0 for the most."""
    return [MAX - rated for rated in _more(counts)]


def _more(counts: Sequence[int]) -> list[int]:
    """Rate 100 for the most, 0 for none. Source: plugins/helper/normalize_score.go."""
    most = max(counts, default=0)
    return [MAX * count // most if most > 0 else 0 for count in counts]


SCORES: tuple[tuple[str, Score, int], ...] = (
    ("TaintToleration", taint_toleration, 3),
    ("NodeAffinity", node_affinity, 2),
    ("PodTopologySpread", topology_spread, 2),
    ("InterPodAffinity", inter_pod_affinity, 2),
    ("NodeResourcesFit", least_allocated, 1),
    ("NodeResourcesBalancedAllocation", balanced_allocation, 1),
    ("ImageLocality", image_locality, 1),
)
"""Upstream's names of the plug-ins, what they rate, and their weights."""


def rate(
    pod: PodInfo, nodes: Sequence[NodeInfo], state: State
) -> tuple[list[dict[str, int]], list[int]]:
    """Return each node's scores by plug-in, from 0 to 100, and its weighted sum."""
    parts: list[dict[str, int]] = [{} for _ in nodes]
    totals = [0] * len(nodes)
    for name, score, weight in SCORES:
        for index, value in enumerate(score(pod, nodes, state)):
            parts[index][name] = value
            totals[index] += weight * value
    return parts, totals


def best(pod: PodInfo, nodes: Sequence[NodeInfo], state: State) -> NodeInfo:
    """Return the best of at least one node."""
    if len(nodes) == 1:
        return nodes[0]
    _, totals = rate(pod, nodes, state)
    return nodes[order(nodes, totals)[0]]


def order(nodes: Sequence[NodeInfo], totals: Sequence[int]) -> list[int]:
    """Return the nodes' places from the best to the worst."""
    return sorted(
        range(len(nodes)),
        key=lambda i: (-totals[i], len(nodes[i].pods), nodes[i].name),
    )
