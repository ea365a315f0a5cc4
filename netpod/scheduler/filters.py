"""May the pod run there? Each filter answers with its reasons, none when it may (pure).

FILTERS is in upstream's order; the first filter that refuses a node is the one that is reported.

Source: kubernetes pkg/scheduler/framework/plugins/*.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netpod.api import hostports, tolerations
from netpod.api.node import Taint
from netpod.scheduler import state as counting
from netpod.scheduler import volumes
from netpod.scheduler.cache import Cache
from netpod.scheduler.model import NodeInfo, PodInfo
from netpod.scheduler.state import State

Reasons = tuple[str, ...]
Filter = Callable[[PodInfo, NodeInfo, State], Reasons]

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def node_unschedulable(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """A cordoned node takes only pods that tolerate it."""
    if node.node is None or not node.node.spec.unschedulable:
        return ()
    if tolerations.tolerated(pod.pod.spec.tolerations, UNSCHEDULABLE):
        return ()
    return ("node(s) were unschedulable",)


def taint_toleration(pod: PodInfo, node: NodeInfo, _: State) -> Reasons:
    """Every NoSchedule and NoExecute taint must be tolerated; a node that is not Ready has one."""
    for taint in node.taints:
        if taint.effect == "PreferNoSchedule" or tolerations.tolerated(
            pod.pod.spec.tolerations, taint
        ):
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
    if pod.ports and hostports.conflict(pod.ports, node.ports):
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


def volume_binding(_: PodInfo, node: NodeInfo, state: State) -> Reasons:
    """Every claim must be bound, or wait for its first consumer; its volume must be within reach."""
    if state.volumes.problem:
        return (state.volumes.problem,)
    if node.node is not None and not state.volumes.reach(node.node):
        return (volumes.CONFLICT,)
    return ()


FILTERS: tuple[tuple[str, Filter], ...] = (
    ("NodeUnschedulable", node_unschedulable),
    ("TaintToleration", taint_toleration),
    ("NodeAffinity", node_affinity),
    ("NodePorts", node_ports),
    ("NodeResourcesFit", node_resources_fit),
    ("VolumeBinding", volume_binding),
    ("PodTopologySpread", pod_topology_spread),
    ("InterPodAffinity", inter_pod_affinity),
)
"""Upstream's names of the plug-ins, and what they ask."""

_LASTING = frozenset(
    {
        "node(s) were unschedulable",
        "node(s) didn't match Pod's node affinity/selector",
        "node(s) didn't match pod topology spread constraints (missing required label)",
        "node(s) didn't match pod affinity rules",
        volumes.CONFLICT,
    }
)
"""What no eviction changes. Source: UnschedulableAndUnresolvable in each plug-in."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node was refused, and by which plug-in."""

    plugin: str
    reasons: Reasons

    @property
    def lasting(self) -> bool:
        """Whether evicting pods from the node would change nothing."""
        return self.plugin in ("TaintToleration", "VolumeBinding") or any(
            reason in _LASTING for reason in self.reasons
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the filters say about a pod.

    Attributes:
        fits: The nodes it may run on.
        refused: Why not the others, by name.
        state: The counts made for it.
        total: Nodes asked.
    """

    fits: list[NodeInfo]
    refused: dict[str, Refusal]
    state: State
    total: int

    def message(self) -> str:
        """Say why no node fits: `0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.`.

        Source: pkg/scheduler/framework/types.go FitError.Error.
        """
        if self.total == 0:
            return "0/0 nodes are available: no nodes available to schedule pods."
        if self.state.volumes.problem:
            # Asked before any node is, and so said once.
            return f"0/{self.total} nodes are available: {self.state.volumes.problem}."
        return f"0/{self.total} nodes are available: {reasons_text(self.refused.values())}."


def reasons_text(refusals: Iterable[Refusal]) -> str:
    """Count nodes by reason: `1 Too many pods, 2 Insufficient cpu`."""
    against = Counter(reason for refusal in refusals for reason in refusal.reasons)
    return ", ".join(sorted(f"{count} {reason}" for reason, count in against.items()))


def refusal(pod: PodInfo, node: NodeInfo, state: State) -> Refusal | None:
    """Ask every filter about a node; return the first that refuses it, None when it fits."""
    for plugin, check in FILTERS:
        if reasons := check(pod, node, state):
            return Refusal(plugin, reasons)
    return None


def feasible(pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache) -> Outcome:
    """Ask every filter about every node; a node must fit with and without the pods nominated for it."""
    state = counting.prepare(pod, nodes, cache)
    guests = cache.guests(pod)
    crowded: dict[str, NodeInfo] = {}
    crowded_state = state
    if guests:
        crowded = {n.name: n.changed(with_=guests[n.name]) for n in nodes if n.name in guests}
        coming = [(info, n) for n in crowded.values() for info in guests[n.name]]
        all_nodes = [crowded.get(n.name, n) for n in nodes]
        crowded_state = counting.prepare(pod, all_nodes, cache, guests=coming)
    fits: list[NodeInfo] = []
    refused: dict[str, Refusal] = {}
    for node in nodes:
        against = None
        if node.name in crowded:
            against = refusal(pod, crowded[node.name], crowded_state)
        against = against or refusal(pod, node, state)
        if against is None:
            fits.append(node)
        else:
            refused[node.name] = against
    return Outcome(fits=fits, refused=refused, state=state, total=len(nodes))
