"""Which ReplicaSet carries which template of a Deployment, and under which revision (pure).

Source: kubernetes pkg/controller/deployment/util/deployment_util.go, pkg/controller/controller_utils.go ComputeHash.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import orjson

from netpod.api import codec
from netpod.api.apps import Deployment, ReplicaSet, ReplicaSetSpec
from netpod.api.meta import Json, LabelSelector, ObjectMeta
from netpod.api.pod import PodTemplateSpec
from netpod.controllers import controller, rollout

HASH = "pod-template-hash"
HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    rollout.REVISION,
    HISTORY,
    rollout.DESIRED,
    rollout.MAX,
    "deprecated.deployment.rollback.to",
}
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
_HISTORY_LIMIT = 2000


def _canonical(template: PodTemplateSpec) -> dict[str, Json]:
    """Return the template as plain values without the hash label."""
    labels = {k: v for k, v in template.metadata.labels.items() if k != HASH}
    return codec.encode(
        dataclasses.replace(
            template, metadata=dataclasses.replace(template.metadata, labels=labels)
        )
    )


def same_template(left: PodTemplateSpec, right: PodTemplateSpec) -> bool:
    """Tell whether two templates make the same pods, apart from the hash label."""
    return _canonical(left) == _canonical(right)


def template_hash(template: PodTemplateSpec, collision_count: int | None) -> str:
    """Return the value of pod-template-hash: FNV-1a, spelt without vowels so that it makes no words.

    Upstream hashes Go's print of the struct; ours hashes the template's JSON, so the value differs, its form not.
    """
    text = orjson.dumps(_canonical(template), option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        text += str(collision_count).encode()
    value = 2166136261
    for byte in text:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def find_new(deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """Return the ReplicaSet with the Deployment's template; the oldest if several have it."""
    oldest_first = sorted(sets, key=rollout.age)
    wanted = _canonical(deployment.spec.template)
    return next((rs for rs in oldest_first if _canonical(rs.spec.template) == wanted), None)


def new_annotations(
    deployment: Deployment, annotations: Mapping[str, str], revision: int
) -> dict[str, str]:
    """Return the new ReplicaSet's annotations: the Deployment's, the revision, and the ones it had before.

    A template that comes back (rollback) gets the next revision; the old one is kept in the history.
    """
    copied = {k: v for k, v in deployment.metadata.annotations.items() if k not in _NOT_COPIED}
    out = {**annotations, **copied}
    old = annotations.get(rollout.REVISION, "")
    if (int(old) if old.isdigit() else 0) < revision:
        out[rollout.REVISION] = str(revision)
        if old:
            past = [*filter(None, annotations.get(HISTORY, "").split(",")), old]
            while len(past) > 1 and len(",".join(past)) > _HISTORY_LIMIT:
                past.pop(0)
            out[HISTORY] = ",".join(past)
    return out


def size_annotations(deployment: Deployment) -> dict[str, str]:
    """Return the annotations that record for which number of replicas a ReplicaSet was sized."""
    wanted = rollout.replicas_of(deployment)
    return {
        rollout.DESIRED: str(wanted),
        rollout.MAX: str(wanted + rollout.bounds(deployment).surge),
    }


def new_replica_set(deployment: Deployment, size: int, revision: int) -> ReplicaSet:
    """Return the ReplicaSet for the Deployment's present template."""
    digest = template_hash(deployment.spec.template, deployment.status.collision_count)
    template = deployment.spec.template
    labels = {**template.metadata.labels, HASH: digest}
    selector = deployment.spec.selector or LabelSelector()
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name}-{digest}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations={
                **new_annotations(deployment, {}, revision),
                **size_annotations(deployment),
            },
            owner_references=(controller.controller_reference(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=size,
            min_ready_seconds=deployment.spec.min_ready_seconds,
            selector=dataclasses.replace(
                selector, match_labels={**selector.match_labels, HASH: digest}
            ),
            template=dataclasses.replace(
                template, metadata=dataclasses.replace(template.metadata, labels=labels)
            ),
        ),
    )


def surplus(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Return the old ReplicaSets beyond revisionHistoryLimit that have no pods and are settled, oldest first."""
    limit = deployment.spec.revision_history_limit
    alive = [rs for rs in old if not rs.metadata.deletion_timestamp]
    if limit is None or len(alive) <= limit:
        return []
    oldest_first = sorted(alive, key=lambda rs: (rollout.revision_of(rs), rollout.age(rs)))
    return [
        rs
        for rs in oldest_first[: len(alive) - limit]
        if rs.status.replicas == 0
        and rollout.replicas_of(rs) == 0
        and rs.metadata.generation <= rs.status.observed_generation
    ]
