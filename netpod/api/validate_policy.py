"""Rules for PodDisruptionBudget and PriorityClass.

Source: pkg/apis/policy/validation, pkg/apis/scheduling/validation.
"""

from collections.abc import Mapping

from netpod.api import quantity, validate_apps, validate_meta
from netpod.api.meta import IntOrString
from netpod.api.policy import PodDisruptionBudget, PriorityClass
from netpod.api.validate_errors import Errors, key

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
        policies = ("PreemptLowerPriority", "Never")
        if obj.preemption_policy not in policies:
            errors.refuse("preemptionPolicy", obj.preemption_policy, policies)


def priority_class_update(errors: Errors, new: PriorityClass, old: PriorityClass) -> None:
    """Pods have the value already."""
    if new.value != old.value:
        errors.forbidden("value", "may not be changed in an update.")
    errors.immutable("preemptionPolicy", new.preemption_policy, old.preemption_policy)
