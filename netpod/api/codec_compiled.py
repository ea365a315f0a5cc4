"""An object's fields as plain JSON values: a function per class, written out field by field.

A pod has some two hundred fields, most of which hold their defaults; a loop over descriptions of them takes three
times as long as code that names each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.api.meta import Json, Struct

Encoder = Callable[[Any], Json]
Encode = Callable[[Any, bool], dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How one field is written.

    Attributes:
        attribute: Its Python name.
        name: Its JSON name.
        default: What is left out.
        always: Whether it is written nevertheless.
        encoder: Makes JSON of its value; None where it is JSON as it stands.
        shared: Whether its class is SHARED.
    """

    attribute: str
    name: str
    default: Any
    always: bool
    encoder: Encoder | None
    shared: bool


def compiled(cls: type[Struct], fields: Sequence[Field], shared_text: Encoder) -> Encode:
    """A function of an object, and of whether SHARED fields become text that is remembered."""
    scope: dict[str, Any] = {"shared_text": shared_text}
    lines = ["def encode(obj, as_text):", "    out = {}"]
    for place, field in enumerate(fields):
        scope[f"default{place}"], scope[f"encode{place}"] = field.default, field.encoder
        lines.append(f"    value = obj.{field.attribute}")
        indent = "    "
        if not field.always:
            lines.append(f"    if value is not default{place} and value != default{place}:")
            indent = "        "
        made = "value" if field.encoder is None else f"encode{place}(value)"
        if field.shared:
            made = f"shared_text(value) if as_text else {made}"
        if field.encoder is not None:
            made = f"None if value is None else {made}"
        lines.append(f"{indent}out[{field.name!r}] = {made}")
    lines += [
        "    unknown = obj.unknown",
        "    if unknown:",
        "        out.update(unknown)",
        "    return out",
    ]
    exec(compile("\n".join(lines), f"<encoder of {cls.__name__}>", "exec"), scope)
    made_: Encode = scope["encode"]
    return made_
