"""Bodies in protobuf, which current kubectl and client-go send of every built-in kind, become plain JSON values.

A body is the magic `k8s\\0` and a runtime.Unknown; its `raw` is the object. Which field is which stands in
protobuf_messages.txt. Answers are JSON, which every client takes.

Source: k8s.io/apimachinery pkg/runtime/serializer/protobuf, pkg/runtime/generated.proto; the Protocol Buffers
encoding guide; `Time`, `Quantity` and the others that are no plain messages: their files in k8s.io/apimachinery;
k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1/marshal.go for the parts of schemas.
"""

import base64
import functools
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from netpod import errors
from netpod.api import meta, yamltext
from netpod.api.meta import Json

MEDIA = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
_META = "meta/v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Value = int | bytes


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: In JSON; "-" for a message whose fields are its owner's in JSON.
        type: `s`, `i`, `f`, `b`, `y`, or a message with its section, e.g. `core/v1.PodSpec`.
        form: "[]" where it repeats, "{}" where strings are mapped to it.
        keeps: Whether its zero value says something.
    """

    name: str
    type: str
    form: str = ""
    keeps: bool = False


Message = Mapping[int, Field]
_ABOUT: Message = {1: Field("apiVersion", "s"), 2: Field("kind", "s")}


@functools.cache
def messages() -> Mapping[str, Message]:
    """All messages by section and name, e.g. `core/v1.Pod`."""
    found: dict[str, Message] = {}
    section = ""
    for line in Path(__file__).with_name("protobuf_messages.txt").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, *fields = line.split()
            found[f"{section}.{name}"] = dict(_field(section, text) for text in fields)
    return found


def _field(section: str, text: str) -> tuple[int, Field]:
    number, name, kind = text.split(":", 2)
    form = kind[:2] if kind[:2] in ("[]", "{}") else ""
    plain = kind[len(form) :].rstrip("!")
    if len(plain) > 1 and "." not in plain and plain not in _SPECIAL:
        plain = f"{section}.{plain}"
    return int(number), Field(name, plain, form, kind.endswith("!"))


def decode(body: bytes) -> dict[str, Json]:
    """An object as plain JSON values.

    Raises:
        UnsupportedMediaType: another kind than the built-in ones, as custom kinds have no protobuf.
        BadRequest: the bytes are no such message, or schemas in it nest too deep.
    """
    try:
        parts = dict(_fields(body[len(MAGIC) :])) if body.startswith(MAGIC) else {}
        about = _object(_bytes(parts.get(1, b"")), _ABOUT)
        known = _known(str(about.get("apiVersion", "")), str(about.get("kind", "")))
        if known is None:
            raise errors.UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json, application/yaml"
            )
        return {**about, **_object(_bytes(parts.get(2, b"")), known)}
    except (IndexError, ValueError, OverflowError) as error:
        raise errors.BadRequest(f"cannot decode protobuf: {error}") from error


def _known(api_version: str, kind: str) -> Message | None:
    group, _, version = api_version.rpartition("/")
    section = f"{group.partition('.')[0] or 'core'}/{version}"
    # Options have the version of the group they are sent to, and are the same in all.
    return messages().get(f"{section}.{kind}") or (
        messages().get(f"{_META}.{kind}") if kind.endswith("Options") else None
    )


def _object(body: bytes, known: Message, depth: int = 0) -> dict[str, Json]:
    # Only a custom kind's schema contains itself; nothing else nests deeper than the table.
    if depth > yamltext.DEPTH:
        raise yamltext.too_deep()
    data: dict[str, Json] = {}
    for number, value in _fields(body):
        field = known.get(number)
        if field is None:
            continue
        if field.form == "{}":
            pair = dict(_fields(_bytes(value)))
            key = _bytes(pair.get(1, b"")).decode()
            zero: Value = 0 if field.type in "ib" else b""
            data.setdefault(field.name, {})[key] = _value(pair.get(2, zero), field, depth)
        elif field.form:
            data.setdefault(field.name, []).append(_value(value, field, depth))
        elif field.name == "-":
            data |= _value(value, field, depth)
        elif field.keeps or value:
            data[field.name] = _value(value, field, depth)
        elif field.type.count("."):
            # A message without content is there all the same: `emptyDir: {}`.
            data[field.name] = {}
    return data


def _value(value: Value, field: Field, depth: int) -> Json:
    kind = field.type
    if kind == "i":
        return _signed(_int(value))
    if kind == "b":
        return bool(_int(value))
    text = _bytes(value)
    if kind == "s":
        return text.decode()
    if kind == "y":
        return base64.b64encode(text).decode()
    if kind == "f":
        return _number(text)
    name = kind.rpartition(".")[2]
    if special := _SPECIAL.get(name):
        return special(_numbered(text))
    found = _object(text, messages()[kind], depth + 1)
    if names := _ALTERNATIVES.get(name):
        return next((found[it] for it in names if it in found), None)
    return found


def _number(text: bytes) -> int | float:
    if len(text) != 8:
        raise ValueError("a number has eight bytes")
    (found,) = struct.unpack("<d", text)
    if not math.isfinite(found):
        raise ValueError("a number that JSON does not have")
    return int(found) if found.is_integer() else float(found)


def _numbered(body: bytes) -> dict[int, list[Value]]:
    found: dict[int, list[Value]] = {}
    for number, value in _fields(body):
        found.setdefault(number, []).append(value)
    return found


def _time(parts: dict[int, list[Value]], text: Callable[[datetime], str] = meta.timestamp) -> Json:
    if not parts:
        return None
    seconds, nanos = (_signed(_int(parts.get(it, [0])[-1])) for it in (1, 2))
    return text(_EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000))


def _either(parts: dict[int, list[Value]]) -> Json:
    """IntOrString: `type` 1 says string."""
    if _int(parts.get(1, [0])[-1]) == 1:
        return _bytes(parts.get(3, [b""])[-1]).decode()
    return _signed(_int(parts.get(2, [0])[-1]))


def _json(parts: dict[int, list[Value]]) -> Json:
    raw = _bytes(parts.get(1, [b""])[-1])
    return orjson.loads(raw) if raw else None


_SPECIAL: Mapping[str, Callable[[dict[int, list[Value]]], Json]] = {
    "Time": _time,
    "MicroTime": lambda parts: _time(parts, meta.micro_timestamp),
    "Quantity": lambda parts: _bytes(parts.get(1, [b"0"])[-1]).decode(),
    "IntOrString": _either,
    "RawExtension": _json,
    "FieldsV1": _json,
    "JSON": _json,
    "Verbs": lambda parts: [_bytes(it).decode() for it in parts.get(1, [])],
    "ExtraValue": lambda parts: [_bytes(it).decode() for it in parts.get(1, [])],
}
"""Messages that are no objects in JSON."""

_ALTERNATIVES: Mapping[str, tuple[str, str]] = {
    "JSONSchemaPropsOrArray": ("jSONSchemas", "schema"),
    "JSONSchemaPropsOrBool": ("schema", "allows"),
    "JSONSchemaPropsOrStringArray": ("property", "schema"),
}
"""Messages of which JSON has one field's value alone: the first of these that is there."""


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are expected")
    return value


def _int(value: Value) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where a number is expected")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _fields(body: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field; of eight bytes these, and of four, which no kind has, nothing."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        match tag & 7:
            case 0:
                value, at = _varint(body, at)
                yield tag >> 3, value
            case 1:
                if at + 8 > len(body):
                    raise ValueError("a field ends behind the message")
                yield tag >> 3, body[at : at + 8]
                at += 8
            case 2:
                length, at = _varint(body, at)
                if at + length > len(body):
                    raise ValueError("a field ends behind the message")
                yield tag >> 3, body[at : at + length]
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"unknown wire type {other}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        if shift > 63:
            raise ValueError("a number is too long")
