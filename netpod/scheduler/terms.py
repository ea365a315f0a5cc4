"""Affinity as people write it, made ready to be asked: node terms and pod terms (pure).

What was written is JSON that nobody may have checked: reading it raises TypeError, ValueError, AttributeError or
BadRequest here, and nothing later.

    node term   matchExpressions and matchFields, all of which must hold; an empty term holds for no node
    pod term    labelSelector, in namespaces (default: the pod's own) or those a namespaceSelector matches,
                within one value of the node label topologyKey

Source: k8s.io/component-helpers scheduling/corev1/nodeaffinity, kubernetes pkg/scheduler/framework/types.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netpod.api import codec, selectors
from netpod.api.meta import Json, LabelSelector
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.selectors import LabelQuery

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRequirement:
    """`key operator values` on a node's labels, or on its name when `is_field`."""

    key: str
    operator: str
    values: tuple[str, ...]
    is_field: bool = False

    def holds(self, node: Node) -> bool:
        """Tell whether the node meets it."""
        if self.is_field:
            value: str | None = node.metadata.name if self.key == "metadata.name" else None
        else:
            value = node.metadata.labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compare(value)
        return False

    def _compare(self, value: str | None) -> bool:
        try:
            left, right = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return left > right if self.operator == "Gt" else left < right


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTerm:
    """Requirements that must all hold; `weight` counts for preferences only."""

    requirements: tuple[NodeRequirement, ...]
    weight: int = 0

    def holds(self, node: Node) -> bool:
        """Tell whether the node meets all of them; without any, none does."""
        return bool(self.requirements) and all(r.holds(node) for r in self.requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTerm:
    """Pods that are meant, and the node label within one value of which."""

    query: LabelQuery
    namespaces: frozenset[str]
    namespace_query: LabelQuery | None
    topology_key: str
    weight: int = 0

    def matches(self, pod: Pod, namespaces: Mapping[str, Labels]) -> bool:
        """Tell whether a pod is meant.

        Args:
            pod: The pod asked about.
            namespaces: Labels of each namespace, by name.
        """
        own = pod.metadata.namespace
        if own not in self.namespaces and not (
            self.namespace_query is not None
            and self.namespace_query.matches(namespaces.get(own, {}))
        ):
            return False
        return self.query.matches(pod.metadata.labels)


def node_term(term: Mapping[str, Json], weight: int = 0) -> NodeTerm:
    """Read a nodeSelectorTerm."""
    found = [
        NodeRequirement(
            key=str(e.get("key", "")),
            operator=str(e.get("operator", "")),
            values=tuple(map(str, e.get("values") or ())),
            is_field=is_field,
        )
        for name, is_field in (("matchExpressions", False), ("matchFields", True))
        for e in term.get(name) or ()
    ]
    return NodeTerm(requirements=tuple(found), weight=weight)


def required_node_terms(pod: Pod) -> tuple[NodeTerm, ...] | None:
    """Return the terms of which one must hold, None when the pod requires nothing."""
    affinity = _part(pod, "node_affinity").get("requiredDuringSchedulingIgnoredDuringExecution")
    if affinity is None:
        return None
    return tuple(node_term(term) for term in affinity.get("nodeSelectorTerms") or ())


def preferred_node_terms(pod: Pod) -> tuple[NodeTerm, ...]:
    """Return the terms that count for a node."""
    wishes = _part(pod, "node_affinity").get("preferredDuringSchedulingIgnoredDuringExecution")
    return tuple(
        node_term(w.get("preference") or {}, int(w.get("weight", 0))) for w in wishes or ()
    )


def required_pod_terms(pod: Pod, part: str) -> tuple[PodTerm, ...]:
    """Return the terms of `pod_affinity` or `pod_anti_affinity` that must hold."""
    found = _part(pod, part).get("requiredDuringSchedulingIgnoredDuringExecution")
    return tuple(_pod_term(pod, term, 0) for term in found or ())


def preferred_pod_terms(pod: Pod, part: str) -> tuple[PodTerm, ...]:
    """Return the terms of `pod_affinity` or `pod_anti_affinity` that count."""
    found = _part(pod, part).get("preferredDuringSchedulingIgnoredDuringExecution")
    return tuple(
        _pod_term(pod, wish.get("podAffinityTerm") or {}, int(wish.get("weight", 0)))
        for wish in found or ()
    )


def _part(pod: Pod, part: str) -> Mapping[str, Json]:
    value = getattr(pod.spec.affinity, part) if pod.spec.affinity is not None else None
    return value if isinstance(value, Mapping) else {}


def _pod_term(pod: Pod, term: Mapping[str, Json], weight: int) -> PodTerm:
    namespaces = frozenset(map(str, term.get("namespaces") or ()))
    among = term.get("namespaceSelector")
    if not namespaces and among is None:
        namespaces = frozenset({pod.metadata.namespace})
    return PodTerm(
        query=with_own_labels(
            _query(term.get("labelSelector")), pod, term.get("matchLabelKeys") or ()
        ),
        namespaces=namespaces,
        namespace_query=None if among is None else _query(among),
        topology_key=str(term.get("topologyKey", "")),
        weight=weight,
    )


def _query(selector: Json) -> LabelQuery:
    if selector is None:
        return selectors.NOTHING
    return selectors.from_label_selector(codec.decode(LabelSelector, selector))


def with_own_labels(query: LabelQuery, pod: Pod, keys: Sequence[str]) -> LabelQuery:
    """Narrow a query to pods that share the pod's own values of some labels (`matchLabelKeys`)."""
    shared = tuple(
        selectors.Requirement(key, selectors.Operator.EQUALS, frozenset({value}))
        for key in map(str, keys)
        if (value := pod.metadata.labels.get(key)) is not None
    )
    if query.nothing or not shared:
        return query
    return LabelQuery((*query.requirements, *shared))
