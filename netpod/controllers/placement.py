"""May a pod be on a node, as far as node choice and taints go (pure).

The scheduler decides the same for real; controllers never import it, and need no more than this of it.

Source: k8s.io/component-helpers scheduling/corev1/nodeaffinity,
kubernetes pkg/controller/daemon NodeShouldRunDaemonPod.
"""

from collections.abc import Iterable, Mapping

from netpod.api import tolerations
from netpod.api.meta import Json
from netpod.api.node import Node, Taint
from netpod.api.pod import PodSpec, Toleration

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def fits_choice(spec: PodSpec, node: Node) -> bool:
    """Tell whether nodeSelector and required node affinity let the pod on the node."""
    labels = node.metadata.labels
    if any(labels.get(name) != value for name, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_holds(term, node) for term in required.get("nodeSelectorTerms") or ())


def _holds(term: Mapping[str, Json], node: Node) -> bool:
    expressions = [(e, False) for e in term.get("matchExpressions") or ()]
    expressions += [(e, True) for e in term.get("matchFields") or ()]
    return bool(expressions) and all(_meets(e, node, is_field=f) for e, f in expressions)


def _meets(expression: Mapping[str, Json], node: Node, *, is_field: bool) -> bool:
    key, values = expression.get("key", ""), list(expression.get("values") or ())
    if is_field:
        value = node.metadata.name if key == "metadata.name" else None
    else:
        value = node.metadata.labels.get(key)
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                left, right = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return left > right if operator == "Gt" else left < right
    return False


def untolerated(known: Iterable[Toleration], node: Node, effects: tuple[str, ...]) -> list[Taint]:
    """Return the node's taints of some effects that no toleration covers."""
    taints = list(node.spec.taints)
    if node.spec.unschedulable:
        taints.append(UNSCHEDULABLE)
    known = tuple(known)
    return [
        taint
        for taint in taints
        if taint.effect in effects and not tolerations.tolerated(known, taint)
    ]
