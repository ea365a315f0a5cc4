"""Collects what is wrong with an object, in upstream's words.

Source: k8s.io/apimachinery pkg/util/validation/field/errors.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from netpod.api import codec
from netpod.api.meta import Struct
from netpod.errors import FieldError

IMMUTABLE = "field is immutable"
UNREADABLE = "FieldValueTypeInvalid"
NON_NEGATIVE = "must be greater than or equal to 0"


def index(path: str, position: int) -> str:
    """Return `path[3]`."""
    return f"{path}[{position}]"


def key(path: str, name: str) -> str:
    """Return `path[name]`."""
    return f"{path}[{name}]"


def shown(value: Any) -> str:
    """Return a value as messages show it: strings quoted, structs as JSON, what is absent as "null"."""
    if value is None:
        return '"null"'
    if isinstance(value, Struct):
        value = codec.encode(value)
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return codec.encode(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


@dataclass(slots=True)
class Errors:
    """The list under construction. Paths are upstream's, e.g. `spec.ports[0].port`."""

    found: list[FieldError] = field(default_factory=list)

    def _add(self, path: str, reason: str, message: str) -> None:
        self.found.append(FieldError(field=path, reason=reason, message=message))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        """The value is wrong."""
        message = f"Invalid value: {shown(value)}" + (f": {detail}" if detail else "")
        self._add(path, "FieldValueInvalid", message)

    def unreadable(self, path: str, value: Any, cause: ValueError) -> None:
        """The value is none of its type at all: upstream refuses the object before it looks at it."""
        self._add(path, UNREADABLE, f"Invalid value: {shown(value)}: {cause}")

    def each(self, path: str, value: Any, details: Iterable[str]) -> None:
        """The value is wrong, once for each complaint."""
        for detail in details:
            self.invalid(path, value, detail)

    def required(self, path: str, detail: str = "") -> None:
        """A value must be given."""
        message = f"Required value: {detail}" if detail else "Required value"
        self._add(path, "FieldValueRequired", message)

    def supported(self, path: str, value: str, values: Iterable[str]) -> None:
        """Complain unless the value is one of a closed set."""
        allowed = sorted(values)
        if value not in allowed:
            names = ", ".join(f'"{name}"' for name in allowed)
            message = f"Unsupported value: {shown(value)}: supported values: {names}"
            self._add(path, "FieldValueNotSupported", message)

    def refuse(self, path: str, value: Any, values: Iterable[str]) -> None:
        """The value is none of these, which are told in the order given."""
        names = ", ".join(f'"{name}"' for name in values)
        message = f"Unsupported value: {shown(value)}: supported values: {names}"
        self._add(path, "FieldValueNotSupported", message)

    def duplicate(self, path: str, value: Any, detail: str = "") -> None:
        """The value is already taken by an element before."""
        message = f"Duplicate value: {shown(value)}" + (f": {detail}" if detail else "")
        self._add(path, "FieldValueDuplicate", message)

    def forbidden(self, path: str, detail: str) -> None:
        """The field may not be set, or not changed so."""
        self._add(path, "FieldValueForbidden", f"Forbidden: {detail}")

    def too_long(self, path: str, limit: int) -> None:
        """The value exceeds a number of bytes."""
        self._add(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")

    def too_many(self, path: str, actual: int, limit: int) -> None:
        """A list exceeds a number of elements."""
        message = f"Too many: {actual}: must have at most {limit} items"
        self._add(path, "FieldValueTooMany", message)

    def not_found(self, path: str, value: Any) -> None:
        """The value names something that is not there."""
        self._add(path, "FieldValueNotFound", f"Not found: {shown(value)}")

    def immutable(self, path: str, new: Any, old: Any) -> None:
        """Complain when a field changed that may not."""
        if new != old:
            self.invalid(path, new, IMMUTABLE)

    def non_negative(self, path: str, value: int | None) -> None:
        """Complain when a number is below zero."""
        if value is not None and value < 0:
            self.invalid(path, value, NON_NEGATIVE)

    def unique(self, path: str, value: Any, seen: set[Any]) -> None:
        """Complain when the value was seen before; remember it."""
        if value in seen:
            self.duplicate(path, value)
        seen.add(value)
