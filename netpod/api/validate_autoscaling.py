"""Rules for HorizontalPodAutoscalers.

Source: pkg/apis/autoscaling/validation/validation.go.
"""

from collections.abc import Callable, Mapping
from typing import Any

from netpod.api import quantity, shapes, validate_names
from netpod.api.autoscaling import HorizontalPodAutoscaler
from netpod.api.shapes import INTEGER, QUANTITY, SELECTOR, STRING, Shape
from netpod.api.validate_errors import Errors, index

Fields = Mapping[str, Any]

MAX_PERIOD_SECONDS = 1800
MAX_STABILIZATION_SECONDS = 3600
KINDS = ("ContainerResource", "External", "Object", "Pods", "Resource")

_OBJECT: Shape = {"apiVersion": STRING, "kind": STRING, "name": STRING}
_METRIC: Shape = {"name": STRING, "selector": SELECTOR}
_TARGET: Shape = {
    "type": STRING,
    "value": QUANTITY,
    "averageValue": QUANTITY,
    "averageUtilization": INTEGER,
}
_METRICS: Shape = [
    {
        "type": STRING,
        "object": {"describedObject": _OBJECT, "target": _TARGET, "metric": _METRIC},
        "pods": {"metric": _METRIC, "target": _TARGET},
        "resource": {"name": STRING, "target": _TARGET},
        "containerResource": {"name": STRING, "target": _TARGET, "container": STRING},
        "external": {"metric": _METRIC, "target": _TARGET},
    }
]
_RULES: Shape = {
    "stabilizationWindowSeconds": INTEGER,
    "selectPolicy": STRING,
    "policies": [{"type": STRING, "value": INTEGER, "periodSeconds": INTEGER}],
}


def autoscaler(errors: Errors, obj: HorizontalPodAutoscaler) -> None:
    """Check a HorizontalPodAutoscaler."""
    spec = obj.spec
    behavior: Shape = {"scaleUp": _RULES, "scaleDown": _RULES}
    if not shapes.is_shaped(errors, spec.metrics, _METRICS, "spec.metrics"):
        return
    if not shapes.is_shaped(errors, spec.behavior, behavior, "spec.behavior"):
        return
    low = spec.min_replicas
    if low is not None and low < 1:
        errors.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if spec.max_replicas < 1:
        errors.invalid("spec.maxReplicas", spec.max_replicas, "must be greater than 0")
    if low is not None and spec.max_replicas < low:
        detail = "must be greater than or equal to `minReplicas`"
        errors.invalid("spec.maxReplicas", spec.max_replicas, detail)
    target = spec.scale_target_ref
    _segments(errors, {"kind": target.kind, "name": target.name}, "spec.scaleTargetRef")
    for position, metric in enumerate(spec.metrics):
        _metric(errors, metric, index("spec.metrics", position))
    for name, rules in (spec.behavior or {}).items():
        if rules is not None:
            _rules(errors, rules, f"spec.behavior.{name}")


def _segments(errors: Errors, reference: Fields, path: str) -> None:
    for name in ("kind", "name"):
        value = reference.get(name) or ""
        if not value:
            errors.required(f"{path}.{name}")
        else:
            errors.each(f"{path}.{name}", value, validate_names.path_segment(value))


def _metric(errors: Errors, metric: Fields, path: str) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.required(f"{path}.type", "must specify a metric source type")
    errors.supported(f"{path}.type", kind, KINDS)
    present = [name for name in _CHECKS if metric.get(name) is not None]
    if present:
        _CHECKS[present[0]](errors, metric[present[0]], f"{path}.{present[0]}")
    expected = kind[:1].lower() + kind[1:] if kind in KINDS else ""
    if expected and expected not in present:
        errors.required(
            f"{path}.{expected}", "must populate information for the given metric source"
        )
    if len(present) > 1:
        for name in present:
            if name != expected:
                errors.forbidden(f"{path}.{name}", "must populate the given metric source only")


