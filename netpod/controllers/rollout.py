"""How a Deployment moves its replicas from old ReplicaSets to the new one, one safe step at a time (pure).

Source: kubernetes pkg/controller/deployment/rolling.go, sync.go, util/deployment_util.go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netpod.api.apps import Deployment, ReplicaSet
from netpod.api.meta import IntOrString

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One ReplicaSet and the size it is to get."""

    replica_set: ReplicaSet
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a rolling update may do: at most `surge` pods more, at most `unavailable` pods fewer."""

    surge: int
    unavailable: int


def replicas_of(obj: Deployment | ReplicaSet) -> int:
    """Return the number of pods wanted; 1 when not said."""
    return obj.spec.replicas if obj.spec.replicas is not None else 1


def revision_of(obj: Deployment | ReplicaSet) -> int:
    """Return the revision annotation, 0 when absent or not a number."""
    text = obj.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def age(replica_set: ReplicaSet) -> tuple[str, int, str]:
    """Sort key, oldest first; the revision decides within the same second."""
    about = replica_set.metadata
    return about.creation_timestamp, revision_of(replica_set), about.name


def bounds(deployment: Deployment) -> Bounds:
    """Resolve maxSurge (rounded up) and maxUnavailable (rounded down); both zero means one unavailable."""
    wanted = replicas_of(deployment)
    if deployment.spec.strategy.type == "Recreate":
        return Bounds(surge=0, unavailable=0)
    rolling = deployment.spec.strategy.rolling_update
    surge = rolling.max_surge if rolling and rolling.max_surge is not None else "25%"
    unavailable = (
        rolling.max_unavailable if rolling and rolling.max_unavailable is not None else "25%"
    )
    more = _resolve(surge, wanted, up=True)
    fewer = _resolve(unavailable, wanted, up=False)
    if more == 0 and fewer == 0:
        fewer = 1
    return Bounds(surge=more, unavailable=min(fewer, wanted))


def _resolve(value: IntOrString, total: int, *, up: bool) -> int:
    """Turn a number or a percentage of `total` into a number."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


def size_of_new(deployment: Deployment, new: ReplicaSet | None, everything: int) -> int:
    """Return the size the new ReplicaSet may have now.

    Args:
        deployment: Wants `replicas` pods.
        new: The new ReplicaSet as it is, None when it is about to be created.
        everything: Replicas of all ReplicaSets, the new one included.
    """
    wanted = replicas_of(deployment)
    if deployment.spec.strategy.type == "Recreate":
        return wanted
    current = replicas_of(new) if new is not None else 0
    room = wanted + bounds(deployment).surge - everything
    return current if room <= 0 else current + min(room, wanted - current)


def step(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> list[Scaling]:
    """Return the next step of a rolling update: grow the new one, or else shrink old ones.

    Pods that are not available go first; then as many available ones as maxUnavailable leaves room for.
    """
    wanted = replicas_of(deployment)
    everything = sum(map(replicas_of, [*old, new]))
    current = replicas_of(new)
    if current > wanted:
        return [Scaling(replica_set=new, size=wanted)]
    target = size_of_new(deployment, new, everything)
    if target != current:
        return [Scaling(replica_set=new, size=target)]
    return _shrink(deployment, new, old, everything)


def _shrink(
    deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet], everything: int
) -> list[Scaling]:
    floor = replicas_of(deployment) - bounds(deployment).unavailable
    not_yet = replicas_of(new) - new.status.available_replicas
    spare = everything - floor - not_yet
    if spare <= 0 or not any(map(replicas_of, old)):
        return []
    oldest_first = sorted(old, key=age)
    sizes = {rs.metadata.uid: replicas_of(rs) for rs in oldest_first}
    left = spare
    for rs in oldest_first:
        unhealthy = max(0, replicas_of(rs) - rs.status.available_replicas)
        gone = min(left, unhealthy)
        sizes[rs.metadata.uid] -= gone
        left -= gone
    left = sum(rs.status.available_replicas for rs in [*old, new]) - floor
    for rs in oldest_first:
        gone = max(0, min(left, sizes[rs.metadata.uid]))
        sizes[rs.metadata.uid] -= gone
        left -= gone
    return [
        Scaling(replica_set=rs, size=sizes[rs.metadata.uid])
        for rs in oldest_first
        if sizes[rs.metadata.uid] != replicas_of(rs)
    ]


def is_scaling(deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
    """Tell whether `replicas` changed since the ReplicaSets with pods were last sized."""
    wanted = str(replicas_of(deployment))
    return any(
        replicas_of(rs) > 0 and rs.metadata.annotations.get(DESIRED, wanted) != wanted
        for rs in sets
    )


def scale(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
) -> list[Scaling]:
    """Return sizes after `replicas` changed, or while paused, without moving the rollout on.

    One ReplicaSet with pods takes the change alone. When the new one is already whole, the old ones go. In the
    middle of a rolling update the change is shared in proportion, so that a bad version grows no risk.
    """
    wanted = replicas_of(deployment)
    everything = [*old, *([new] if new is not None else [])]
    active = [rs for rs in everything if replicas_of(rs) > 0]
    if len(active) <= 1:
        only = active[0] if active else new or _latest(old)
        if only is None or replicas_of(only) == wanted:
            return []
        return [Scaling(replica_set=only, size=wanted)]
    if new is not None and _is_whole(deployment, new):
        return [Scaling(replica_set=rs, size=0) for rs in old if replicas_of(rs) > 0]
    if deployment.spec.strategy.type == "Recreate":
        return []
    return _proportional(deployment, active)


def _latest(sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    return max(sets, key=age, default=None)


def _is_whole(deployment: Deployment, rs: ReplicaSet) -> bool:
    wanted = replicas_of(deployment)
    return (
        rs.metadata.annotations.get(DESIRED) == str(wanted)
        and replicas_of(rs) == wanted
        and rs.status.available_replicas == wanted
    )


def _proportional(deployment: Deployment, active: Sequence[ReplicaSet]) -> list[Scaling]:
    wanted = replicas_of(deployment)
    allowed = wanted + bounds(deployment).surge if wanted > 0 else 0
    to_add = allowed - sum(map(replicas_of, active))
    if to_add == 0:
        return []
    # The largest takes the rounding; among equals the newest grows and the oldest shrinks.
    by_age = sorted(active, key=age, reverse=to_add > 0)
    ordered = sorted(by_age, key=replicas_of, reverse=True)
    sizes = []
    added = 0
    for rs in ordered:
        share = _share(deployment, rs, allowed)
        left = to_add - added
        share = min(share, left) if to_add > 0 else max(share, left)
        sizes.append(replicas_of(rs) + share)
        added += share
    sizes[0] = max(0, sizes[0] + to_add - added)
    return [
        Scaling(replica_set=rs, size=size)
        for rs, size in zip(ordered, sizes, strict=True)
        if size != replicas_of(rs)
    ]


def _share(deployment: Deployment, rs: ReplicaSet, allowed: int) -> int:
    """Return by how much one ReplicaSet changes when the whole may now have `allowed` pods."""
    current = replicas_of(rs)
    if replicas_of(deployment) == 0:
        return -current
    before_text = rs.metadata.annotations.get(MAX, "")
    before = int(before_text) if before_text.isdigit() else deployment.status.replicas
    if before == 0:
        return 0
    return math.floor(current * allowed / before + 0.5) - current
