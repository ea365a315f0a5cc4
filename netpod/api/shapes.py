"""The types of what objects keep as written: upstream refuses a value of another type before it looks at any rule.

    shape = STRING | NUMBER | INTEGER | BOOLEAN | ANY | QUANTITY | PORT | TIME
          | [shape]              a list
          | {"*": shape}         a map by any key
          | {NAME: shape, ...}   an object; what it has besides is kept

null stands for nothing everywhere. Grown-up types are classes: these are the shapes of what netpod passes on.

Source: k8s.io/api */types.go.
"""

import re
from collections.abc import Mapping
from typing import Any

from netpod.api import quantity
from netpod.api.validate_errors import Errors, index, key

Shape = Any

STRING, INTEGER, BOOLEAN, ANY = "a string", "an integer", "a boolean", ""
NUMBER = "a number"
QUANTITY, PORT, TIME = "a quantity", "an integer or a string", "a time as of RFC 3339"

REFERENCE: Shape = {
    "apiGroup": STRING,
    "kind": STRING,
    "name": STRING,
    "scope": STRING,
    "namespace": STRING,
}
REQUIREMENT: Shape = {"key": STRING, "operator": STRING, "values": [STRING]}
SELECTOR: Shape = {"matchLabels": {"*": STRING}, "matchExpressions": [REQUIREMENT]}

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TYPES: Mapping[str, tuple[type, ...]] = {
    STRING: (str,),
    INTEGER: (int,),
    NUMBER: (int, float),
    BOOLEAN: (bool,),
    PORT: (int, str),
    QUANTITY: (int, float, str),
    TIME: (str,),
}
_EXACTLY = {**_TYPES, QUANTITY: (), TIME: ()}
"""The classes a value of a type has for sure; what a time or a quantity says must be read."""


def is_shaped(errors: Errors, value: Any, shape: Shape, path: str) -> bool:
    """Say whether a value has a shape; what has not is told once, as unreadable."""
    # Nearly all have it, and looking takes a third of the time of looking and knowing where.
    return _fits(value, shape) or _told(errors, value, shape, path)


def _fits(value: Any, shape: Shape) -> bool:
    """Whether a value has a shape for sure; False leaves it to `_told`."""
    if value is None or shape == ANY:
        return True
    kind = type(value)
    if type(shape) is str:
        return kind in _EXACTLY[shape]
    if type(shape) is list:
        if kind is not list and kind is not tuple:
            return False
        only = shape[0]
        for item in value:
            if not _fits(item, only):
                return False
        return True
    if kind is not dict:
        return False
    every = shape.get("*")
    for name, item in value.items():
        known = shape.get(name, ANY) if every is None else every
        if not _fits(item, known):
            return False
    return True


def _told(errors: Errors, value: Any, shape: Shape, path: str) -> bool:
    if value is None or shape == ANY:
        return True
    if isinstance(shape, str):
        return _is_scalar(errors, value, shape, path)
    if isinstance(shape, list):
        if not isinstance(value, list | tuple):
            return _wrong(errors, value, "a list", path)
        return all(_told(errors, item, shape[0], index(path, n)) for n, item in enumerate(value))
    if not isinstance(value, Mapping):
        return _wrong(errors, value, "an object", path)
    every = shape.get("*")
    if every is not None:
        return all(_told(errors, item, every, key(path, n)) for n, item in value.items())
    return all(
        _told(errors, item, shape[name], f"{path}.{name}")
        for name, item in value.items()
        if name in shape
    )


def _is_scalar(errors: Errors, value: Any, shape: str, path: str) -> bool:
    fits = isinstance(value, _TYPES[shape]) and isinstance(value, bool) == (shape == BOOLEAN)
    if not fits or (shape == TIME and not _TIME.fullmatch(value)):
        return _wrong(errors, value, shape, path)
    if shape == QUANTITY:
        try:
            quantity.parse(value)
        except ValueError as error:
            errors.unreadable(path, value, error)
            return False
    return True


def _wrong(errors: Errors, value: Any, wanted: str, path: str) -> bool:
    errors.unreadable(path, value, ValueError(f"must be {wanted}"))
    return False
