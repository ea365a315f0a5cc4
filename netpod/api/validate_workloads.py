"""Rules for DaemonSet, StatefulSet, ControllerRevision, ReplicationController, and for storage kinds.

Source: pkg/apis/apps/validation, pkg/apis/core/validation, pkg/apis/storage/validation.
"""

import dataclasses
from fractions import Fraction

from netpod.api import (
    quantity,
    validate_apps,
    validate_meta,
    validate_names,
    validate_pod,
    validate_policy,
)
from netpod.api.pod import PodTemplateSpec, Volume
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.api.validate_errors import Errors, index
from netpod.api.workloads import (
    ControllerRevision,
    DaemonSet,
    PodTemplate,
    ReplicationController,
    StatefulSet,
    StatefulSetSpec,
)

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_UPDATABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)
_CLAIM_KEPT = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)


def daemon_set(errors: Errors, obj: DaemonSet) -> None:
    """Check a DaemonSet."""
    spec = obj.spec
    validate_apps.selector(errors, spec.selector, spec.template, "daemonset")
    validate_apps.template(errors, spec.template, "DaemonSet")
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    errors.non_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    path = "spec.updateStrategy"
    errors.supported(f"{path}.type", spec.update_strategy.type, ("OnDelete", "RollingUpdate"))
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
        validate_apps.template(errors, _with_claims(spec), "StatefulSet")


def _with_claims(spec: StatefulSetSpec) -> PodTemplateSpec:
    """Return the template as its pods will have it: the claims are volumes that may be mounted."""
    claims = [claim.metadata.name for claim in spec.volume_claim_templates]
    inner = spec.template.spec
    own = (volume for volume in inner.volumes if volume.name not in claims)
    added = (Volume(name=name, unknown={"emptyDir": {}}) for name in claims)
    return dataclasses.replace(
        spec.template, spec=dataclasses.replace(inner, volumes=(*own, *added))
    )


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
    validate_meta.labels(errors, spec.selector, "spec.selector")
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


def claim(errors: Errors, obj: PersistentVolumeClaim) -> None:
    """Check a PersistentVolumeClaim."""
    spec = obj.spec
    if not spec.access_modes:
        errors.required("spec.accessModes", "at least 1 access mode is required")
    for position, mode in enumerate(spec.access_modes):
        errors.supported(index("spec.accessModes", position), mode, ACCESS_MODES)
    if spec.selector is not None:
        validate_meta.label_selector(errors, spec.selector, "spec.selector")
    validate_policy.amounts(errors, spec.resources.requests, "spec.resources.requests")
    size = spec.resources.requests.get("storage")
    if size is None:
        errors.required("spec.resources[storage]")
    elif _is_zero(size):
        errors.invalid("spec.resources[storage]", str(size), "must be greater than zero")
    if spec.volume_mode:
        errors.supported("spec.volumeMode", spec.volume_mode, ("Block", "Filesystem"))
    if spec.storage_class_name:
        problems = validate_names.dns1123_subdomain(spec.storage_class_name)
        errors.each("spec.storageClassName", spec.storage_class_name, problems)


def _is_zero(size: int | str) -> bool:
    try:
        return quantity.parse(size) == 0
    except ValueError:
        return False


def _size(claim: PersistentVolumeClaim) -> Fraction:
    try:
        return quantity.parse(claim.spec.resources.requests.get("storage", 0))
    except ValueError:
        return Fraction(0)


def claim_update(errors: Errors, new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> None:
    """A claim stays as it is, but may be bound once, and may grow then."""
    bound = old.status.phase == "Bound"
    kept = dataclasses.replace(
        new.spec,
        resources=old.spec.resources if bound else new.spec.resources,
        volume_name=old.spec.volume_name or new.spec.volume_name,
        volume_attributes_class_name=old.spec.volume_attributes_class_name,
    )
    was = dataclasses.replace(old.spec, volume_name=old.spec.volume_name or new.spec.volume_name)
    if kept != was or (old.spec.volume_name and new.spec.volume_name != old.spec.volume_name):
        errors.forbidden("spec", _CLAIM_KEPT)
    elif _size(new) < _size(old):
        path = "spec.resources.requests.storage"
        errors.forbidden(path, "field can not be less than previous value")


def volume(errors: Errors, obj: PersistentVolume) -> None:
    """Check a PersistentVolume."""
    spec = obj.spec
    if not spec.access_modes:
        errors.required("spec.accessModes")
    for position, mode in enumerate(spec.access_modes):
        errors.supported(index("spec.accessModes", position), mode, ACCESS_MODES)
    if not spec.capacity:
        errors.required("spec.capacity")
    elif "storage" not in spec.capacity or len(spec.capacity) > 1:
        errors.supported("spec.capacity", next(iter(spec.capacity)), ("storage",))
    validate_policy.amounts(errors, spec.capacity, "spec.capacity")
    if not spec.unknown:
        errors.required("spec", "must specify a volume type")
    elif len(spec.unknown) > 1:
        second = sorted(spec.unknown)[1]
        errors.forbidden(f"spec.{second}", "may not specify more than 1 volume type")
    policies = ("Delete", "Recycle", "Retain")
    errors.supported(
        "spec.persistentVolumeReclaimPolicy", spec.persistent_volume_reclaim_policy, policies
    )


def volume_update(errors: Errors, new: PersistentVolume, old: PersistentVolume) -> None:
    """The storage behind a volume stays."""
    if dict(new.spec.unknown) != dict(old.spec.unknown):
        detail = "spec.persistentvolumesource is immutable after creation"
        errors.forbidden("spec.persistentvolumesource", detail)


def storage_class(errors: Errors, obj: StorageClass) -> None:
    """Check a StorageClass."""
    if not obj.provisioner:
        errors.required("provisioner")
    else:
        problems = validate_names.qualified_name(obj.provisioner.lower())
        errors.each("provisioner", obj.provisioner, problems)
    if obj.reclaim_policy:
        errors.supported("reclaimPolicy", obj.reclaim_policy, ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    errors.supported("volumeBindingMode", obj.volume_binding_mode or "", modes)


def storage_class_update(errors: Errors, new: StorageClass, old: StorageClass) -> None:
    """What a class makes stays."""
    if dict(new.parameters) != dict(old.parameters):
        errors.forbidden("parameters", "updates to parameters are forbidden.")
    if new.provisioner != old.provisioner:
        errors.forbidden("provisioner", "updates to provisioner are forbidden.")
    if new.reclaim_policy != old.reclaim_policy:
        errors.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
    errors.immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)
