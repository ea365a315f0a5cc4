"""Rules for PersistentVolumes, their claims and StorageClasses.

Source: pkg/apis/core/validation, pkg/apis/storage/validation.
"""

import dataclasses
from fractions import Fraction

from netpod.api import (
    quantity,
    shapes,
    shapes_pod,
    validate_affinity,
    validate_meta,
    validate_names,
    validate_volume,
)
from netpod.api.meta import IntOrString
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.api.validate_errors import IMMUTABLE, NON_NEGATIVE, Errors

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_CLAIM_KEPT = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)


def claim(errors: Errors, obj: PersistentVolumeClaim) -> None:
    """Check a PersistentVolumeClaim."""
    spec = obj.spec
    if not spec.access_modes:
        errors.required("spec.accessModes", "at least 1 access mode is required")
    for mode in spec.access_modes:
        errors.supported("spec.accessModes", mode, ACCESS_MODES)
    if spec.selector is not None:
        validate_meta.label_selector(errors, spec.selector, "spec.selector")
    requests = {"*": shapes.QUANTITY}
    if not shapes.is_shaped(errors, spec.resources.requests, requests, "spec.resources.requests"):
        return
    size = spec.resources.requests.get("storage")
    if size is None:
        errors.required("spec.resources[storage]")
    else:
        _positive(errors, size, "spec.resources[storage]")
    if spec.volume_mode is not None:
        errors.supported("spec.volumeMode", spec.volume_mode, VOLUME_MODES)
    if spec.storage_class_name:
        problems = validate_names.dns1123_subdomain(spec.storage_class_name)
        errors.each("spec.storageClassName", spec.storage_class_name, problems)


def _positive(errors: Errors, size: IntOrString, path: str) -> None:
    if quantity.parse(size) <= 0:
        errors.invalid(path, str(size), "must be greater than zero")


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
    for mode in spec.access_modes:
        errors.supported("spec.accessModes", mode, ACCESS_MODES)
    if not spec.capacity:
        errors.required("spec.capacity")
    if "storage" not in spec.capacity or len(spec.capacity) > 1:
        errors.supported("spec.capacity", next(iter(spec.capacity), ""), ("storage",))
    amounts = shapes.is_shaped(errors, spec.capacity, {"*": shapes.QUANTITY}, "spec.capacity")
    affinity: shapes.Shape = {"required": shapes_pod.NODE_SELECTOR}
    if not amounts or not shapes.is_shaped(
        errors, spec.node_affinity, affinity, "spec.nodeAffinity"
    ):
        return
    for name, amount in spec.capacity.items():
        at = f"spec.capacity[{name}]"
        if quantity.parse(amount) < 0:
            errors.invalid(at, amount, NON_NEGATIVE)
        _positive(errors, amount, at)
    _sources(errors, obj)
    if spec.node_affinity is not None:
        required = spec.node_affinity.get("required")
        if required is None:
            errors.required("spec.nodeAffinity.required", "must specify required node constraints")
        else:
            validate_affinity.node_selector(errors, required, "spec.nodeAffinity.required")
    policies = ("Delete", "Recycle", "Retain")
    errors.supported(
        "spec.persistentVolumeReclaimPolicy", spec.persistent_volume_reclaim_policy, policies
    )
    if spec.storage_class_name:
        problems = validate_names.dns1123_subdomain(spec.storage_class_name)
        errors.each("spec.storageClassName", spec.storage_class_name, problems)
    if spec.volume_mode is not None:
        errors.supported("spec.volumeMode", spec.volume_mode, VOLUME_MODES)


def _sources(errors: Errors, obj: PersistentVolume) -> None:
    sources = {name: source for name, source in obj.spec.unknown.items() if source is not None}
    if not sources:
        errors.required("spec", "must specify a volume type")
    for position, (name, source) in enumerate(sources.items()):
        path = f"spec.{name}"
        if position:
            errors.forbidden(path, "may not specify more than 1 volume type")
        elif name == "hostPath":
            if shapes.is_shaped(errors, source, shapes_pod.SOURCES[name], path):
                validate_volume.host_path(errors, source, path)


def volume_update(errors: Errors, new: PersistentVolume, old: PersistentVolume) -> None:
    """The storage behind a volume stays."""
    if dict(new.spec.unknown) != dict(old.spec.unknown):
        detail = "spec.persistentvolumesource is immutable after creation"
        errors.forbidden("spec.persistentvolumesource", detail)
    if old.spec.volume_mode != new.spec.volume_mode:
        errors.invalid("volumeMode", new.spec.volume_mode, IMMUTABLE)
    if old.spec.node_affinity is not None and old.spec.node_affinity != new.spec.node_affinity:
        errors.invalid("nodeAffinity", new.spec.node_affinity, IMMUTABLE)


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
