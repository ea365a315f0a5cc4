"""Manifest (JSON, YAML) <-> object: the only place that knows camelCase.

A decoder and an encoder are built once per class from its type hints. What a class does not know is
kept in `unknown` and written back, so that nothing an author wrote is lost on the way through.
"""

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar, Union

import orjson

from netpod.api import codec_compiled, codec_values, memo, meta, registry, structs, yamltext
from netpod.api.codec_compiled import Encode, Encoder, IsClean
from netpod.api.codec_values import Decoder
from netpod.api.meta import Json, Object, Struct
from netpod.errors import BadRequest

T = TypeVar("T", bound=Struct)

_ACRONYMS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uuid": "UUID",
    "api": "API",
}
SHARED_BYTES = 16_384
"""Longest JSON of an object that is remembered to be shared."""

_IRREGULAR = {"qos_class": "qosClass", "client_ip": "clientIP"}


def json_name(attribute: str) -> str:
    """Return upstream's JSON name of an attribute: `cluster_ips` -> `clusterIPs`, `from_` -> `from`."""
    if attribute in _IRREGULAR:
        return _IRREGULAR[attribute]
    head, *tail = attribute.rstrip("_").split("_")
    return head + "".join(_ACRONYMS.get(part) or part.capitalize() for part in tail)


def _decoder(hint: Any) -> Decoder:
    """Return the decoder of a type hint."""
    if hint is Any:
        return lambda value: value
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        return codec_values.int_or_string if set(arms) == {int, str} else _decoder(arms[0])
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return codec_values.list_of(_decoder(item), _plain(item))
    if origin is not None and issubclass(origin, Mapping):
        item = typing.get_args(hint)[1]
        return codec_values.mapping_of(_decoder(item), _plain(item))
    if hint is int:
        return codec_values.integer
    if hint is str:
        return codec_values.scalar(str, "a string")
    if hint is bool:
        return codec_values.scalar(bool, "a boolean")
    if isinstance(hint, type) and issubclass(hint, Struct):
        cls = hint
        if cls.SHARED:
            return functools.partial(_decode_shared, cls)
        return lambda value: _decode_struct(cls, value)
    raise AssertionError(f"no decoder for {hint!r}")


def _plain(hint: Any) -> type | None:
    """The type whose values need no decoder, if the hint has one."""
    return hint if hint is str or hint is bool else None


def _encoder(hint: Any) -> Encoder | None:
    """Return the encoder of a type hint; None where the value is JSON as it stands."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        return _encoder(arms[0]) if len(arms) == 1 else None
    if origin is tuple:
        item = _encoder(typing.get_args(hint)[0])
        return list if item is None else lambda value: [item(element) for element in value]
    if origin is not None and issubclass(origin, Mapping):
        each = _encoder(typing.get_args(hint)[1])
        return dict if each is None else lambda value: {k: each(v) for k, v in value.items()}
    if isinstance(hint, type) and issubclass(hint, Struct):
        return encode
    return None


class _Plan:
    """How a class is decoded and looked through; made once per class.

    Attributes:
        layout: Reads and makes its objects.
        decoders: By JSON name: the field's place in the layout, the type a value may have to be taken as it is, and
            what reads any other.
        nested: Fields that may hold structs: place, JSON name.
        unknown: Place of `unknown`.
    """

    __slots__ = ("decoders", "layout", "nested", "open", "unknown")

    def __init__(self, cls: type[Struct]) -> None:
        self.layout = structs.layout(cls)
        self.open = cls.OPEN
        self.unknown = self.layout.index["unknown"]
        self.decoders: dict[str, tuple[int, type | None, Decoder]] = {}
        self.nested: list[tuple[int, str]] = []
        for place, _, name, hint in _fields(cls):
            self.decoders[name] = (place, _plain(hint), _decoder(hint))
            if _holds_structs(hint):
                self.nested.append((place, name))


def _fields(cls: type[Struct]) -> Iterator[tuple[int, Field[Any], str, Any]]:
    """Every field but `unknown`: its place, JSON name and type hint."""
    hints = typing.get_type_hints(cls)
    for place, item in enumerate(fields(cls)):
        if item.name != "unknown":
            name = item.metadata.get("json") or json_name(item.name)
            yield place, item, name, hints[item.name]


def _holds_structs(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, Struct):
        return True
    return any(_holds_structs(argument) for argument in typing.get_args(hint))


_plans: dict[type[Struct], _Plan] = {}


def _plan(cls: type[Struct]) -> _Plan:
    found = _plans.get(cls)
    if found is None:
        found = _plans[cls] = _Plan(cls)
    return found


def _decode_struct(cls: type[T], data: Json) -> T:
    if not isinstance(data, dict):
        raise codec_values.Mismatch("an object", data)
    plan = _plans.get(cls) or _plan(cls)
    decoders = plan.decoders
    values = list(plan.layout.defaults)
    unknown: dict[str, Json] | None = None
    for name, value in data.items():
        found = decoders.get(name)
        if found is None:
            if unknown is None:
                unknown = values[plan.unknown] = {}
            unknown[name] = value
        elif value is not None:
            place, plain, decoder = found
            if type(value) is plain:
                values[place] = value
                continue
            try:
                values[place] = decoder(value)
            except codec_values.Mismatch as error:
                error.path.append(f".{name}")
                raise
    made: T = plan.layout.make(values)
    return made


_shared: dict[tuple[type[Struct], bytes], Struct] = {}


def _decode_shared(cls: type[Struct], data: Json) -> Struct:
    """One object for equal JSON, as long as it is among the last few."""
    text = orjson.dumps(data)
    found = _shared.get((cls, text))
    if found is None:
        found = _decode_struct(cls, data)
        if len(text) <= SHARED_BYTES:
            if len(_shared) >= memo.SIZE:
                _shared.clear()
            _shared[cls, text] = found
    return found


def decode(cls: type[T], data: Mapping[str, Json]) -> T:
    """Make an object of plain JSON values.

    Raises:
        BadRequest: a value has the wrong type; the message names its path.
    """
    try:
        return _decode_struct(cls, data)
    except codec_values.Mismatch as error:
        raise BadRequest(f"cannot decode {cls.__name__}: {error}") from None


_encoders: dict[type[Struct], Encode] = {}


def encode(obj: Struct) -> dict[str, Json]:
    """Turn an object into plain JSON values, leaving out what holds its default."""
    return _encode(obj, False)


def _encode(obj: Struct, as_text: bool) -> dict[str, Json]:
    """Encode; with `as_text`, fields of SHARED classes as JSON text that is remembered."""
    cls = type(obj)
    return (_encoders.get(cls) or _compiled(cls))(obj, as_text)


def _compiled(cls: type[Struct]) -> Encode:
    described = [
        codec_compiled.Field(
            attribute=item.name,
            name=name,
            default=(default := structs.default(cls, item.name)),
            always=bool(item.metadata.get("always")),
            encoder=_encoder(hint),
            empty=isinstance(default, Struct) and not default.SHARED and not encode(default),
            shared=isinstance(default, Struct) and default.SHARED,
        )
        for _, item, name, hint in _fields(cls)
    ]
    made = _encoders[cls] = codec_compiled.encoder(cls, described, _shared_text)
    return made


def from_json(cls: type[T], text: bytes | str) -> T:
    """Read an object from JSON text.

    Raises:
        BadRequest: the text is no JSON, or a value has the wrong type.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"cannot parse JSON: {error}") from error
    return decode(cls, data)


