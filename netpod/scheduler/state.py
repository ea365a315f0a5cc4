"""What is counted once per decision, before nodes are asked one by one (pure).

Pods per value of a topology label: for spread constraints, for affinity, and for the anti-affinity of pods that
are there already. A pod that asks for none of it costs nothing.

Source: kubernetes pkg/scheduler/framework/plugins/podtopologyspread/filtering.go, interpodaffinity/filtering.go.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from netpod.api import tolerations
from netpod.api.meta import Key
from netpod.api.node import Node
from netpod.api.selectors import LabelQuery
from netpod.scheduler.cache import Cache
from netpod.scheduler.model import NodeInfo, PodInfo, Spread
from netpod.scheduler.terms import PodTerm
from netpod.scheduler.volumes import Volumes

REQUIRED_WEIGHT = 1
"""Of a term that a pod required when it came. Source: InterPodAffinityArgs.hardPodAffinityWeight."""
Domain = tuple[str, str]
"""A topology label and one of its values."""


@dataclass(slots=True, kw_only=True)
class SpreadCount:
    """How many matching pods each domain of one constraint has."""

    spread: Spread
    domains: dict[str, int] = field(default_factory=dict)

    @property
    def least(self) -> int:
        """Pods in the emptiest domain; 0 while there are fewer domains than asked for."""
        if len(self.domains) < self.spread.min_domains:
            return 0
        return min(self.domains.values(), default=0)


@dataclass(slots=True, kw_only=True)
class State:
    """The counts for one pod."""

    everywhere: Sequence[NodeInfo] = ()
    """All nodes, also those that do not fit."""
    likes: LabelQuery | None = None
    """What matches pods like this one, for the default spread."""
    hard: list[SpreadCount] = field(default_factory=list)
    near: Counter[Domain] = field(default_factory=Counter)
    near_itself: bool = False
    """Whether the pod's required affinity means pods like itself."""
    far: Counter[Domain] = field(default_factory=Counter)
    repelled: set[Domain] = field(default_factory=set)
    wishes: Counter[Domain] = field(default_factory=Counter)
    image_nodes: Counter[str] = field(default_factory=Counter)
    """How many nodes have each of the pod's images."""
    volumes: Volumes = field(default_factory=Volumes)


def prepare(
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    cache: Cache,
    *,
    gone: Collection[Key] = (),
    guests: Iterable[tuple[PodInfo, NodeInfo]] = (),
) -> State:
    """Count what this pod's decision needs.

    Args:
        pod: Who is to be placed.
        nodes: Where it may be; for a hypothesis, as they would be then.
        cache: What else is known.
        gone: Pods that a hypothesis does without.
        guests: Pods that a hypothesis adds, and their nodes.
    """
    state = State(
        everywhere=nodes,
        likes=None if pod.spreads else cache.likeness.of(pod.pod),
        volumes=cache.volumes.of(pod.key.namespace, pod.claims),
    )
    for image in pod.images:
        state.image_nodes[image] = sum(image in info.images for info in nodes)
    state.hard = [SpreadCount(spread=spread) for spread in pod.spreads if spread.hard]
    _count_spreads(pod, state.hard, nodes)
    if pod.near or pod.far or pod.near_wishes or pod.far_wishes:
        for info in nodes:
            for other in info.pods.values():
                _count_affinity(pod, other, info, state, cache)
    state.near_itself = all(term.matches(pod.pod, cache.namespaces) for term in pod.near)
    repelling = [
        (other, cache.nodes[home])
        for other, home in cache.repelling.values()
        if other.key not in gone
    ]
    for other, there in (*repelling, *guests):
        for term in other.far:
            value = there.label(term.topology_key)
            if value is not None and term.matches(pod.pod, cache.namespaces):
                state.repelled.add((term.topology_key, value))
    for other, home in cache.inclined.values():
        if other.key not in gone and home in cache.nodes:
            _count_inclination(pod, other, cache.nodes[home], state, cache)
    return state


def fits_node_choice(pod: PodInfo, node: Node) -> bool:
    """Tell whether nodeSelector and the required node affinity allow the node."""
    labels = node.metadata.labels
    if any(labels.get(k) != v for k, v in pod.pod.spec.node_selector.items()):
        return False
    return pod.node_terms is None or any(term.holds(node) for term in pod.node_terms)


class Inclusion:
    """Whether a constraint's policies let the pods of a node count."""

    def __init__(self, pod: PodInfo, info: NodeInfo) -> None:
        self._chosen = info.node is not None and fits_node_choice(pod, info.node)
        self._clean = not any(
            taint.effect != "PreferNoSchedule"
            and not tolerations.tolerated(pod.pod.spec.tolerations, taint)
            for taint in info.taints
        )

    def counts(self, spread: Spread) -> bool:
        """Tell it of one constraint."""
        refused = not self._chosen and spread.honors_affinity
        return not refused and (self._clean or not spread.honors_taints)


def _count_spreads(pod: PodInfo, counts: list[SpreadCount], nodes: Sequence[NodeInfo]) -> None:
    """Count over the nodes that have all the labels, as far as each constraint's policies let them count."""
    if not counts:
        return
    for info in nodes:
        values = [info.label(count.spread.key) for count in counts]
        if None in values or info.node is None:
            continue
        inclusion = Inclusion(pod, info)
        for count, value in zip(counts, values, strict=True):
            assert value is not None, "nodes without the label were left out"
            if inclusion.counts(count.spread):
                here = info.crowd(pod.key.namespace, count.spread.query)
                count.domains[value] = count.domains.get(value, 0) + here


def _count_affinity(
    pod: PodInfo, other: PodInfo, info: NodeInfo, state: State, cache: Cache
) -> None:
    def domain(term: PodTerm) -> Domain | None:
        value = info.label(term.topology_key)
        return (term.topology_key, value) if value is not None else None

    if pod.near and all(term.matches(other.pod, cache.namespaces) for term in pod.near):
        state.near.update(d for term in pod.near if (d := domain(term)) is not None)
    for term in pod.far:
        if (where := domain(term)) is not None and term.matches(other.pod, cache.namespaces):
            state.far[where] += 1
    for sign, wishes in ((1, pod.near_wishes), (-1, pod.far_wishes)):
        for term in wishes:
            if (where := domain(term)) is not None and term.matches(other.pod, cache.namespaces):
                state.wishes[where] += sign * term.weight


def _count_inclination(
    pod: PodInfo, other: PodInfo, info: NodeInfo, state: State, cache: Cache
) -> None:
    """What a pod that is there wishes of newcomers; that it required its own near once counts as a weak wish."""
    for sign, terms in ((1, other.near_wishes), (-1, other.far_wishes), (0, other.near)):
        for term in terms:
            value = info.label(term.topology_key)
            if value is not None and term.matches(pod.pod, cache.namespaces):
                weight = sign * term.weight if sign else REQUIRED_WEIGHT
                state.wishes[term.topology_key, value] += weight