def _object(errors: Errors, source: Fields, path: str) -> None:
    _segments(errors, source.get("describedObject") or {}, f"{path}.describedObject")
    _identifier(errors, source, path)
    target = _target(errors, source, path)
    if target.get("value") is None and target.get("averageValue") is None:
        errors.required(
            f"{path}.target.averageValue", "must set either a target value or averageValue"
        )


def _external(errors: Errors, source: Fields, path: str) -> None:
    _identifier(errors, source, path)
    target = _target(errors, source, path)
    whole, each = target.get("value"), target.get("averageValue")
    both = "both a target value for metric and a per-pod target"
    if whole is None and each is None:
        detail = "must set either a target value for metric or a per-pod target"
        errors.required(f"{path}.target.averageValue", detail)
    elif whole is not None and each is not None:
        errors.forbidden(f"{path}.target.value", f"may not set {both}")


def _pods(errors: Errors, source: Fields, path: str) -> None:
    _identifier(errors, source, path)
    if _target(errors, source, path).get("averageValue") is None:
        errors.required(
            f"{path}.target.averageValue", "must specify a positive target averageValue"
        )


def _container(errors: Errors, source: Fields, path: str) -> None:
    container = source.get("container") or ""
    if not container:
        errors.required(f"{path}.container", "must specify a container")
    else:
        errors.each(f"{path}.container", container, validate_names.dns1123_label(container))
    _resource(errors, source, path)


def _resource(errors: Errors, source: Fields, path: str) -> None:
    if not source.get("name"):
        errors.required(f"{path}.name", "must specify a resource name")
    target = _target(errors, source, path)
    share, raw = target.get("averageUtilization"), target.get("averageValue")
    if share is None and raw is None:
        detail = "must set either a target raw value or a target utilization"
        errors.required(f"{path}.target.averageUtilization", detail)
    elif share is not None and raw is not None:
        detail = "may not set both a target raw value and a target utilization"
        errors.forbidden(f"{path}.target.averageValue", detail)


def _identifier(errors: Errors, source: Fields, path: str) -> None:
    name = (source.get("metric") or {}).get("name") or ""
    if not name:
        errors.required(f"{path}.metric.name", "must specify a metric name")
    else:
        errors.each(f"{path}.metric.name", name, validate_names.path_segment(name))


def _target(errors: Errors, source: Fields, path: str) -> Fields:
    target: Fields = source.get("target") or {}
    kind = target.get("type") or ""
    if not kind:
        errors.required(f"{path}.target.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        detail = "must be either Utilization, Value, or AverageValue"
        errors.invalid(f"{path}.target.type", kind, detail)
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and quantity.parse(amount) <= 0:
            errors.invalid(f"{path}.target.{name}", amount, "must be positive")
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        errors.invalid(f"{path}.target.averageUtilization", share, "must be greater than 0")
    return target


_CHECKS: Mapping[str, Callable[[Errors, Fields, str], None]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container,
}


def _rules(errors: Errors, rules: Fields, path: str) -> None:
    window = rules.get("stabilizationWindowSeconds")
    at = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.invalid(at, window, "must be greater than or equal to zero")
    elif window is not None and window > MAX_STABILIZATION_SECONDS:
        errors.invalid(at, window, f"must be less than or equal to {MAX_STABILIZATION_SECONDS}")
    chosen = rules.get("selectPolicy")
    if chosen is not None:
        errors.supported(f"{path}.selectPolicy", chosen, ("Disabled", "Max", "Min"))
    policies = rules.get("policies") or ()
    if not policies:
        errors.required(f"{path}.policies", "must specify at least one Policy")
    for position, policy in enumerate(policies):
        at = index(f"{path}.policies", position)
        errors.supported(f"{at}.type", policy.get("type") or "", ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            number = policy.get(name) or 0
            if number <= 0:
                errors.invalid(f"{at}.{name}", number, "must be greater than zero")
        period = policy.get("periodSeconds") or 0
        if period > MAX_PERIOD_SECONDS:
            detail = f"must be less than or equal to {MAX_PERIOD_SECONDS}"
            errors.invalid(f"{at}.periodSeconds", period, detail)
