"""Workloads: Deployment, ReplicaSet, and the Scale they share.

Source: k8s.io/api apps/v1/types.go, autoscaling/v1/types.go.
"""

from dataclasses import dataclass, field

from netpod.api.meta import Condition, IntOrString, LabelSelector, Object, Struct, always
from netpod.api.pod import PodTemplateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingUpdateDeployment(Struct):
    """Both bounds are numbers or percentages of `replicas`."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStrategy(Struct):
    """`type` is RollingUpdate or Recreate."""

    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec(Struct):
    """What to run, how often, and how to replace it."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)
    strategy: DeploymentStrategy = field(default_factory=DeploymentStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus(Struct):
    """Counts of the Deployment's pods."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    collision_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Object):
    """Pods of one template, replaced step by step when it changes."""

    api_version: str = always("apps/v1")
    kind: str = always("Deployment")
    spec: DeploymentSpec = field(default_factory=DeploymentSpec)
    status: DeploymentStatus = field(default_factory=DeploymentStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetSpec(Struct):
    """So many pods of this template."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetStatus(Struct):
    """Counts of the ReplicaSet's pods."""

    replicas: int = always(0)
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet(Object):
    """Keeps a number of equal pods."""

    api_version: str = always("apps/v1")
    kind: str = always("ReplicaSet")
    spec: ReplicaSetSpec = field(default_factory=ReplicaSetSpec)
    status: ReplicaSetStatus = field(default_factory=ReplicaSetStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSpec(Struct):
    """The number wanted."""

    replicas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleStatus(Struct):
    """The number there is; `selector` in string form."""

    replicas: int = always(0)
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Object):
    """The scale subresource of a workload."""

    api_version: str = always("autoscaling/v1")
    kind: str = always("Scale")
    spec: ScaleSpec = field(default_factory=ScaleSpec)
    status: ScaleStatus = field(default_factory=ScaleStatus, metadata={"always": True})
