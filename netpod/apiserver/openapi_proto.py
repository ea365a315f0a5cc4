"""Swagger 2.0 as protobuf, the form in which kubectl reads it.

What each message holds is a table of JSON name -> field; a document made of plain JSON values is encoded by walking
it. Only what a Kubernetes schema uses is in the table; what is not is left out.

Source: github.com/google/gnostic openapiv2/OpenAPIv2.proto; protocol buffers encoding.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from netpod.api.meta import Json


class Field(NamedTuple):
    """One field: its number, and what it holds.

    `kind` is string, bool or a message; with [] repeated, with {} a repeated pair of `name` and `value`.
    `wrap` are the numbers of the messages of one field around the value, from the outside in.
    """

    number: int
    kind: str
    wrap: tuple[int, ...] = ()


EXTENSIONS: Mapping[str, int] = {"Schema": 31, "Operation": 13, "PathItem": 10}
"""Number of the field for keys that begin with `x-`."""

MESSAGES: Mapping[str, Mapping[str, Field]] = {
    "Document": {
        "swagger": Field(1, "string"),
        "info": Field(2, "Info"),
        "paths": Field(8, "{}PathItem", (2,)),
        "definitions": Field(9, "{}Schema", (1,)),
    },
    "Info": {"title": Field(1, "string"), "version": Field(2, "string")},
    "PathItem": {
        "get": Field(2, "Operation"),
        "put": Field(3, "Operation"),
        "post": Field(4, "Operation"),
        "delete": Field(5, "Operation"),
        "patch": Field(8, "Operation"),
        "parameters": Field(9, "[]Parameter"),
    },
    "Operation": {
        "tags": Field(1, "[]string"),
        "description": Field(3, "string"),
        "operationId": Field(5, "string"),
        "produces": Field(6, "[]string"),
        "consumes": Field(7, "[]string"),
        "parameters": Field(8, "[]Parameter"),
        "responses": Field(9, "{}Response", (1,)),
    },
    "body": {
        "description": Field(1, "string"),
        "name": Field(2, "string"),
        "in": Field(3, "string"),
        "required": Field(4, "bool"),
        "schema": Field(5, "Schema"),
    },
    "query": {
        "required": Field(1, "bool"),
        "in": Field(2, "string"),
        "description": Field(3, "string"),
        "name": Field(4, "string"),
        "type": Field(6, "string"),
    },
    "path": {
        "required": Field(1, "bool"),
        "in": Field(2, "string"),
        "description": Field(3, "string"),
        "name": Field(4, "string"),
        "type": Field(5, "string"),
    },
    "Response": {"description": Field(1, "string"), "schema": Field(2, "Schema", (1,))},
    "Schema": {
        "$ref": Field(1, "string"),
        "format": Field(2, "string"),
        "description": Field(4, "string"),
        "required": Field(19, "[]string"),
        "additionalProperties": Field(21, "Schema", (1,)),
        "type": Field(22, "string", (1,)),
        "items": Field(23, "Schema", (1,)),
        "properties": Field(25, "{}Schema", (1,)),
    },
}
PARAMETERS: Mapping[str, tuple[int, ...]] = {"body": (1, 1), "query": (1, 2, 3), "path": (1, 2, 4)}
"""By `in`: ParametersItem > Parameter > (NonBodyParameter >) the message of that name above."""


def document(data: Mapping[str, Json]) -> bytes:
    """A Swagger document as gnostic's `openapi.v2.Document`."""
    return _message("Document", data)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _wrapped(wrap: tuple[int, ...], value: bytes) -> bytes:
    for number in reversed(wrap):
        value = _bytes(number, value)
    return value


def _message(name: str, data: Mapping[str, Json]) -> bytes:
    known = MESSAGES[name]
    out: list[bytes] = []
    for key, value in data.items():
        if key.startswith("x-") and name in EXTENSIONS:
            # JSON is YAML; the reader parses the text of an Any as such.
            named = _bytes(1, key.encode()) + _bytes(2, _bytes(2, orjson.dumps(value)))
            out.append(_bytes(EXTENSIONS[name], named))
        elif key in known:
            out.append(_field(known[key], value))
    return b"".join(out)


def _field(field: Field, value: Json) -> bytes:
    kind = field.kind
    if kind == "bool":
        return _varint(field.number << 3) + _varint(int(value))
    if kind.startswith("[]"):
        return b"".join(_bytes(field.number, _value(kind[2:], item)) for item in value)
    if kind.startswith("{}"):
        *outer, inner = field.wrap
        assert not outer, "a map is one message of pairs"
        pairs = [
            _bytes(inner, _bytes(1, name.encode()) + _bytes(2, _named(kind[2:], item)))
            for name, item in value.items()
        ]
        return _bytes(field.number, b"".join(pairs))
    return _bytes(field.number, _wrapped(field.wrap, _value(kind, value)))


def _named(kind: str, value: Json) -> bytes:
    """The value of a pair; a response is wrapped once more (ResponseValue)."""
    return _bytes(1, _message(kind, value)) if kind == "Response" else _message(kind, value)


def _value(kind: str, value: Json) -> bytes:
    if kind == "string":
        return str(value).encode()
    if kind == "Parameter":
        where = value["in"]
        return _wrapped(PARAMETERS[where], _message(where, value))
    return _message(kind, value)