def to_json(obj: Struct) -> bytes:
    """Write an object as JSON text."""
    return orjson.dumps(_encode(obj, True))


@memo.by_identity
def _shared_text(obj: Struct) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(encode(obj)))


def decode_object(data: Mapping[str, Json]) -> Object:
    """Make an object of the class its apiVersion and kind name.

    Raises:
        BadRequest: apiVersion or kind is missing, or a value has the wrong type.
        NotFound: netpod has no such kind.
    """
    api_version, kind = data.get("apiVersion"), data.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
        raise BadRequest("cannot decode object: apiVersion and kind must be set")
    return decode(registry.by_kind(api_version, kind).cls, data)


def unknown_fields(obj: Struct) -> list[str]:
    """Return the paths of all fields netpod has no type for, e.g. `spec.template.spec.foo`."""
    found: list[str] = []
    if not _is_clean(obj):
        _collect_unknown(obj, "", found)
    return found


_cleanness: dict[type[Struct], IsClean] = {}


def _is_clean(obj: Struct) -> bool:
    """Whether an object surely holds no unknown field; almost every one does not."""
    cls = type(obj)
    return (_cleanness.get(cls) or _compiled_cleanness(cls))(obj)


def _inner_is_clean(obj: Any) -> bool:
    if not isinstance(obj, Struct):
        return False
    return not _unknown_of(obj) if obj.SHARED else _is_clean(obj)


def _compiled_cleanness(cls: type[Struct]) -> IsClean:
    nested = [
        codec_compiled.Nested(
            attribute=item.name, default=structs.default(cls, item.name), many=_is_many(hint)
        )
        for _, item, _, hint in _fields(cls)
        if _holds_structs(hint)
    ]
    made = codec_compiled.cleanness(cls, nested, _inner_is_clean, may_be_open=cls.OPEN)
    _cleanness[cls] = made
    return made


def _is_many(hint: Any) -> bool | None:
    """Whether a field that may hold structs holds a tuple of them, or one; None where it is neither."""
    arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
    if typing.get_origin(hint) is tuple and isinstance(arms[0], type):
        return True
    if isinstance(hint, type):
        return False
    return False if len(arms) == 1 and isinstance(arms[0], type) else None


@memo.by_identity
def _unknown_of(obj: Struct) -> list[str]:
    return unknown_fields(obj)


def _collect_unknown(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, tuple):
        for index, element in enumerate(value):
            if isinstance(element, Struct | tuple):
                _collect_unknown(element, f"{path}[{index}]", found)
        return
    if isinstance(value, Mapping):
        for key, element in value.items():
            if isinstance(element, Struct):
                _collect_unknown(element, f"{path}[{key}]", found)
        return
    cls = type(value)
    plan = _plans.get(cls) or _plan(cls)
    values = plan.layout.read(value)
    unknown = values[plan.unknown]
    if unknown and not plan.open:
        found.extend(f"{path}.{name}".lstrip(".") for name in unknown)
    for place, name in plan.nested:
        inner = values[place]
        if inner is plan.layout.defaults[place] or inner is None or inner == ():
            continue
        if isinstance(inner, Struct) and inner.SHARED:
            found.extend(f"{path}.{name}.{below}".lstrip(".") for below in _unknown_of(inner))
        else:
            _collect_unknown(inner, f"{path}.{name}", found)


def load_manifests(text: str | bytes) -> list[dict[str, Json]]:
    """Read all objects of a YAML or JSON text; several documents and `kind: List` are expanded.

    Raises:
        BadRequest: the text does not parse, or a document is no object.
    """
    documents = yamltext.load(text)
    objects: list[dict[str, Json]] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise BadRequest(
                f"cannot parse document {number}: expected an object, found {codec_values.describe(document)}"
            )
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            objects.extend(items)
        else:
            objects.append(document)
    return objects


__all__ = [
    "decode",
    "decode_object",
    "encode",
    "from_json",
    "json_name",
    "load_manifests",
    "meta",
    "to_json",
    "unknown_fields",
]
