"""May the pod run there? Each filter answers with its reasons, none when it may (pure).

FILTERS is in upstream's order; the first filter that refuses a node is the one that is reported.

Source: kubernetes pkg/scheduler/framework/plugins/*.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from netpod.api.node import Taint
from netpod.api.pod import Toleration
from netpod.scheduler import model
from netpod.scheduler import state as counting
from netpod.scheduler.cache import Cache
from netpod.scheduler.model import NodeInfo, PodInfo
from netpod.scheduler.state import State

Reasons = tuple[str, ...]
Filter = Callable[[PodInfo, NodeInfo, State], Reasons]

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Tell whether a toleration covers a taint.

    Source: k8s.io/component-helpers scheduling/corev1, Toleration.ToleratesTaint.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def tolerated(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Tell whether any toleration covers a taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)


def node_unschedulable(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """A cordoned node takes only pods that tolerate it."""
    if node.node is None or not node.node.spec.unschedulable:
        return ()
    if tolerated(pod.pod.spec.tolerations, UNSCHEDULABLE):
        return ()
    return ("node(s) were unschedulable",)


def taint_toleration(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """Every NoSchedule and NoExecute taint must be tolerated; a node that is not Ready has one."""
    for taint in node.taints:
        if taint.effect == "PreferNoSchedule" or tolerated(pod.pod.spec.tolerations, taint):
            continue
        return (f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}",)
    return ()


def node_affinity(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """The node must have the nodeSelector's labels and meet one required term."""
    if node.node is not None and counting.fits_node_choice(pod, node.node):
        return ()
    return ("node(s) didn't match Pod's node affinity/selector",)


def node_ports(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """A host port can be had once per node, protocol and address."""
    if pod.ports and model.conflict(pod.ports, node.ports):
        return ("node(s) didn't have free ports for the requested pod ports",)
    return ()


def node_resources_fit(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """There must be room for one more pod and for each resource it requests."""
    reasons = []
    if len(node.pods) + 1 > node.allocatable.get("pods", 0):
        reasons.append("Too many pods")
    for name, wanted in pod.requests.items():
        if wanted > node.allocatable.get(name, 0) - node.requested[name]:
            reasons.append(f"Insufficient {name}")
    return tuple(reasons)


def pod_topology_spread(pod: PodInfo, node: NodeInfo, state: State) -> Reasons:
    """No DoNotSchedule constraint may become more uneven than its maxSkew."""
    for count in state.hard:
        value = node.label(count.spread.key)
        if value is None:
            return (
                "node(s) didn't match pod topology spread constraints (missing required label)",
            )
        after = count.domains.get(value, 0) + count.spread.counts_itself
        if after - count.least > count.spread.max_skew:
            return ("node(s) didn't match pod topology spread constraints",)
    return ()


def inter_pod_affinity(pod: PodInfo, node: NodeInfo, state: State) -> Reasons:
    """Required affinity and anti-affinity, of this pod and of those already there."""
    if pod.near and not _is_near(pod, node, state):
        return ("node(s) didn't match pod affinity rules",)
    for term in pod.far:
        value = node.label(term.topology_key)
        if value is not None and state.far[(term.topology_key, value)] > 0:
            return ("node(s) didn't match pod anti-affinity rules",)
    if any(node.label(key) == value for key, value in state.repelled):
        return ("node(s) didn't satisfy existing pods anti-affinity rules",)
    return ()


def _is_near(pod: PodInfo, node: NodeInfo, state: State) -> bool:
    domains = [(term.topology_key, node.label(term.topology_key)) for term in pod.near]
    if any(value is None for _, value in domains):
        return False
    if all(state.near[(key, value)] > 0 for key, value in domains if value is not None):
        return True
    # The first of a group that wants to be together has nobody to join.
    return not state.near and state.near_itself


FILTERS: tuple[Filter, ...] = (
    node_unschedulable,
    taint_toleration,
    node_affinity,
    node_ports,
    node_resources_fit,
    pod_topology_spread,
    inter_pod_affinity,
)


def feasible(
    pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache
) -> tuple[list[NodeInfo], State, Counter[str]]:
    """Ask every filter about every node.

    Returns:
        The nodes the pod may run on, the counts made for it, and how many nodes gave each reason against.
    """
    state = counting.prepare(pod, nodes, cache)
    fits = []
    against: Counter[str] = Counter()
    for node in nodes:
        for check in FILTERS:
            reasons = check(pod, node, state)
            if reasons:
                against.update(reasons)
                break
        else:
            fits.append(node)
    return fits, state, against


def message(against: Counter[str], total: int) -> str:
    """Say why no node fits: `0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.`.

    Source: pkg/scheduler/framework/types.go FitError.Error.
    """
    if total == 0:
        return "0/0 nodes are available: no nodes available to schedule pods."
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in against.items()))
    return f"0/{total} nodes are available: {reasons}."
