"""Which volume a claim gets, and what binding them writes (pure).

A binding is two writes, the volume's claimRef first: whoever finds a volume that names a claim finishes the rest.

Source: kubernetes pkg/controller/volume/persistentvolume/pv_controller.go, index.go; pkg/volume/util.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from netpod.api import quantity, selectors
from netpod.api.core import ObjectReference
from netpod.api.meta import ObjectMeta
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass

PROVISIONER = "netpod.dev/host-path"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
FIRST_CONSUMER = "WaitForFirstConsumer"


def is_bound_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Tell whether a volume is this claim's, or was set aside for it by name."""
    reference, about = volume.spec.claim_ref, claim.metadata
    if reference is None:
        return False
    named = (reference.namespace, reference.name) == (about.namespace, about.name)
    return named and reference.uid in ("", about.uid)


def match(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]
) -> PersistentVolume | None:
    """Return the volume a claim gets: one set aside for it, else the smallest free one that is large enough."""
    fitting = []
    for volume in volumes:
        if volume.metadata.deletion_timestamp:
            continue
        if claim.spec.volume_name:
            if volume.metadata.name == claim.spec.volume_name and _is_free(volume, claim):
                return volume
        elif is_bound_to(volume, claim):
            return volume
        elif volume.spec.claim_ref is None and _suits(volume, claim):
            fitting.append(volume)
    return min(fitting, key=lambda v: (_size(v.spec.capacity), v.metadata.name), default=None)


def _is_free(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return volume.spec.claim_ref is None or is_bound_to(volume, claim)


def _suits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    if volume.status.phase not in ("", "Pending", "Available"):
        return False
    spec = claim.spec
    if (spec.storage_class_name or "") != volume.spec.storage_class_name:
        return False
    if (spec.volume_mode or "Filesystem") != (volume.spec.volume_mode or "Filesystem"):
        return False
    if not set(spec.access_modes) <= set(volume.spec.access_modes):
        return False
    if spec.selector is not None:
        query = selectors.from_label_selector(spec.selector)
        if not query.matches(volume.metadata.labels):
            return False
    return _size(volume.spec.capacity) >= _size(spec.resources.requests)


def _size(amounts: Mapping[str, int | str]) -> int:
    return quantity.value(amounts.get("storage", 0))


def reference(claim: PersistentVolumeClaim) -> ObjectReference:
    """Return what a volume's claimRef says."""
    about = claim.metadata
    return ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=about.namespace,
        name=about.name,
        uid=about.uid,
        resource_version=about.resource_version,
    )


def taken(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
    """Return a volume that is the claim's."""
    about = volume.metadata
    chosen = volume.spec.claim_ref is None
    notes = {**about.annotations, BOUND_BY_CONTROLLER: "yes"} if chosen else about.annotations
    return dataclasses.replace(
        volume,
        metadata=dataclasses.replace(about, annotations=notes),
        spec=dataclasses.replace(volume.spec, claim_ref=reference(claim)),
    )


def bound(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    """Return the claim with its volume; its status is written apart."""
    about = claim.metadata
    notes = {**about.annotations, BIND_COMPLETED: "yes"}
    if not claim.spec.volume_name:
        notes[BOUND_BY_CONTROLLER] = "yes"
    return dataclasses.replace(
        claim,
        metadata=dataclasses.replace(about, annotations=notes),
        spec=dataclasses.replace(claim.spec, volume_name=volume.metadata.name),
    )


def grown(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolume:
    """Return the volume as large as its claim has become, if it is one of ours: they are of any size."""
    ours = volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER
    if not ours or _size(claim.spec.resources.requests) <= _size(volume.spec.capacity):
        return volume
    capacity = {**volume.spec.capacity, "storage": claim.spec.resources.requests["storage"]}
    return dataclasses.replace(volume, spec=dataclasses.replace(volume.spec, capacity=capacity))


def bound_status(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    """Return the claim as Bound, with what it got."""
    status = dataclasses.replace(
        claim.status,
        phase="Bound",
        access_modes=volume.spec.access_modes,
        capacity=volume.spec.capacity,
    )
    return dataclasses.replace(claim, status=status)


def provisioned(
    claim: PersistentVolumeClaim, made_by: StorageClass, root: Path
) -> PersistentVolume:
    """Return the volume made for a claim: a directory of its own below `root`, which the kubelet makes."""
    about = claim.metadata
    name = f"pvc-{about.uid}"
    source = {"path": str(directory(root, claim)), "type": "DirectoryOrCreate"}
    base = PersistentVolume(
        metadata=ObjectMeta(name=name, annotations={PROVISIONED_BY: PROVISIONER})
    )
    spec = dataclasses.replace(
        base.spec,
        capacity={"storage": claim.spec.resources.requests.get("storage", "0")},
        access_modes=claim.spec.access_modes,
        claim_ref=reference(claim),
        persistent_volume_reclaim_policy=made_by.reclaim_policy or "Delete",
        storage_class_name=made_by.metadata.name,
        mount_options=made_by.mount_options,
        volume_mode=claim.spec.volume_mode,
        unknown={"hostPath": source},
    )
    return dataclasses.replace(base, spec=spec)


def directory(root: Path, claim: PersistentVolumeClaim) -> Path:
    """Return where a claim's files are. Source: the form of local-path-provisioner's names."""
    about = claim.metadata
    return root / f"pvc-{about.uid}_{about.namespace}_{about.name}"


def own_directory(volume: PersistentVolume, root: Path) -> Path | None:
    """Return the directory that was made for a volume, None when it is not ours to delete."""
    if volume.metadata.annotations.get(PROVISIONED_BY) != PROVISIONER:
        return None
    source = volume.spec.unknown.get("hostPath")
    path = Path(str(source.get("path", ""))) if isinstance(source, Mapping) else Path()
    ours = path.parent == root and path.name.startswith(f"{volume.metadata.name}_")
    return path if ours else None
