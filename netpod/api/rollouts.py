"""Rollouts of Deployments, DaemonSets and StatefulSets, as a command line asks and changes them (pure).

Objects are JSON values here. The sentences are kubectl's.

Source: k8s.io/kubectl pkg/polymorphichelpers rollout_status.go, history.go, rollback.go, objectrestarter.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.errors import NetpodError, NotFound, UsageError

Manifest = Mapping[str, Any]

KINDS = ("Deployment", "DaemonSet", "StatefulSet")
REVISION = "deployment.kubernetes.io/revision"
CAUSE = "kubernetes.io/change-cause"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
_NOT_ROLLED_BACK = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One state of a template: its number, why it came, and the patch that brings it back."""

    number: int
    cause: str
    template: Manifest
    patch: Any
    content_type: str


def _condition(obj: Manifest, type_: str) -> Manifest:
    found = (c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == type_)
    return next(found, {})


def status(obj: Manifest) -> tuple[str, bool]:
    """Say how far a rollout is, and whether it is at its end.

    Raises:
        NetpodError: it has failed, or nobody rolls it out.
    """
    kind, spec, state = obj["kind"], obj["spec"], obj.get("status", {})
    if state.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        what = "deployment" if kind == "Deployment" else f"{_word(kind)}"
        return f"Waiting for {what} spec update to be observed...", False
    if kind == "Deployment":
        return _deployment(obj, spec, state)
    if spec.get("updateStrategy", {}).get("type") != "RollingUpdate":
        raise NetpodError("rollout status is only available for RollingUpdate strategy type")
    if kind == "DaemonSet":
        return _daemon_set(obj, state)
    return _stateful_set(spec, state)


def _word(kind: str) -> str:
    return {"DaemonSet": "daemon set", "StatefulSet": "statefulset"}[kind]


def _deployment(obj: Manifest, spec: Manifest, state: Manifest) -> tuple[str, bool]:
    name = obj["metadata"]["name"]
    if _condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        raise NetpodError(f'deployment "{name}" exceeded its progress deadline')
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    wanted = spec.get("replicas", 1)
    updated, there = state.get("updatedReplicas", 0), state.get("replicas", 0)
    available = state.get("availableReplicas", 0)
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated...", False
    if there > updated:
        return f"{waiting}{there - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting}{available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _daemon_set(obj: Manifest, state: Manifest) -> tuple[str, bool]:
    name = obj["metadata"]["name"]
    waiting = f'Waiting for daemon set "{name}" rollout to finish: '
    wanted = state.get("desiredNumberScheduled", 0)
    updated, available = state.get("updatedNumberScheduled", 0), state.get("numberAvailable", 0)
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new pods have been updated...", False
    if available < wanted:
        return f"{waiting}{available} of {wanted} updated pods are available...", False
    return f'daemon set "{name}" successfully rolled out', True


