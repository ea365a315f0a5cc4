"""Rules for PodDisruptionBudget, HorizontalPodAutoscaler, ResourceQuota, LimitRange and PriorityClass.

Source: pkg/apis/policy/validation, pkg/apis/autoscaling/validation, pkg/apis/core/validation,
pkg/apis/scheduling/validation.
"""

from collections.abc import Mapping

from netpod.api import quantity, validate_apps, validate_meta
from netpod.api.autoscaling import HorizontalPodAutoscaler
from netpod.api.meta import IntOrString
from netpod.api.policy import LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota
from netpod.api.validate_errors import Errors, index, key

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_PRIORITIES = {
    "system-node-critical": 2_000_001_000,
    "system-cluster-critical": 2_000_000_000,
}


def amounts(errors: Errors, values: Mapping[str, IntOrString], path: str) -> None:
    """Check quantities by name: numbers, not negative."""
    for name, value in values.items():
        try:
            number = quantity.parse(value)
        except ValueError as error:
            errors.unreadable(key(path, name), value, error)
            continue
        if number < 0:
            detail = "must be greater than or equal to 0"
            errors.invalid(key(path, name), str(value), detail)


def budget(errors: Errors, obj: PodDisruptionBudget) -> None:
    """Check a PodDisruptionBudget."""
    spec = obj.spec
    if spec.min_available is not None and spec.max_unavailable is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        errors.invalid("spec", spec, detail)
    for name, value in (
        ("minAvailable", spec.min_available),
        ("maxUnavailable", spec.max_unavailable),
    ):
        if value is not None:
            validate_apps.number_or_percent(errors, value, f"spec.{name}")
            validate_apps.at_most_all(errors, value, f"spec.{name}")
    if spec.selector is not None:
        validate_meta.label_selector(errors, spec.selector, "spec.selector")
    if spec.unhealthy_pod_eviction_policy is not None:
        errors.supported(
            "spec.unhealthyPodEvictionPolicy",
            spec.unhealthy_pod_eviction_policy,
            ("IfHealthyBudget", "AlwaysAllow"),
        )


def autoscaler(errors: Errors, obj: HorizontalPodAutoscaler) -> None:
    """Check a HorizontalPodAutoscaler."""
    spec = obj.spec
    low = spec.min_replicas
    if low is not None and low < 1:
        errors.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if spec.max_replicas < 1:
        errors.invalid("spec.maxReplicas", spec.max_replicas, "must be greater than 0")
    if low is not None and spec.max_replicas < low:
        detail = "must be greater than or equal to `minReplicas`"
        errors.invalid("spec.maxReplicas", spec.max_replicas, detail)
    for name in ("kind", "name"):
        value = getattr(spec.scale_target_ref, name)
        if not value:
            errors.required(f"spec.scaleTargetRef.{name}")
        elif "/" in value or "%" in value or value in (".", ".."):
            errors.invalid(f"spec.scaleTargetRef.{name}", value, "may not be a path")
    kinds = ("ContainerResource", "External", "Object", "Pods", "Resource")
    for position, metric in enumerate(spec.metrics):
        path = index("spec.metrics", position)
        kind = metric.get("type")
        if not kind:
            errors.required(f"{path}.type", "must specify a metric source type")
        elif kind not in kinds:
            errors.supported(f"{path}.type", str(kind), kinds)
        else:
            field = str(kind)[0].lower() + str(kind)[1:]
            if not isinstance(metric.get(field), Mapping):
                detail = "must populate the given metric source"
                errors.required(f"{path}.{field}", detail)


def limit_range(errors: Errors, obj: LimitRange) -> None:
    """Check a LimitRange."""
    seen: set[str] = set()
    for position, item in enumerate(obj.spec.limits):
        path = index("spec.limits", position)
        if not item.type:
            errors.required(f"{path}.type")
        errors.unique(f"{path}.type", item.type, seen)
        for name, values in (
            ("max", item.max),
            ("min", item.min),
            ("default", item.default),
            ("defaultRequest", item.default_request),
            ("maxLimitRequestRatio", item.max_limit_request_ratio),
        ):
            amounts(errors, values, f"{path}.{name}")
        if item.type == "Pod":
            for name, values in (
                ("default", item.default),
                ("defaultRequest", item.default_request),
            ):
                if values:
                    detail = "may not be specified when `type` is 'Pod'"
                    errors.forbidden(f"{path}.{name}", detail)


def quota(errors: Errors, obj: ResourceQuota) -> None:
    """Check a ResourceQuota."""
    amounts(errors, obj.spec.hard, "spec.hard")


def quota_update(errors: Errors, new: ResourceQuota, old: ResourceQuota) -> None:
    """What a quota is about stays."""
    errors.immutable("spec.scopes", list(new.spec.scopes), list(old.spec.scopes))


def priority_class(errors: Errors, obj: PriorityClass) -> None:
    """Check a PriorityClass: names and high values are the system's."""
    name = obj.metadata.name
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_PRIORITIES.get(name) != obj.value:
            detail = "priority class names with 'system-' prefix are reserved for system use only"
            errors.forbidden("metadata.name", f"{detail}. error: {name} is not a known name")
    elif obj.value > HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        errors.forbidden("value", detail)
    if obj.preemption_policy is not None:
        policies = ("Never", "PreemptLowerPriority")
        errors.supported("preemptionPolicy", obj.preemption_policy, policies)


def priority_class_update(errors: Errors, new: PriorityClass, old: PriorityClass) -> None:
    """Pods have the value already."""
    if new.value != old.value:
        errors.forbidden("value", "may not be changed in an update.")
    errors.immutable("preemptionPolicy", new.preemption_policy, old.preemption_policy)
