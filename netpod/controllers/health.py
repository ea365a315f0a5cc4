"""What a node's silence, conditions and taints mean (pure).

Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go,
pkg/controller/tainteviction/taint_eviction.go, pkg/util/taints, KEP-589 (heartbeats by Lease).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from netpod.api import meta, tolerations
from netpod.api.meta import Condition
from netpod.api.node import Node, NodeStatus, Taint
from netpod.api.pod import Pod
from netpod.controllers import pods

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
KUBELET_CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
_BY_CONDITION = {
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
}
_MANAGED_NO_SCHEDULE = {*_BY_CONDITION.values(), UNSCHEDULABLE}
_MANAGED_NO_EXECUTE = {NOT_READY, UNREACHABLE}


def readiness(node: Node) -> str:
    """Return condition Ready's status: "True", "False", "Unknown", or "" before the first report."""
    condition = meta.condition(node.status.conditions, "Ready")
    return condition.status if condition is not None else ""


def silent(status: NodeStatus, now: datetime) -> NodeStatus:
    """Return the status of a node whose kubelet stopped posting: what it reported is Unknown."""
    conditions = status.conditions
    for type_ in KUBELET_CONDITIONS:
        known = meta.condition(conditions, type_)
        if known is None:
            new = Condition(
                type=type_,
                status="Unknown",
                reason="NodeStatusNeverUpdated",
                message="Kubelet never posted node status.",
                last_transition_time=meta.timestamp(now),
            )
            conditions = (*conditions, new)
        elif known.status != "Unknown":
            new = dataclasses.replace(
                known,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                last_transition_time=meta.timestamp(now),
            )
            conditions = tuple(new if c.type == type_ else c for c in conditions)
    return dataclasses.replace(status, conditions=conditions)


def taints(node: Node, evict: bool, now: datetime) -> tuple[Taint, ...]:
    """Return the taints the node's conditions call for; those of others are left as they are.

    Args:
        node: As observed.
        evict: Whether a NoExecute taint may be put on now; one that is there and still right stays.
        now: Becomes `timeAdded` of new taints.
    """
    stamp = meta.timestamp(now)
    keys = [
        key
        for condition in node.status.conditions
        if (key := _BY_CONDITION.get((condition.type, condition.status)))
    ]
    wanted = [(key, "NoSchedule") for key in keys]
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    present = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    for key in keys:
        if key in _MANAGED_NO_EXECUTE and (evict or (key, "NoExecute") in present):
            wanted.append((key, "NoExecute"))
    kept = [t for t in node.spec.taints if not _is_managed(t) or (t.key, t.effect) in wanted]
    added = [
        Taint(key=key, effect=effect, time_added=stamp)
        for key, effect in wanted
        if (key, effect) not in present
    ]
    return (*kept, *added)


def _is_managed(taint: Taint) -> bool:
    if taint.effect == "NoSchedule":
        return taint.key in _MANAGED_NO_SCHEDULE
    return taint.effect == "NoExecute" and taint.key in _MANAGED_NO_EXECUTE


def needs_eviction_taint(node: Node) -> bool:
    """Tell whether the node is not ready and its pods are not yet told to go."""
    key = _BY_CONDITION.get(("Ready", readiness(node)))
    return key is not None and not any(
        t.key == key and t.effect == "NoExecute" for t in node.spec.taints
    )


def eviction_interval(states: Sequence[str], everything_down: bool) -> float | None:
    """Return the seconds between two nodes of a zone losing their pods, None for never.

    0.1 nodes per second; where more than two nodes and at least 55 % of a zone are unhealthy, 0.01 in zones of
    more than 50 nodes and none in smaller ones; and none at all while no node anywhere is healthy, for then it is
    most likely us who cannot see.

    Args:
        states: Readiness of each node of the zone.
        everything_down: Whether no node of any zone is ready.
    """
    if everything_down:
        return None
    ready = sum(state == "True" for state in states)
    unhealthy = len(states) - ready
    if ready > 0 and unhealthy > 2 and unhealthy / len(states) >= 0.55:
        return 100.0 if len(states) > 50 else None
    return 10.0


def eviction_time(pod: Pod, taints: Iterable[Taint], now: datetime) -> datetime | None:
    """Return when the NoExecute taints of its node end a pod, None when never.

    At once for a taint it does not tolerate; else when the shortest tolerationSeconds has run out since the taint
    was added.
    """
    ends: list[datetime] = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [t for t in pod.spec.tolerations if tolerations.tolerates(t, taint)]
        if not matching:
            return now
        seconds = [t.toleration_seconds for t in matching if t.toleration_seconds is not None]
        if seconds:
            since = pods.moment(taint.time_added) or now
            ends.append(since + timedelta(seconds=max(0, min(seconds))))
    return min(ends, default=None)
