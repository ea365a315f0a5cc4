"""Which pods a ReplicaSet deletes first, and what it counts (pure).

Source: kubernetes pkg/controller/controller_utils.go ActivePodsWithRanks,
pkg/controller/replicaset/replica_set_utils.go calculateStatus.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import overload

from netpod.api import meta
from netpod.api.apps import ReplicaSet, ReplicaSetStatus
from netpod.api.meta import Condition
from netpod.api.pod import Pod
from netpod.api.workloads import ReplicationController, ReplicationControllerStatus
from netpod.controllers import pods

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
BURST = 500
"""Most pods one pass creates or deletes. Source: replica_set.go BurstReplicas."""

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_order(candidates: Iterable[Pod], related: Iterable[Pod], now: datetime) -> list[Pod]:
    """Sort pods so that the first is deleted first.

    Unassigned before assigned; Pending, Unknown, Running; not ready before ready; lower
    controller.kubernetes.io/pod-deletion-cost; more related pods on the same node; ready for a shorter time;
    more restarts; younger. Times are compared by their order of magnitude, so that among pods of about the same
    age it is their uid that decides and no node is emptied by accident.

    Args:
        candidates: Active pods of the ReplicaSet.
        related: Active pods of all ReplicaSets with the same owner; they count for doubling up.
        now: Present moment.
    """
    crowd = Counter(pod.spec.node_name for pod in related if pod.spec.node_name)

    def rank(pod: Pod) -> tuple[object, ...]:
        ready = pods.is_ready(pod)
        return (
            bool(pod.spec.node_name),
            _PHASE_RANK.get(pod.status.phase, 0),
            ready,
            _deletion_cost(pod),
            -crowd[pod.spec.node_name] if pod.spec.node_name else 0,
            _magnitude(pods.ready_since(pod), now) if ready else 0,
            -max((status.restart_count for status in pod.status.container_statuses), default=0),
            _magnitude(pods.moment(pod.metadata.creation_timestamp), now),
            pod.metadata.uid,
        )

    return sorted(candidates, key=rank)


def _deletion_cost(pod: Pod) -> int:
    """Return the annotation's value; 0 when absent or not a 32-bit integer."""
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if -(2**31) <= cost < 2**31 else 0


def _magnitude(moment: datetime | None, now: datetime) -> int:
    """Return log2 of the age in nanoseconds: smaller is younger; unknown counts as youngest."""
    if moment is None:
        return -1
    age = (now - moment) / timedelta(microseconds=1) * 1000
    return int(math.log2(age)) if age >= 1 else -1


@overload
def status(
    replica_set: ReplicaSet, active: Sequence[Pod], failure: str, now: datetime
) -> ReplicaSetStatus: ...


@overload
def status(
    replica_set: ReplicationController, active: Sequence[Pod], failure: str, now: datetime
) -> ReplicationControllerStatus: ...


def status(
    replica_set: ReplicaSet | ReplicationController,
    active: Sequence[Pod],
    failure: str,
    now: datetime,
) -> ReplicaSetStatus | ReplicationControllerStatus:
    """Count the pods.

    Args:
        replica_set: Gives the template, minReadySeconds and the conditions so far.
        active: Its active pods.
        failure: Why pods could not be created or deleted, "" when they could.
        now: Present moment.
    """
    template = replica_set.spec.template
    template_labels = template.metadata.labels if template is not None else {}
    ready = [pod for pod in active if pods.is_ready(pod)]
    seconds = replica_set.spec.min_ready_seconds
    wanted = replica_set.spec.replicas if replica_set.spec.replicas is not None else 1
    conditions = replica_set.status.conditions
    known = meta.condition(conditions, "ReplicaFailure")
    if failure and known is None:
        conditions = (
            *conditions,
            Condition(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate" if len(active) < wanted else "FailedDelete",
                message=failure,
                last_transition_time=meta.timestamp(now),
            ),
        )
    elif not failure and known is not None:
        conditions = tuple(c for c in conditions if c.type != "ReplicaFailure")
    return dataclasses.replace(
        replica_set.status,
        replicas=len(active),
        fully_labeled_replicas=sum(
            _carries(pod.metadata.labels, template_labels) for pod in active
        ),
        ready_replicas=len(ready),
        available_replicas=sum(pods.is_available(pod, seconds, now) for pod in ready),
        observed_generation=replica_set.metadata.generation,
        conditions=conditions,
    )


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def next_available(active: Iterable[Pod], min_ready_seconds: int, now: datetime) -> float | None:
    """Return the seconds until the next ready pod becomes available, None when none will."""
    if min_ready_seconds == 0:
        return None
    waits = [
        (since + timedelta(seconds=min_ready_seconds) - now).total_seconds()
        for pod in active
        if (since := pods.ready_since(pod)) is not None
    ]
    return min((wait for wait in waits if wait > 0), default=None)


def batches(total: int, first: int = 1) -> list[int]:
    """Split `total` creations into batches that double: 1, 2, 4, ...

    Where the API refuses one pod (quota, admission), few requests are wasted to find out.
    Source: pkg/controller/replicaset slowStartBatch.
    """
    sizes = []
    size = first
    while total > 0:
        sizes.append(min(size, total))
        total -= sizes[-1]
        size *= 2
    return sizes
