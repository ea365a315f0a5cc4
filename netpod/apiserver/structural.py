"""Structural schemas: cut off what they do not name, fill in their defaults, say what does not fit.

Source: k8s.io/apiextensions-apiserver pkg/apiserver/schema/{pruning,defaulting}; github.com/go-openapi/validate.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from netpod.api.meta import Json
from netpod.api.validate_errors import Errors, index

Schema = Mapping[str, Json]
_KEPT = ("apiVersion", "kind", "metadata")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def prune(value: Json, schema: Schema, path: str = "", *, root: bool = True) -> list[str]:
    """Remove what the schema does not name, in place; return the paths of what went."""
    gone: list[str] = []
    if isinstance(value, list):
        items = schema.get("items")
        for position, element in enumerate(value):
            if isinstance(items, Mapping):
                gone += prune(element, items, index(path, position), root=False)
        return gone
    if not isinstance(value, dict):
        return gone
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    keep = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or others is True
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    for name in list(value):
        at = f"{path}.{name}".lstrip(".")
        if embedded and name in _KEPT:
            continue
        if name in properties:
            gone += prune(value[name], properties[name], at, root=False)
        elif isinstance(others, Mapping):
            gone += prune(value[name], others, at, root=False)
        elif not keep:
            del value[name]
            gone.append(at)
    return gone


def fill(value: Json, schema: Schema) -> None:
    """Put the schema's defaults where nothing is, in place."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for element in value:
                fill(element, items)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for name, inner in properties.items():
        if not isinstance(inner, Mapping):
            continue
        if "default" in inner and (
            name not in value or (value[name] is None and not inner.get("nullable"))
        ):
            value[name] = copy.deepcopy(inner["default"])
        elif name in value and value[name] is None and not inner.get("nullable"):
            del value[name]
        if name in value:
            fill(value[name], inner)
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        for name, element in value.items():
            if name not in properties:
                fill(element, others)


def has_defaults(schema: Schema) -> bool:
    """Tell whether `fill` could ever do something."""
    properties = (schema.get("properties") or {}).values()
    inner = (schema.get("items"), schema.get("additionalProperties"), *properties)
    return "default" in schema or any(has_defaults(it) for it in inner if isinstance(it, Mapping))


def check(errors: Errors, value: Json, schema: Schema, path: str = "") -> None:
    """Say where a value does not fit."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            errors.invalid(path, _type(value), f"{path} in body must be of type integer or string")
            return
    elif not _is(value, schema.get("type")):
        kind = schema.get("type")
        said = f'{path} in body must be of type {kind}: "{_type(value)}"'
        errors.invalid(path, _type(value), said)
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        errors.refuse(path, value, [str(one) for one in allowed])
    if isinstance(value, str):
        _text(errors, value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _number(errors, value, schema, path)
    elif isinstance(value, list):
        _list(errors, value, schema, path)
    elif isinstance(value, dict):
        _object(errors, value, schema, path)
    _combined(errors, value, schema, path)


def _is(value: Json, kind: Any) -> bool:
    if kind is None or kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _type(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _text(errors: Errors, value: str, schema: Schema, path: str) -> None:
    most, least, pattern = (schema.get(n) for n in ("maxLength", "minLength", "pattern"))
    if most is not None and len(value) > most:
        errors.too_long(path, most)
    if least is not None and len(value) < least:
        errors.invalid(path, value, f"{path} in body should be at least {least} chars long")
    if pattern is not None and not _found(str(pattern), value):
        errors.invalid(path, value, f"{path} in body should match '{pattern}'")


def _found(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # Go's words for classes that Python does not have
        return True


def _number(errors: Errors, value: float, schema: Schema, path: str) -> None:
    low, high, step = (schema.get(name) for name in ("minimum", "maximum", "multipleOf"))
    said = f"{path} in body should be"
    if low is not None:
        strict = bool(schema.get("exclusiveMinimum"))
        if value < low or (strict and value == low):
            errors.invalid(
                path, value, f"{said} greater than {'' if strict else 'or equal to '}{low}"
            )
    if high is not None:
        strict = bool(schema.get("exclusiveMaximum"))
        if value > high or (strict and value == high):
            errors.invalid(
                path, value, f"{said} less than {'' if strict else 'or equal to '}{high}"
            )
    if step and value % step:
        errors.invalid(path, value, f"{said} a multiple of {step}")


def _list(errors: Errors, value: list[Json], schema: Schema, path: str) -> None:
    most, least, items = (schema.get(name) for name in ("maxItems", "minItems", "items"))
    if most is not None and len(value) > most:
        errors.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        errors.invalid(path, len(value), f"{path} in body should have at least {least} items")
    if schema.get("x-kubernetes-list-type") == "set" or schema.get("uniqueItems"):
        seen: list[Json] = []
        for position, element in enumerate(value):
            if element in seen:
                errors.duplicate(index(path, position), element)
            seen.append(element)
    if isinstance(items, Mapping):
        for position, element in enumerate(value):
            check(errors, element, items, index(path, position))


def _object(errors: Errors, value: dict[str, Json], schema: Schema, path: str) -> None:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        errors.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        errors.invalid(path, len(value), f"{path} in body should have at least {least} properties")
    for name in schema.get("required") or ():
        if name not in value:
            errors.required(f"{path}.{name}".lstrip("."))
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for name, element in value.items():
        at = f"{path}.{name}".lstrip(".")
        if not path and name in _KEPT:
            continue
        if isinstance(properties.get(name), Mapping):
            check(errors, element, properties[name], at)
        elif isinstance(others, Mapping):
            check(errors, element, others, at)


def _fits(value: Json, schema: Schema, path: str) -> bool:
    errors = Errors()
    check(errors, value, schema, path)
    return not errors.found


def _combined(errors: Errors, value: Json, schema: Schema, path: str) -> None:
    for each in schema.get("allOf") or ():
        check(errors, value, each, path)
    some, one, no = schema.get("anyOf"), schema.get("oneOf"), schema.get("not")
    if some and not any(_fits(value, each, path) for each in some):
        errors.invalid(path, "", f"{path} in body must validate at least one schema (anyOf)")
    if one and sum(_fits(value, each, path) for each in one) != 1:
        errors.invalid(path, "", f"{path} in body must validate one and only one schema (oneOf)")
    if isinstance(no, Mapping) and _fits(value, no, path):
        errors.invalid(path, "", f"{path} in body must not validate the schema (not)")
