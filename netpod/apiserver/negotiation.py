"""Content types: what a client sends and what it wants back.

kubectl asks for `application/json;as=Table;v=v1;g=meta.k8s.io,application/json`; client-go offers protobuf first and
JSON second. netpod speaks JSON and YAML, so the first entry it can serve wins.

Source: k8s.io/apiserver pkg/endpoints/handlers/negotiation/negotiate.go.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from netpod import errors
from netpod.api import codec, yamltext
from netpod.api.meta import Json
from netpod.api.registry import Resource
from netpod.apiserver import protobuf

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
PARTIAL = "PartialObjectMetadata"
DISCOVERY = "apidiscovery.k8s.io"
TRANSFORMS = {
    ("Table", "v1"),
    ("Table", "v1beta1"),
    ("PartialObjectMetadata", "v1"),
    ("PartialObjectMetadata", "v1beta1"),
    ("PartialObjectMetadataList", "v1"),
    ("PartialObjectMetadataList", "v1beta1"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Shape of an answer: `kind` is "" for the object itself, else Table or PartialObjectMetadata(List)."""

    kind: str = ""
    version: str = ""


AS_IS = Wanted()


@functools.lru_cache(maxsize=256)
def wanted(accept: str) -> Wanted:
    """Choose from an Accept header; "" accepts everything.

    Raises:
        NotAcceptable: nothing in it can be served.
    """
    if not accept.strip():
        return AS_IS
    known = False
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        options = dict(part.partition("=")[::2] for part in parameters)
        known = known or media == protobuf.MEDIA
        if media not in (JSON, *YAML, "application/*", "*/*"):
            continue
        known = True
        kind = options.get("as", "")
        if not kind:
            return AS_IS
        if options.get("g") == "meta.k8s.io" and (kind, options.get("v", "")) in TRANSFORMS:
            return Wanted(kind, options["v"])
    if known:
        raise errors.NotAcceptable(
            f"only the following media types are accepted: {JSON}, {YAML[0]}"
        )
    raise errors.UnknownMedia("406: Not Acceptable")


@functools.lru_cache(maxsize=256)
def is_yaml(accept: str) -> bool:
    """Whether the first entry of an Accept header that can be served is YAML."""
    if "yaml" not in accept:
        return False
    for entry in accept.split(","):
        media = entry.partition(";")[0].strip()
        if media in YAML or media in (JSON, "application/*", "*/*"):
            return media in YAML
    return False


@functools.lru_cache(maxsize=256)
def aggregated(accept: str) -> str:
    """Version of the aggregated discovery document a client prefers, "" for the plain ones."""
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        if media not in (JSON, *YAML, "application/*", "*/*"):
            continue
        options = dict(part.partition("=")[::2] for part in parameters)
        if not options.get("as"):
            return ""
        if options.get("g") == DISCOVERY and options.get("v") in ("v2", "v2beta1"):
            return options["v"]
    return ""


def body(data: bytes, content_type: str, kind: str = "") -> dict[str, Json]:
    """Read a request's body, which is to be an object of a kind.

    Raises:
        UnsupportedMediaType: neither JSON nor YAML.
        BadRequest: it does not parse, or is no object.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON):
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise _unrecognized(data, kind, f"{_TYPED}{json_fault(error)}") from error
        yamltext.check_depth(found, data)
    elif media in YAML:
        try:
            documents = codec.load_manifests(data)
        except errors.BadRequest as error:
            raise _unrecognized(data, kind, str(error)) from error
        if len(documents) != 1:
            raise errors.BadRequest(
                f"cannot parse YAML: expected one document, found {len(documents)}"
            )
        found = documents[0]
    elif media == protobuf.MEDIA:
        found = protobuf.decode(data)
        yamltext.check_depth(found)
    else:
        raise errors.UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: "
            f"{JSON}, {YAML[0]}, {protobuf.MEDIA}"
        )
    if not isinstance(found, dict):
        cause = f"json: cannot unmarshal {word(found)} into Go value of type {_TYPE_META}"
        raise _unrecognized(data, kind, _TYPED + cause)
    return found


_TYPED = "couldn't get version/kind; json parse error: "
_TYPE_META = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
_WORDS: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    type(None): "null",
}
_SHOWN = 30
"""Most bytes of a body that are said again in an error. Source: summarizeData."""


def word(value: Json) -> str:
    """What Go's decoder calls a JSON value."""
    return next(word for type_, word in _WORDS.items() if isinstance(value, type_))


def json_fault(error: orjson.JSONDecodeError) -> str:
    """In the words of Go's decoder."""
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character {error.doc[error.pos]!r} looking for beginning of value"


def _unrecognized(data: bytes, kind: str, cause: str) -> errors.BadRequest:
    if not kind:
        return errors.BadRequest(f"cannot decode the body: {cause}")
    if not data:
        shown = "<empty>"
    elif data.startswith(b"{"):
        cut = data if len(data) <= _SHOWN else data[: _SHOWN - 1] + b" ..."
        shown = cut.decode(errors="replace")
    else:
        shown = data.hex() if len(data) <= _SHOWN else f"{data[: _SHOWN - 1].hex()} ..."
    return errors.BadRequest(
        f"the object provided is unrecognized (must be of type {kind}): {cause} ({shown})"
    )


def metadata(data: Mapping[str, Json], version: str) -> dict[str, Json]:
    """An object's PartialObjectMetadata in a version of meta.k8s.io."""
    return {
        "kind": PARTIAL,
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": data["metadata"],
    }


def partial(data: Mapping[str, Json], asked: Wanted, resource: Resource) -> dict[str, Json]:
    """The answer to who asked for one object's metadata.

    Raises:
        NotAcceptable: the client asked for a list of them.
    """
    if asked.kind != PARTIAL:
        raise errors.NotAcceptable(
            f"you requested {asked.kind}, but the requested object is not a list "
            f"(*{_package(resource)}.{resource.kind})"
        )
    return metadata(data, asked.version)


def check_list(asked: Wanted, resource: Resource) -> None:
    """Refuse who asked for the metadata of one object of a list.

    Raises:
        NotAcceptable: so it is.
    """
    if asked.kind == PARTIAL:
        raise errors.NotAcceptable(
            f"you requested {PARTIAL}, but the requested object is a list "
            f"(*{_package(resource)}.{resource.list_kind})"
        )


def _package(resource: Resource) -> str:
    return resource.group.partition(".")[0] or "core"


def dump(data: Mapping[str, Json]) -> bytes:
    """JSON text of plain values."""
    return orjson.dumps(data)
