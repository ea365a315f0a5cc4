"""HorizontalPodAutoscaler, as autoscaling/v2 has it; v1 is a view of it.

Metrics and their values are kept as written: the controller reads them.

Source: k8s.io/api autoscaling/v2/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import Condition, Json, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossVersionObjectReference(Struct):
    """The workload to scale."""

    kind: str = always("")
    name: str = always("")
    api_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalPodAutoscalerSpec(Struct):
    """Bounds, and what should decide between them."""

    scale_target_ref: CrossVersionObjectReference = field(
        default_factory=CrossVersionObjectReference, metadata={"always": True}
    )
    min_replicas: int | None = None
    max_replicas: int = always(0)
    metrics: tuple[Mapping[str, Json], ...] = ()
    behavior: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalPodAutoscalerStatus(Struct):
    """What the autoscaler saw and wants."""

    observed_generation: int | None = None
    last_scale_time: str | None = None
    current_replicas: int = 0
    desired_replicas: int = always(0)
    current_metrics: tuple[Mapping[str, Json], ...] = always(())
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalPodAutoscaler(Object):
    """Scales a workload by what it measures."""

    api_version: str = always("autoscaling/v2")
    kind: str = always("HorizontalPodAutoscaler")
    spec: HorizontalPodAutoscalerSpec = field(default_factory=HorizontalPodAutoscalerSpec)
    status: HorizontalPodAutoscalerStatus = field(
        default_factory=HorizontalPodAutoscalerStatus, metadata={"always": True}
    )
