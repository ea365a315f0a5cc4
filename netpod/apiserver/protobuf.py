"""The two kinds that current kubectl sends as protobuf without falling back to JSON: RBAC's bindings.

A body is the magic `k8s\\0` and a runtime.Unknown; its `raw` is the object. Only what `kubectl create rolebinding` and
`create clusterrolebinding` fill is read: names, labels, annotations, subjects and the role.

Source: k8s.io/apimachinery pkg/runtime/generated.proto, pkg/apis/meta/v1/generated.proto; k8s.io/api rbac/v1
generated.proto; the Protocol Buffers encoding guide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netpod import errors
from netpod.api.meta import Json

MEDIA = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
KINDS = ("RoleBinding", "ClusterRoleBinding")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its JSON name, and its message where it is one; `many` repeats, `pairs` is a string map."""

    name: str
    message: Mapping[int, "Field"] | None = None
    many: bool = False
    pairs: bool = False


_TYPE = {1: Field("apiVersion"), 2: Field("kind")}
_METADATA = {
    1: Field("name"),
    2: Field("generateName"),
    3: Field("namespace"),
    11: Field("labels", pairs=True),
    12: Field("annotations", pairs=True),
}
_SUBJECT = {1: Field("kind"), 2: Field("apiGroup"), 3: Field("name"), 4: Field("namespace")}
_ROLE = {1: Field("apiGroup"), 2: Field("kind"), 3: Field("name")}
_BINDING = {
    1: Field("metadata", _METADATA),
    2: Field("subjects", _SUBJECT, many=True),
    3: Field("roleRef", _ROLE),
}


def decode(body: bytes) -> dict[str, Json]:
    """A binding as plain JSON values.

    Raises:
        UnsupportedMediaType: another kind, which client libraries then send as JSON.
        BadRequest: the bytes are no such message.
    """
    try:
        parts = dict(_fields(body[len(MAGIC) :])) if body.startswith(MAGIC) else {}
        data = _message(parts[1], _TYPE) if 1 in parts else {}
        if data.get("kind") not in KINDS:
            raise errors.UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json, application/yaml"
            )
        return {**data, **_message(parts.get(2, b""), _BINDING)}
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise errors.BadRequest(f"cannot decode protobuf: {error}") from error


def _message(body: bytes, known: Mapping[int, Field]) -> dict[str, Json]:
    data: dict[str, Json] = {}
    for number, value in _fields(body):
        field = known.get(number)
        if field is None:
            continue
        if field.pairs:
            pair = dict(_fields(value))
            key = pair.get(1, b"").decode()
            data.setdefault(field.name, {})[key] = pair.get(2, b"").decode()
            continue
        made: Json = value.decode() if field.message is None else _message(value, field.message)
        if field.many:
            data.setdefault(field.name, []).append(made)
        elif made:
            data[field.name] = made
    return data


def _fields(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each length-delimited field; others are passed over."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        match tag & 7:
            case 0:
                _, at = _varint(body, at)
            case 1:
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
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")
