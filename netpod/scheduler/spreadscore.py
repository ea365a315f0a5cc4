"""How evenly would the pods lie: the score of ScheduleAnyway constraints, or of the cluster's defaults (pure).

A pod that names no constraint is spread by upstream's: over nodes (maxSkew 3) and zones (maxSkew 5), counting the
pods of its Services and of its ReplicaSet, ReplicationController or StatefulSet.

Source: kubernetes pkg/scheduler/framework/plugins/podtopologyspread/scoring.go, plugin.go systemDefaultConstraints.
"""

import math
from collections.abc import Sequence

from netpod.api.selectors import LabelQuery
from netpod.scheduler.model import NodeInfo, PodInfo, Spread
from netpod.scheduler.state import Inclusion, State

MAX = 100
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
_DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))


def topology_spread(pod: PodInfo, nodes: Sequence[NodeInfo], state: State) -> list[int]:
    """Rate 100 for the domains with the fewest matching pods, counted over all constraints."""
    spreads, own = _spreads(pod, state.likes)
    # With constraints of its own, a node without one of the labels is out of the question.
    scored = [n for n in nodes if not own or _has_all(n, spreads)]
    if not spreads or not scored:
        return [0] * len(nodes)
    crowds = [_crowds(pod, spread, scored, spreads if own else (), state) for spread in spreads]
    weights = [math.log(_size(s, scored, c) + 2) for s, c in zip(spreads, crowds, strict=True)]
    raw: dict[str, int] = {}
    for node in scored:
        total = 0.0
        for spread, crowd, weight in zip(spreads, crowds, weights, strict=True):
            value = node.label(spread.key)
            if value is None:
                continue
            count = (
                node.crowd(pod.key.namespace, spread.query)
                if spread.key == HOSTNAME
                else crowd[value]
            )
            total += count * weight + spread.max_skew - 1
        raw[node.name] = math.floor(total + 0.5)
    low, high = min(raw.values()), max(raw.values())
    if high == 0:
        return [MAX if node.name in raw else 0 for node in nodes]
    return [
        MAX * (high + low - raw[node.name]) // high if node.name in raw else 0 for node in nodes
    ]


def _spreads(pod: PodInfo, likes: LabelQuery | None) -> tuple[tuple[Spread, ...], bool]:
    """The constraints that count, and whether they are the pod's own."""
    if pod.spreads:
        return tuple(spread for spread in pod.spreads if not spread.hard), True
    if likes is None:
        return (), False
    defaults = tuple(
        Spread(query=likes, key=key, max_skew=skew, min_domains=1, hard=False, counts_itself=True)
        for key, skew in _DEFAULTS
    )
    return defaults, False


def _has_all(node: NodeInfo, spreads: Sequence[Spread]) -> bool:
    return all(node.label(spread.key) is not None for spread in spreads)


def _size(spread: Spread, scored: Sequence[NodeInfo], crowd: dict[str, int]) -> int:
    return len(scored) if spread.key == HOSTNAME else len(crowd)


def _crowds(
    pod: PodInfo,
    spread: Spread,
    scored: Sequence[NodeInfo],
    needed: Sequence[Spread],
    state: State,
) -> dict[str, int]:
    """Matching pods of each domain that a scored node is in; of single nodes they are asked one by one."""
    if spread.key == HOSTNAME:
        return {}
    found = {node.label(spread.key) or "": 0 for node in scored}
    for info in state.everywhere:
        value = info.label(spread.key) or ""
        if value in found and _has_all(info, needed) and Inclusion(pod, info).counts(spread):
            found[value] += info.crowd(pod.key.namespace, spread.query)
    return found
