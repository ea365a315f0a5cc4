"""A Deployment's status: counts, Available, Progressing and the deadline (pure).

Source: kubernetes pkg/controller/deployment/progress.go, sync.go calculateStatus.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

from netpod.api import meta
from netpod.api.apps import Deployment, DeploymentStatus, ReplicaSet
from netpod.api.meta import Condition
from netpod.controllers import pods, rollout

NO_DEADLINE = 2**31 - 1
COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def has_deadline(deployment: Deployment) -> bool:
    """Tell whether a rollout without progress is to be reported."""
    return deployment.spec.progress_deadline_seconds not in (None, NO_DEADLINE)


def set_condition(
    conditions: tuple[Condition, ...], new: Condition, now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions with `new` in place of the one of its type.

    Same status and reason: nothing changes, not even the message. Same status: the transition time stays.
    """
    old = meta.condition(conditions, new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return conditions
    return _replace(conditions, new, now)


def _replace(
    conditions: tuple[Condition, ...], new: Condition, now: datetime
) -> tuple[Condition, ...]:
    old = meta.condition(conditions, new.type)
    stamp = meta.timestamp(now)
    same = old is not None and old.status == new.status
    transition = old.last_transition_time if old is not None and same else stamp
    new = dataclasses.replace(new, last_update_time=stamp, last_transition_time=transition)
    return (*(c for c in conditions if c.type != new.type), new)


def progressing(status: str, reason: str, message: str) -> Condition:
    """Return a Progressing condition without times."""
    return Condition(type="Progressing", status=status, reason=reason, message=message)


def counts(
    deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet], now: datetime
) -> DeploymentStatus:
    """Sum up the ReplicaSets and judge minimum availability."""
    replicas = sum(rs.status.replicas for rs in sets)
    available = sum(rs.status.available_replicas for rs in sets)
    floor = rollout.replicas_of(deployment) - rollout.bounds(deployment).unavailable
    if available >= floor:
        verdict = Condition(
            type="Available",
            status="True",
            reason="MinimumReplicasAvailable",
            message="Deployment has minimum availability.",
        )
    else:
        verdict = Condition(
            type="Available",
            status="False",
            reason="MinimumReplicasUnavailable",
            message="Deployment does not have minimum availability.",
        )
    return dataclasses.replace(
        deployment.status,
        observed_generation=deployment.metadata.generation,
        replicas=replicas,
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(rs.status.ready_replicas for rs in sets),
        available_replicas=available,
        unavailable_replicas=max(0, sum(map(rollout.replicas_of, sets)) - available),
        conditions=set_condition(deployment.status.conditions, verdict, now),
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Tell whether all pods are of the new template and available, and none of an old one is left."""
    wanted = rollout.replicas_of(deployment)
    return (
        status.updated_replicas == status.replicas == status.available_replicas == wanted
        and status.observed_generation >= deployment.metadata.generation
    )


def _has_moved(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    return (
        after.updated_replicas > before.updated_replicas
        or after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def deadline(deployment: Deployment, conditions: tuple[Condition, ...]) -> datetime | None:
    """Return when a rollout that does not move will be reported, None when never."""
    known = meta.condition(conditions, "Progressing")
    seconds = deployment.spec.progress_deadline_seconds
    if not has_deadline(deployment) or seconds is None or known is None:
        return None
    since = pods.moment(known.last_update_time)
    if known.reason in (COMPLETE, TIMED_OUT) or since is None:
        return None
    return since + timedelta(seconds=seconds)


def rollout_status(
    deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet], now: datetime
) -> DeploymentStatus:
    """Return the status while a rollout is under way, or done."""
    before = deployment.status
    status = counts(deployment, new, sets, now)
    conditions = status.conditions
    known = meta.condition(before.conditions, "Progressing")
    subject = (
        f'ReplicaSet "{new.metadata.name}"'
        if new is not None
        else f'Deployment "{deployment.metadata.name}"'
    )
    if not has_deadline(deployment):
        conditions = tuple(c for c in conditions if c.type != "Progressing")
    elif not (
        status.replicas == status.updated_replicas
        and known is not None
        and known.reason == COMPLETE
    ):
        limit = deadline(deployment, before.conditions)
        if is_complete(deployment, status):
            done = progressing("True", COMPLETE, f"{subject} has successfully progressed.")
            conditions = set_condition(conditions, done, now)
        elif _has_moved(before, status):
            moved = progressing("True", "ReplicaSetUpdated", f"{subject} is progressing.")
            conditions = _replace(conditions, moved, now)
        elif limit is not None and limit < now:
            late = progressing("False", TIMED_OUT, f"{subject} has timed out progressing.")
            conditions = set_condition(conditions, late, now)
    failures = [
        c
        for rs in sorted(sets, key=lambda rs: rs is not new)
        for c in rs.status.conditions
        if c.type == "ReplicaFailure"
    ]
    if failures:
        failure = Condition(
            type="ReplicaFailure",
            status=failures[0].status,
            reason=failures[0].reason,
            message=failures[0].message,
        )
        conditions = set_condition(conditions, failure, now)
    else:
        conditions = tuple(c for c in conditions if c.type != "ReplicaFailure")
    return dataclasses.replace(status, conditions=conditions)


def pause_condition(deployment: Deployment) -> Condition | None:
    """Return the Progressing condition that pausing or resuming calls for, None when nothing changed.

    While paused the deadline does not run.
    """
    known = meta.condition(deployment.status.conditions, "Progressing")
    if not has_deadline(deployment) or (known is not None and known.reason == TIMED_OUT):
        return None
    was_paused = known is not None and known.reason == PAUSED
    if deployment.spec.paused and not was_paused:
        return progressing("Unknown", PAUSED, "Deployment is paused")
    if not deployment.spec.paused and was_paused:
        return progressing("Unknown", "DeploymentResumed", "Deployment is resumed")
    return None
