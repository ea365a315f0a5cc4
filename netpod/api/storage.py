"""Volumes: StorageClass, PersistentVolume, PersistentVolumeClaim; and, as data only, what drivers tell of themselves.

Source: k8s.io/api storage/v1/types.go StorageClass; core/v1/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from netpod.api.core import ObjectReference
from netpod.api.meta import (
    EMPTY,
    Condition,
    IntOrString,
    Json,
    LabelSelector,
    Object,
    Struct,
    always,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageClass(Object):
    """A way to make volumes, by the name of who does it."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("StorageClass")
    provisioner: str = always("")
    parameters: Mapping[str, str] = EMPTY
    reclaim_policy: str | None = None
    mount_options: tuple[str, ...] = ()
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None
    allowed_topologies: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeResourceRequirements(Struct):
    """Quantities by resource name; `storage` is the one that counts."""

    limits: Mapping[str, IntOrString] = EMPTY
    requests: Mapping[str, IntOrString] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeClaimSpec(Struct):
    """The volume somebody wants; `volume_name` once it is bound."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: VolumeResourceRequirements = field(default_factory=VolumeResourceRequirements)
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: Mapping[str, Json] | None = None
    data_source_ref: Mapping[str, Json] | None = None
    volume_attributes_class_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeClaimStatus(Struct):
    """`phase` is Pending, Bound or Lost."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, IntOrString] = EMPTY
    conditions: tuple[Condition, ...] = ()
    allocated_resources: Mapping[str, IntOrString] = EMPTY
    allocated_resource_statuses: Mapping[str, str] = EMPTY
    current_volume_attributes_class_name: str | None = None
    modify_volume_status: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeClaim(Object):
    """A request for a volume."""

    api_version: str = always("v1")
    kind: str = always("PersistentVolumeClaim")
    spec: PersistentVolumeClaimSpec = field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = field(default_factory=PersistentVolumeClaimStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeSpec(Struct):
    """A piece of storage; its source is kept as written in `unknown`."""

    OPEN: ClassVar[bool] = True
    capacity: Mapping[str, IntOrString] = EMPTY
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    mount_options: tuple[str, ...] = ()
    volume_mode: str | None = None
    node_affinity: Mapping[str, Json] | None = None
    volume_attributes_class_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeStatus(Struct):
    """`phase` is Pending, Available, Bound, Released or Failed."""

    phase: str = ""
    message: str = ""
    reason: str = ""
    last_phase_transition_time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolume(Object):
    """A piece of storage in the cluster."""

    api_version: str = always("v1")
    kind: str = always("PersistentVolume")
    spec: PersistentVolumeSpec = field(default_factory=PersistentVolumeSpec)
    status: PersistentVolumeStatus = field(default_factory=PersistentVolumeStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSIDriver(Object):
    """What a driver of volumes can do."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIDriver")
    spec: Mapping[str, Json] = always(EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSINode(Object):
    """The drivers of one node."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSINode")
    spec: Mapping[str, Json] = always(EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CSIStorageCapacity(Object):
    """How much room a class has for some nodes."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("CSIStorageCapacity")
    storage_class_name: str = always("")
    node_topology: LabelSelector | None = None
    capacity: IntOrString | None = None
    maximum_volume_size: IntOrString | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeAttachment(Object):
    """The wish that a volume is attached to a node, and what came of it."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("VolumeAttachment")
    spec: Mapping[str, Json] = always(EMPTY)
    status: Mapping[str, Json] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeClass(Object):
    """A way to run containers, by name."""

    api_version: str = always("node.k8s.io/v1")
    kind: str = always("RuntimeClass")
    handler: str = always("")
    overhead: Mapping[str, Json] | None = None
    scheduling: Mapping[str, Json] | None = None
