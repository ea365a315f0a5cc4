"""Rules for DaemonSet, StatefulSet, ControllerRevision, ReplicationController and PodTemplate.

Source: pkg/apis/apps/validation, pkg/apis/core/validation.
"""

import dataclasses

from netpod.api import shapes, validate_apps, validate_meta, validate_pod
from netpod.api.validate_errors import Errors
from netpod.api.workloads import (
    ControllerRevision,
    DaemonSet,
    PodTemplate,
    ReplicationController,
    StatefulSet,
    StatefulSetSpec,
)

_UPDATABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def daemon_set(errors: Errors, obj: DaemonSet) -> None:
    """Check a DaemonSet."""
    spec = obj.spec
    validate_apps.selector(errors, spec.selector, spec.template, "daemonset")
    validate_apps.template(errors, spec.template, "DaemonSet")
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    errors.non_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    path = "spec.updateStrategy"
    if spec.update_strategy.type not in ("RollingUpdate", "OnDelete"):
        errors.refuse(path, spec.update_strategy, ("RollingUpdate", "OnDelete"))
    bounds = spec.update_strategy.rolling_update
    if spec.update_strategy.type != "RollingUpdate" or bounds is None:
        return
    path = f"{path}.rollingUpdate"
    for name, value in (
        ("maxUnavailable", bounds.max_unavailable),
        ("maxSurge", bounds.max_surge),
    ):
        validate_apps.number_or_percent(errors, value, f"{path}.{name}")
        if value is not None:
            validate_apps.at_most_all(errors, value, f"{path}.{name}")
    none = validate_apps.is_zero
    if none(bounds.max_unavailable) and none(bounds.max_surge):
        errors.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif not none(bounds.max_unavailable) and not none(bounds.max_surge):
        detail = "may not be set when maxUnavailable is non-zero"
        errors.invalid(f"{path}.maxSurge", bounds.max_surge, detail)


def daemon_set_update(errors: Errors, new: DaemonSet, old: DaemonSet) -> None:
    """The selector stays."""
    errors.immutable("spec.selector", new.spec.selector, old.spec.selector)


def stateful_set(errors: Errors, obj: StatefulSet) -> None:
    """Check a StatefulSet."""
    spec = obj.spec
    if spec.pod_management_policy:
        policies = ("OrderedReady", "Parallel")
        if spec.pod_management_policy not in policies:
            detail = "must be 'OrderedReady' or 'Parallel'"
            errors.invalid("spec.podManagementPolicy", spec.pod_management_policy, detail)
    else:
        errors.required("spec.podManagementPolicy")
    strategy = spec.update_strategy
    if not strategy.type:
        errors.required("spec.updateStrategy")
    elif strategy.type not in ("OnDelete", "RollingUpdate"):
        detail = "must be 'RollingUpdate' or 'OnDelete'"
        errors.invalid("spec.updateStrategy", strategy, detail)
    elif strategy.type == "OnDelete" and strategy.rolling_update is not None:
        detail = f"only allowed for updateStrategy '{'RollingUpdate'}'"
        errors.invalid("spec.updateStrategy.rollingUpdate", strategy.rolling_update, detail)
    elif strategy.rolling_update is not None:
        path = "spec.updateStrategy.rollingUpdate.partition"
        errors.non_negative(path, strategy.rolling_update.partition)
    retention = spec.persistent_volume_claim_retention_policy
    if retention is not None:
        path = "spec.persistentVolumeClaimRetentionPolicy"
        for name, value in (
            ("whenDeleted", retention.when_deleted),
            ("whenScaled", retention.when_scaled),
        ):
            errors.supported(f"{path}.{name}", value, ("Delete", "Retain"))
    errors.non_negative("spec.replicas", spec.replicas)
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    if spec.ordinals is not None:
        errors.non_negative("spec.ordinals.start", spec.ordinals.start)
    if validate_apps.selector(errors, spec.selector, spec.template, "statefulset"):
        _stateful_template(errors, spec)
    _claims(errors, spec)


def _claims(errors: Errors, spec: StatefulSetSpec) -> None:
    """Only the types of claims are looked at, as upstream: the claims are when they are made."""
    for position, claim in enumerate(spec.volume_claim_templates):
        path = f"spec.volumeClaimTemplates[{position}].spec.resources.requests"
        shapes.is_shaped(errors, claim.spec.resources.requests, {"*": shapes.QUANTITY}, path)


def _stateful_template(errors: Errors, spec: StatefulSetSpec) -> None:
    """Check what upstream does of a template whose volumes are still to come; its pods are checked as they are made."""
    path = "spec.template"
    validate_meta.template_metadata(errors, spec.template.metadata, path)
    validate_pod.is_shaped(errors, spec.template.spec, f"{path}.spec")
    if spec.template.spec.restart_policy != "Always":
        policy = spec.template.spec.restart_policy
        errors.refuse(f"{path}.spec.restartPolicy", policy, ("Always",))
    if spec.template.spec.active_deadline_seconds is not None:
        detail = "activeDeadlineSeconds in StatefulSet is not Supported"
        errors.forbidden(f"{path}.spec.activeDeadlineSeconds", detail)


def stateful_set_update(errors: Errors, new: StatefulSet, old: StatefulSet) -> None:
    """Only size, template and how to update may change."""
    may_change = (
        "replicas",
        "template",
        "update_strategy",
        "min_ready_seconds",
        "ordinals",
        "revision_history_limit",
        "persistent_volume_claim_retention_policy",
    )
    kept = {name: getattr(old.spec, name) for name in may_change}
    if dataclasses.replace(new.spec, **kept) != old.spec:
        errors.forbidden("spec", _UPDATABLE)


def revision(errors: Errors, obj: ControllerRevision) -> None:
    """Check a ControllerRevision."""
    if obj.data is None:
        errors.required("data", "data is mandatory")
    errors.non_negative("revision", obj.revision)


def revision_update(errors: Errors, new: ControllerRevision, old: ControllerRevision) -> None:
    """A revision is what was."""
    errors.immutable("data", new.data, old.data)


def replication_controller(errors: Errors, obj: ReplicationController) -> None:
    """Check a ReplicationController."""
    spec = obj.spec
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    if not spec.selector:
        errors.required("spec.selector")
    errors.non_negative("spec.replicas", spec.replicas)
    if spec.template is None:
        errors.required("spec.template")
        return
    labels = spec.template.metadata.labels
    if spec.selector and any(labels.get(key) != value for key, value in spec.selector.items()):
        detail = "`selector` does not match template `labels`"
        errors.invalid("spec.template.metadata.labels", dict(labels), detail)
    validate_apps.template(errors, spec.template, "ReplicationController")


def pod_template(errors: Errors, obj: PodTemplate) -> None:
    """Check a PodTemplate."""
    validate_meta.template_metadata(errors, obj.template.metadata, "template")
    validate_pod.pod_spec(errors, obj.template.spec, "template.spec")
