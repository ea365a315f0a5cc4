"""Rules for LimitRanges and ResourceQuotas.

Source: pkg/apis/core/validation/validation.go ValidateLimitRange, ValidateResourceQuotaSpec.
"""

from collections.abc import Mapping
from fractions import Fraction

from netpod.api import quantity, validate_names, validate_policy
from netpod.api.meta import IntOrString
from netpod.api.policy import LimitRange, LimitRangeItem, ResourceQuota
from netpod.api.validate_errors import UNREADABLE, Errors, index, key

_STANDARD_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
)
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_COUNTED = (
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
)


def limit_range(errors: Errors, obj: LimitRange) -> None:
    """Check a LimitRange."""
    seen: set[str] = set()
    for position, item in enumerate(obj.spec.limits):
        path = index("spec.limits", position)
        problems = validate_names.qualified_name(item.type)
        if not problems and "/" not in item.type and item.type not in _STANDARD_TYPES:
            problems = ["must be a standard limit type or fully qualified"]
        errors.each(f"{path}.type", item.type, problems)
        errors.unique(f"{path}.type", item.type, seen)
        _item(errors, item, path)


def _item(errors: Errors, item: LimitRangeItem, path: str) -> None:
    named = {
        "max": item.max,
        "min": item.min,
        "default": item.default,
        "defaultRequest": item.default_request,
        "maxLimitRequestRatio": item.max_limit_request_ratio,
    }
    read = {name: _read(errors, values, f"{path}.{name}") for name, values in named.items()}
    if any(found.reason == UNREADABLE for found in errors.found):
        return
    if item.type == "Pod":
        for name in ("default", "defaultRequest"):
            if named[name]:
                detail = "may not be specified when `type` is 'Pod'"
                errors.forbidden(f"{path}.{name}", detail)
            read[name] = {}
    if item.type == "PersistentVolumeClaim" and not ({"storage"} & {*item.min, *item.max}):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        errors.required(f"{path}.limits", detail)
    for resource in dict.fromkeys(it for values in read.values() for it in values):
        _order(errors, resource, named, read, path)


def _read(errors: Errors, values: Mapping[str, IntOrString], path: str) -> dict[str, Fraction]:
    found = {}
    for name, value in values.items():
        errors.each(key(path, name), name, validate_names.qualified_name(name))
        try:
            found[name] = quantity.parse(value)
        except ValueError as error:
            errors.unreadable(key(path, name), value, error)
    return found


_ORDERED = (
    ("min", "max", "min", "min value {0} is greater than max value {1}"),
    ("min", "defaultRequest", "defaultRequest", "min value {0} is greater than default request value {1}"),
    ("defaultRequest", "max", "defaultRequest", "default request value {0} is greater than max value {1}"),
    ("defaultRequest", "default", "defaultRequest",
     "default request value {0} is greater than default limit value {1}"),
    ("min", "default", "default", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "default value {0} is greater than max value {1}"),
)  # fmt: skip
"""(what may not be more, than what, whose path is named, in which words)."""


def _order(
    errors: Errors,
    resource: str,
    named: Mapping[str, Mapping[str, IntOrString]],
    read: Mapping[str, Mapping[str, Fraction]],
    path: str,
) -> None:
    def number(name: str) -> Fraction | None:
        return read[name].get(resource)

    def shown(name: str) -> str:
        return quantity.canonical(named[name][resource])

    for small, large, at, text in _ORDERED:
        low, high = number(small), number(large)
        if low is not None and high is not None and low > high:
            detail = text.format(shown(small), shown(large))
            errors.invalid(key(f"{path}.{at}", resource), shown(at), detail)
    ratio, low, high = number("maxLimitRequestRatio"), number("min"), number("max")
    where = key(f"{path}.maxLimitRequestRatio", resource)
    if ratio is not None and ratio < 1:
        detail = f"ratio {shown('maxLimitRequestRatio')} is less than 1"
        errors.invalid(where, shown("maxLimitRequestRatio"), detail)
    if ratio is not None and low and high is not None and ratio > high / low:
        detail = (
            f"ratio {shown('maxLimitRequestRatio')} is greater than max/min = {float(high / low):f}"
        )
        errors.invalid(where, shown("maxLimitRequestRatio"), detail)


def quota(errors: Errors, obj: ResourceQuota) -> None:
    """Check a ResourceQuota."""
    hard = obj.spec.hard
    before = len(errors.found)
    validate_policy.amounts(errors, hard, "spec.hard")
    for name, amount in hard.items():
        at = key("spec.hard", name)
        errors.each(at, name, validate_names.qualified_name(name))
        if len(errors.found) == before and (name in _COUNTED or name.startswith("count/")):
            if quantity.parse(amount).denominator != 1:
                errors.invalid(at, amount, "must be an integer")
    scopes = list(obj.spec.scopes)
    for scope in scopes:
        if scope not in SCOPES:
            errors.invalid("spec.scopes", scopes, "unsupported scope")
    for pair in _CONFLICTS:
        if set(pair) <= set(scopes):
            errors.invalid("spec.scopes", scopes, "conflicting scopes")


def quota_update(errors: Errors, new: ResourceQuota, old: ResourceQuota) -> None:
    """What a quota is about stays."""
    if set(new.spec.scopes) != set(old.spec.scopes):
        errors.immutable("spec.scopes", list(new.spec.scopes), list(old.spec.scopes))