def _stateful_set(spec: Manifest, state: Manifest) -> tuple[str, bool]:
    wanted, ready = spec.get("replicas", 1), state.get("readyReplicas", 0)
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    updated = state.get("updatedReplicas", 0)
    partition = (spec["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
    if partition:
        if updated < wanted - partition:
            return (
                f"Waiting for partitioned roll out to finish: {updated} out of "
                f"{wanted - partition} new pods have been updated...",
                False,
            )
        return f"partitioned roll out complete: {updated} new pods have been updated...", True
    revision = state.get("updateRevision", "")
    if revision != state.get("currentRevision"):
        return (
            f"waiting for statefulset rolling update to complete {updated} pods at revision "
            f"{revision}...",
            False,
        )
    return (
        f"statefulset rolling update complete {state.get('currentReplicas', 0)} pods at revision "
        f"{revision}...",
        True,
    )


def history(obj: Manifest, kept: Sequence[Manifest]) -> list[Revision]:
    """Return the revisions of an object, oldest first.

    Args:
        obj: Deployment, DaemonSet or StatefulSet.
        kept: ReplicaSets of its namespace for a Deployment, else ControllerRevisions.
    """
    uid = obj["metadata"]["uid"]
    owned = [k for k in kept if any(_is_owner(r, uid) for r in _owners(k))]
    make = _of_set if obj["kind"] == "Deployment" else _of_revision
    found = [revision for item in owned if (revision := make(obj, item)).number > 0]
    return sorted(found, key=lambda r: r.number)


def _owners(obj: Manifest) -> Sequence[Manifest]:
    return obj["metadata"].get("ownerReferences") or ()


def _is_owner(reference: Manifest, uid: str) -> bool:
    return bool(reference.get("controller")) and reference["uid"] == uid


def _of_set(deployment: Manifest, replica_set: Manifest) -> Revision:
    notes = replica_set["metadata"].get("annotations") or {}
    text = notes.get(REVISION, "")
    template = replica_set["spec"]["template"]
    about = dict(template.get("metadata") or {})
    about["labels"] = {
        name: value
        for name, value in (about.get("labels") or {}).items()
        if name != "pod-template-hash"
    }
    template = {**template, "metadata": about}
    own = deployment["metadata"].get("annotations") or {}
    annotations = {k: v for k, v in own.items() if k in _NOT_ROLLED_BACK}
    annotations |= {k: v for k, v in notes.items() if k not in _NOT_ROLLED_BACK}
    patch = [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]
    return Revision(
        number=int(text) if text.isdigit() else 0,
        cause=notes.get(CAUSE, "<none>"),
        template=template,
        patch=patch,
        content_type="application/json-patch+json",
    )


def _of_revision(_: Manifest, revision: Manifest) -> Revision:
    notes = revision["metadata"].get("annotations") or {}
    data = revision.get("data") or {}
    template = dict(data.get("spec", {}).get("template", {}))
    template.pop("$patch", None)
    return Revision(
        number=int(revision.get("revision", 0)),
        cause=notes.get(CAUSE, "<none>"),
        template=template,
        patch=data,
        content_type="application/strategic-merge-patch+json",
    )


def revision(found: Sequence[Revision], number: int) -> Revision:
    """Return one revision.

    Raises:
        NotFound: there is none of that number.
    """
    for item in found:
        if item.number == number:
            return item
    raise NotFound(f"unable to find the specified revision {number} in history")


def to_undo(obj: Manifest, found: Sequence[Revision], number: int) -> Revision:
    """Return the revision that an undo goes to; `number` 0 is the one before the present.

    Raises:
        NetpodError: there is no earlier one, or the Deployment is paused.
        NotFound: there is none of that number.
    """
    if obj["spec"].get("paused"):
        raise NetpodError(
            "you cannot rollback a paused deployment; resume it first with 'rollout resume' and try again"
        )
    if number:
        return revision(found, number)
    if len(found) < 2:
        raise NetpodError(f"no rollout history found for {obj['kind'].lower()}")
    return found[-2]


def restart(obj: Manifest, stamp: str) -> dict[str, Any]:
    """Return the merge patch that replaces all pods.

    Raises:
        NetpodError: the Deployment is paused.
    """
    if obj["spec"].get("paused"):
        raise NetpodError("can't restart paused deployment (run rollout resume first)")
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED: stamp}}}}}


def pause(obj: Manifest, *, paused: bool) -> dict[str, Any]:
    """Return the merge patch that pauses or resumes a Deployment.

    Raises:
        UsageError: it is so already, or is no Deployment.
    """
    verb = "pausing" if paused else "resuming"
    if obj["kind"] != "Deployment":
        raise UsageError(f"{obj['kind'].lower()}s do not support {verb}")
    if bool(obj["spec"].get("paused")) == paused:
        raise UsageError("is already paused" if paused else "is not paused")
    return {"spec": {"paused": paused}}
