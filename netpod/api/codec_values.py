"""Decoders of plain JSON values; codec.py puts them together by type hints.

A value of the wrong type raises Mismatch, which collects its path on the way up.
"""

from collections.abc import Callable
from typing import Any

from netpod.api.meta import Json

Decoder = Callable[[Json], Any]


class Mismatch(Exception):
    """A value of the wrong type; collects the path on its way up."""

    def __init__(self, expected: str, found: Json) -> None:
        self.path: list[str] = []
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        where = "".join(reversed(self.path)).lstrip(".")
        return f"{where or '.'}: expected {self.expected}, found {describe(self.found)}"


def describe(value: Json) -> str:
    """A value as messages call it, e.g. `a number (3)`."""

    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, int | float):
        return f"a number ({value})"
    if isinstance(value, str):
        return f'a string ("{value[:40]}")'
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else "an object"


def scalar(kind: type, expected: str) -> Decoder:
    """Decoder of values of exactly one type."""

    def decode_scalar(value: Json) -> Any:
        if type(value) is kind:
            return value
        raise Mismatch(expected, value)

    return decode_scalar


def int_or_string(value: Json) -> Any:
    """Decode a number or a string."""

    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    raise Mismatch("a number or a string", value)


def integer(value: Json) -> Any:
    """Decode an integer of 64 bits; 3.0 counts, true does not."""

    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return value
    raise Mismatch("an integer", value)


def list_of(item: Decoder, plain: type | None = None) -> Decoder:
    """Decoder of a list of such items; those of the `plain` type are taken as they are."""

    def decode_list(value: Json) -> Any:
        if not isinstance(value, list):
            raise Mismatch("a list", value)
        for element in value:
            if type(element) is not plain:
                break
        else:
            return tuple(value)
        out = []
        for index, element in enumerate(value):
            try:
                out.append(item(element))
            except Mismatch as error:
                error.path.append(f"[{index}]")
                raise
        return tuple(out)

    return decode_list


def mapping_of(item: Decoder, plain: type | None = None) -> Decoder:
    """Decoder of an object of such values; those of the `plain` type are taken as they are."""

    def decode_mapping(value: Json) -> Any:
        if not isinstance(value, dict):
            raise Mismatch("an object", value)
        for element in value.values():
            if type(element) is not plain:
                break
        else:
            return dict(value)
        out = {}
        for key, element in value.items():
            try:
                out[key] = item(element)
            except Mismatch as error:
                error.path.append(f"[{key}]")
                raise
        return out

    return decode_mapping
