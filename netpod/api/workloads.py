"""The workloads beside Deployment: DaemonSet, StatefulSet, their revisions, and the older kinds of core.

Source: k8s.io/api apps/v1/types.go; core/v1/types.go ReplicationController, PodTemplate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from netpod.api.pod import PodTemplateSpec
from netpod.api.storage import PersistentVolumeClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingUpdateDaemonSet(Struct):
    """Both bounds are numbers or percentages of the nodes wanted."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSetUpdateStrategy(Struct):
    """`type` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateDaemonSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSetSpec(Struct):
    """One pod of this template on every node that fits."""

    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec, metadata={"always": True})
    update_strategy: DaemonSetUpdateStrategy = field(default_factory=DaemonSetUpdateStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSetStatus(Struct):
    """Counts of nodes."""

    current_number_scheduled: int = always(0)
    number_misscheduled: int = always(0)
    desired_number_scheduled: int = always(0)
    number_ready: int = always(0)
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSet(Object):
    """A pod on every node."""

    api_version: str = always("apps/v1")
    kind: str = always("DaemonSet")
    spec: DaemonSetSpec = field(default_factory=DaemonSetSpec)
    status: DaemonSetStatus = field(default_factory=DaemonSetStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingUpdateStatefulSet(Struct):
    """Only ordinals from `partition` on are updated."""

    partition: int | None = None
    max_unavailable: IntOrString | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetUpdateStrategy(Struct):
    """`type` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateStatefulSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetPersistentVolumeClaimRetentionPolicy(Struct):
    """Retain or Delete the claims of pods that go."""

    when_deleted: str = ""
    when_scaled: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetOrdinals(Struct):
    """The first ordinal."""

    start: int = always(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetSpec(Struct):
    """Numbered pods NAME-0, NAME-1, ..., each with claims of its own."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec, metadata={"always": True})
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] = ()
    service_name: str = always("")
    pod_management_policy: str = ""
    update_strategy: StatefulSetUpdateStrategy = field(default_factory=StatefulSetUpdateStrategy)
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: (
        StatefulSetPersistentVolumeClaimRetentionPolicy | None
    ) = None
    ordinals: StatefulSetOrdinals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetStatus(Struct):
    """Counts of pods, and the revisions between which an update moves."""

    observed_generation: int = 0
    replicas: int = always(0)
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()
    available_replicas: int = always(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSet(Object):
    """Pods with stable names and storage, made and ended in order."""

    api_version: str = always("apps/v1")
    kind: str = always("StatefulSet")
    spec: StatefulSetSpec = field(default_factory=StatefulSetSpec)
    status: StatefulSetStatus = field(default_factory=StatefulSetStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerRevision(Object):
    """One state of a DaemonSet's or StatefulSet's template; immutable but for its number."""

    api_version: str = always("apps/v1")
    kind: str = always("ControllerRevision")
    data: Json = None
    revision: int = always(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationControllerSpec(Struct):
    """So many pods of this template; the selector is a plain map."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: Mapping[str, str] = EMPTY
    template: PodTemplateSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationControllerStatus(Struct):
    """Counts of the pods."""

    replicas: int = always(0)
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationController(Object):
    """What ReplicaSets were before they were called so."""

    api_version: str = always("v1")
    kind: str = always("ReplicationController")
    spec: ReplicationControllerSpec = field(default_factory=ReplicationControllerSpec)
    status: ReplicationControllerStatus = field(
        default_factory=ReplicationControllerStatus, metadata={"always": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate(Object):
    """A template kept by itself."""

    api_version: str = always("v1")
    kind: str = always("PodTemplate")
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)
