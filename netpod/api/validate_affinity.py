"""Rules for affinities: node terms, pod terms, weights.

They are kept as written, so what is not even of the right type is left to who reads them.

Source: pkg/apis/core/validation/validation.go validateAffinity, ValidateNodeSelectorRequirement.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from netpod.api import codec, validate_meta, validate_names
from netpod.api.meta import Json, LabelSelector
from netpod.api.pod import Affinity
from netpod.api.validate_errors import Errors, index
from netpod.errors import BadRequest

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_OPERATOR = "not a valid selector operator"
Fields = Mapping[str, Any]


def affinity(errors: Errors, obj: Affinity, path: str) -> None:
    """Check a pod's affinity at a path, `spec.affinity`."""
    _node(errors, _mapping(obj.node_affinity), f"{path}.nodeAffinity")
    _pods(errors, _mapping(obj.pod_affinity), f"{path}.podAffinity")
    _pods(errors, _mapping(obj.pod_anti_affinity), f"{path}.podAntiAffinity")


def _node(errors: Errors, rules: Fields, path: str) -> None:
    required = rules.get(REQUIRED)
    if isinstance(required, Mapping):
        node_selector(errors, required, f"{path}.{REQUIRED}")
    for wish, at in _each(rules.get(PREFERRED), f"{path}.{PREFERRED}"):
        _weight(errors, wish, at)
        _term(errors, _mapping(wish.get("preference")), f"{at}.preference")


def node_selector(errors: Errors, selector: Fields, path: str) -> None:
    """Check terms of which a node has to fulfil one."""
    at = f"{path}.nodeSelectorTerms"
    if not selector.get("nodeSelectorTerms"):
        errors.required(at, "must have at least one node selector term")
    for term, where in _each(selector.get("nodeSelectorTerms"), at):
        _term(errors, term, where)


def _term(errors: Errors, term: Fields, path: str) -> None:
    for asked, at in _each(term.get("matchExpressions"), f"{path}.matchExpressions"):
        key = str(asked.get("key", ""))
        errors.each(f"{at}.key", key, validate_names.qualified_name(key))
        values = asked.get("values") or ()
        match asked.get("operator", ""):
            case "In" | "NotIn":
                if not values:
                    detail = "must be specified when `operator` is 'In' or 'NotIn'"
                    errors.required(f"{at}.values", detail)
            case "Exists" | "DoesNotExist":
                if values:
                    detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    errors.forbidden(f"{at}.values", detail)
            case "Gt" | "Lt":
                if len(values) != 1:
                    detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                    errors.required(f"{at}.values", detail)
            case other:
                errors.invalid(f"{at}.operator", other, _OPERATOR)
    for asked, at in _each(term.get("matchFields"), f"{path}.matchFields"):
        operator, key = asked.get("operator", ""), asked.get("key", "")
        if operator not in ("In", "NotIn"):
            errors.invalid(f"{at}.operator", operator, _OPERATOR)
        elif len(asked.get("values") or ()) != 1:
            detail = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            errors.required(f"{at}.values", detail)
        if key != "metadata.name":
            errors.invalid(f"{at}.key", key, "not a valid field selector key")


def _pods(errors: Errors, rules: Fields, path: str) -> None:
    for term, at in _each(rules.get(REQUIRED), f"{path}.{REQUIRED}"):
        _pod_term(errors, term, at)
    for wish, at in _each(rules.get(PREFERRED), f"{path}.{PREFERRED}"):
        _weight(errors, wish, at)
        _pod_term(errors, _mapping(wish.get("podAffinityTerm")), f"{at}.podAffinityTerm")


def _pod_term(errors: Errors, term: Fields, path: str) -> None:
    for name in ("labelSelector", "namespaceSelector"):
        written = term.get(name)
        if isinstance(written, dict):
            try:
                selector = codec.decode(LabelSelector, written)
            except BadRequest:
                continue
            validate_meta.label_selector(errors, selector, f"{path}.{name}")
    listed = term.get("namespaces")
    for position, namespace in enumerate(listed if isinstance(listed, list) else ()):
        at = index(f"{path}.namespaces", position)
        errors.each(at, namespace, validate_names.dns1123_label(str(namespace)))
    key = term.get("topologyKey") or ""
    if not key:
        errors.required(f"{path}.topologyKey", "can not be empty")
    errors.each(f"{path}.topologyKey", key, validate_names.qualified_name(key))


def _weight(errors: Errors, wish: Fields, path: str) -> None:
    weight = wish.get("weight", 0)
    if isinstance(weight, int) and not 1 <= weight <= 100:
        errors.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _each(listed: object, path: str) -> Iterator[tuple[Fields, str]]:
    for position, element in enumerate(listed if isinstance(listed, list | tuple) else ()):
        if isinstance(element, Mapping):
            yield element, index(path, position)


def _mapping(value: Json) -> Fields:
    return value if isinstance(value, Mapping) else {}
