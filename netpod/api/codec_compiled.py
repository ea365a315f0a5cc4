"""Functions of one class that codec.py needs most, written out field by field: its encoder, and whether it is clean.

A pod has some two hundred fields, most of which hold their defaults; a loop over descriptions of them takes three
times as long as code that names each.

Source: CPython Lib/dataclasses.py, which makes `__init__` and `__eq__` in the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.api import memo
from netpod.api.meta import Json, Struct

Encoder = Callable[[Any], Json]
Encode = Callable[[Any, bool], dict[str, Json]]
IsClean = Callable[[Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How one field is written.

    Attributes:
        attribute: Its Python name.
        name: Its JSON name.
        default: What is left out.
        always: Whether it is written nevertheless.
        encoder: Makes JSON of its value; None where it is JSON as it stands.
        empty: Whether its JSON is empty just when it holds its default; looking at that is cheaper than comparing.
        shared: Whether its class is SHARED.
    """

    attribute: str
    name: str
    default: Any
    always: bool
    encoder: Encoder | None
    empty: bool
    shared: bool


def encoder(cls: type[Struct], fields: Sequence[Field], shared_text: Encoder) -> Encode:
    """A function of an object, and of whether SHARED fields become text that is remembered."""
    scope: dict[str, Any] = {"shared_text": shared_text}
    lines = ["def encode(obj, as_text):", "    out = {}"]
    for place, field in enumerate(fields):
        scope[f"default{place}"], scope[f"encode{place}"] = field.default, field.encoder
        lines.append(f"    value = obj.{field.attribute}")
        indent = "    "
        if field.empty and not field.always:
            lines.append(f"    if value is not default{place}:")
            lines.append(f"        made = {_made(place, field)}")
            lines.append("        if made:")
            lines.append(f"            out[{field.name!r}] = made")
            continue
        if not field.always:
            same = f"value == default{place}"
            if field.shared:
                scope[f"is_default{place}"] = memo.by_identity(field.default.__eq__)
                same = f"is_default{place}(value) is True"
            lines.append(f"    if value is not default{place} and not ({same}):")
            indent = "        "
        lines.append(f"{indent}out[{field.name!r}] = {_made(place, field)}")
    lines += [
        "    unknown = obj.unknown",
        "    if unknown:",
        "        out.update(unknown)",
        "    return out",
    ]
    exec(compile("\n".join(lines), f"<encoder of {cls.__name__}>", "exec"), scope)
    made_: Encode = scope["encode"]
    return made_


def _made(place: int, field: Field) -> str:
    if field.encoder is None:
        return "value"
    made = f"encode{place}(value)"
    if field.shared:
        made = f"shared_text(value) if as_text else {made}"
    return f"None if value is None else {made}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A field that may hold structs: one, or with `many` a tuple of them; None where neither is sure."""

    attribute: str
    default: Any
    many: bool | None


def cleanness(
    cls: type[Struct], fields: Sequence[Nested], inner: IsClean, *, may_be_open: bool
) -> IsClean:
    """A function that tells whether an object surely holds no unknown field.

    Args:
        cls: Its class.
        fields: Where structs may be.
        inner: Tells it of such a struct.
        may_be_open: Whether the class keeps part of its meaning among the unknown fields.
    """
    scope: dict[str, Any] = {"inner": inner}
    lines = ["def is_clean(obj):"]
    if not may_be_open:
        lines += ["    if obj.unknown:", "        return False"]
    for place, field in enumerate(fields):
        scope[f"default{place}"] = field.default
        lines.append(f"    value = obj.{field.attribute}")
        lines.append(f"    if value is not default{place} and value is not None and value != ():")
        if field.many is None:
            lines.append("        return False")
        elif field.many:
            lines.append("        for element in value:")
            lines.append("            if not inner(element):")
            lines.append("                return False")
        else:
            lines.append("        if not inner(value):")
            lines.append("            return False")
    lines.append("    return True")
    exec(compile("\n".join(lines), f"<cleanness of {cls.__name__}>", "exec"), scope)
    made: IsClean = scope["is_clean"]
    return made
