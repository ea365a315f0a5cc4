"""Limits people set: PodDisruptionBudget and Eviction, LimitRange, ResourceQuota, PriorityClass.

Source: k8s.io/api policy/v1/types.go, core/v1/types.go, scheduling/v1/types.go.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDisruptionBudgetSpec(Struct):
    """At least `min_available`, or at most `max_unavailable`, of the selected pods; never both."""

    min_available: IntOrString | None = None
    selector: LabelSelector | None = None
    max_unavailable: IntOrString | None = None
    unhealthy_pod_eviction_policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDisruptionBudgetStatus(Struct):
    """How many pods may go now; `disrupted_pods` are on their way, by name, since when."""

    observed_generation: int = 0
    disrupted_pods: Mapping[str, str] = EMPTY
    disruptions_allowed: int = always(0)
    current_healthy: int = always(0)
    desired_healthy: int = always(0)
    expected_pods: int = always(0)
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDisruptionBudget(Object):
    """How many pods of a set an eviction must leave."""

    api_version: str = always("policy/v1")
    kind: str = always("PodDisruptionBudget")
    spec: PodDisruptionBudgetSpec = field(default_factory=PodDisruptionBudgetSpec)
    status: PodDisruptionBudgetStatus = field(
        default_factory=PodDisruptionBudgetStatus, metadata={"always": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction(Object):
    """The wish that a pod goes, as far as the budgets allow."""

    api_version: str = always("policy/v1")
    kind: str = always("Eviction")
    delete_options: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRangeItem(Struct):
    """Bounds and defaults by resource name; `type` is Pod, Container or PersistentVolumeClaim."""

    type: str = always("")
    max: Mapping[str, IntOrString] = EMPTY
    min: Mapping[str, IntOrString] = EMPTY
    default: Mapping[str, IntOrString] = EMPTY
    default_request: Mapping[str, IntOrString] = EMPTY
    max_limit_request_ratio: Mapping[str, IntOrString] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRangeSpec(Struct):
    """All limits hold."""

    limits: tuple[LimitRangeItem, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRange(Object):
    """Bounds of each pod and container of a namespace."""

    api_version: str = always("v1")
    kind: str = always("LimitRange")
    spec: LimitRangeSpec = field(default_factory=LimitRangeSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuotaSpec(Struct):
    """Most of each resource that a namespace may use together."""

    hard: Mapping[str, IntOrString] = EMPTY
    scope_selector: Mapping[str, Json] | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuotaStatus(Struct):
    """What holds and what is used."""

    hard: Mapping[str, IntOrString] = EMPTY
    used: Mapping[str, IntOrString] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceQuota(Object):
    """Bounds of a whole namespace."""

    api_version: str = always("v1")
    kind: str = always("ResourceQuota")
    spec: ResourceQuotaSpec = field(default_factory=ResourceQuotaSpec)
    status: ResourceQuotaStatus = field(
        default_factory=ResourceQuotaStatus, metadata={"always": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityClass(Object):
    """A name for a priority; the higher is scheduled first."""

    api_version: str = always("scheduling.k8s.io/v1")
    kind: str = always("PriorityClass")
    value: int = always(0)
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None
