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
from netpod.apiserver import protobuf

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
DISCOVERY = "apidiscovery.k8s.io"
TRANSFORMS = {
    ("Table", "v1"),
    ("Table", "v1beta1"),
    ("PartialObjectMetadata", "v1"),
    ("PartialObjectMetadataList", "v1"),
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
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        options = dict(part.partition("=")[::2] for part in parameters)
        if media not in (JSON, *YAML, "application/*", "*/*"):
            continue
        kind = options.get("as", "")
        if not kind:
            return AS_IS
        if options.get("g") == "meta.k8s.io" and (kind, options.get("v", "")) in TRANSFORMS:
            return Wanted(kind, options["v"])
    raise errors.NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml, "
        "application/json;as=Table;v=v1;g=meta.k8s.io"
    )


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


def body(data: bytes, content_type: str) -> dict[str, Json]:
    """Read a request's body.

    Raises:
        UnsupportedMediaType: neither JSON nor YAML.
        BadRequest: it does not parse, or is no object.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON):
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise errors.BadRequest(f"cannot parse JSON: {error}") from error
        yamltext.check_depth(found, data)
    elif media in YAML:
        documents = codec.load_manifests(data)
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
            f"{JSON}, {YAML[0]}"
        )
    if not isinstance(found, dict):
        raise errors.BadRequest("cannot decode the body: expected an object")
    return found


def partial(data: Mapping[str, Json]) -> dict[str, Json]:
    """An object's PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": data["metadata"],
    }


def dump(data: Mapping[str, Json]) -> bytes:
    """JSON text of plain values."""
    return orjson.dumps(data)
