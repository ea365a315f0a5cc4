"""/openapi/v2 and /openapi/v3: what `kubectl explain`, `apply`, `diff` and checks before sending read.

v2 is one document, as JSON or as protobuf; v3 an index and one document per group and version, whose address holds
the hash of its content, so that clients may keep it for ever. Documents are made when first asked for.

Source: k8s.io/kube-openapi pkg/handler, pkg/handler3, pkg/builder3.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Json
from netpod.apiserver import openapi_definitions, openapi_paths, openapi_proto
from netpod.apiserver.calls import Reply
from netpod.apiserver.openapi_definitions import REF

INFO = {"title": "Kubernetes", "version": "v1.30.0-netpod"}
# Newer Go refuses the "@" of the type old kubectl asks for, in old kubectl too, so it is answered with the newer one.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_ACCEPTED = ("application/com.github.proto-openapi.spec.v2", "com.github.openapi.spec.v2")
JSON = "application/json"
V3 = "/openapi/v3"
COMPONENTS = "#/components/schemas/"

Resources = tuple[registry.Resource, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as sent; `tag` is the hash of its content."""

    body: bytes
    content_type: str
    tag: str


def answer(path: str, accept: str, if_none_match: str = "", custom: Resources = ()) -> Reply | None:
    """The answer to a GET below /openapi; None for any other path.

    Args:
        path: Path of the URL.
        accept: The request's Accept header.
        if_none_match: The request's If-None-Match header; a match is answered with 304.
        custom: Resources that CustomResourceDefinitions added.

    Raises:
        NotFound: /openapi/v3 has no such group and version.
    """
    if path not in ("/openapi/v2", V3) and not path.startswith(f"{V3}/"):
        return None
    resources = (*registry.RESOURCES, *custom)
    if path == "/openapi/v2":
        found = _v2(resources, any(name in accept for name in V2_ACCEPTED))
    elif path == V3:
        found = _index(resources)
    else:
        place = path.removeprefix(f"{V3}/")
        chosen = _places(resources).get(place)
        if chosen is None:
            raise errors.UnknownPath(f"no group version at {path}")
        found = _v3(chosen)
    headers = (("ETag", f'"{found.tag}"'), ("Vary", "Accept"))
    if f'"{found.tag}"' in if_none_match:
        return Reply(status=304, content_type=found.content_type, headers=headers)
    return Reply(body=found.body, content_type=found.content_type, headers=headers)


def _document(data: Mapping[str, Json]) -> Document:
    body = orjson.dumps(data)
    return Document(body, JSON, hashlib.sha256(body).hexdigest().upper())


@functools.lru_cache(maxsize=2)
def _v2_json(resources: Resources) -> Mapping[str, Json]:
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": {path: item for r in resources for path, item in openapi_paths.paths(r)},
        "definitions": openapi_definitions.definitions(resources, v2=True),
    }


@functools.lru_cache(maxsize=4)
def _v2(resources: Resources, protobuf: bool) -> Document:
    data = _v2_json(resources)
    found = _document(data)
    if not protobuf:
        return found
    return Document(openapi_proto.document(data), V2_PROTOBUF, found.tag)


def _places(resources: Resources) -> Mapping[str, Resources]:
    """Resources by `api/v1`, `apis/apps/v1`, ..."""
    places: dict[str, list[registry.Resource]] = {}
    for resource in resources:
        place = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
        places.setdefault(place, []).append(resource)
    return {place: tuple(found) for place, found in places.items()}


@functools.lru_cache(maxsize=2)
def _index(resources: Resources) -> Document:
    return _document(
        {
            "paths": {
                place: {"serverRelativeURL": f"{V3}/{place}?hash={_v3(chosen).tag}"}
                for place, chosen in sorted(_places(resources).items())
            }
        }
    )


@functools.lru_cache(maxsize=128)
def _v3(chosen: Resources) -> Document:
    paths = {path: _item_v3(item) for r in chosen for path, item in openapi_paths.paths(r)}
    definitions = openapi_definitions.definitions(chosen)
    return _document(
        {
            "openapi": "3.0.0",
            "info": INFO,
            "paths": paths,
            "components": {
                "schemas": {name: _schema_v3(schema) for name, schema in definitions.items()}
            },
        }
    )


def _item_v3(item: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: [_parameter_v3(parameter) for parameter in value]
        if name == "parameters"
        else _operation_v3(value)
        for name, value in item.items()
    }


def _operation_v3(operation: Mapping[str, Json]) -> dict[str, Json]:
    made = {k: v for k, v in operation.items() if k not in ("consumes", "produces", "responses")}
    made["parameters"] = [
        _parameter_v3(one) for one in operation["parameters"] if one["in"] != "body"
    ]
    for one in operation["parameters"]:
        if one["in"] == "body":
            schema = _schema_v3(one["schema"])
            content = {media: {"schema": schema} for media in operation["consumes"]}
            made["requestBody"] = {"content": content, "required": True}
    made["responses"] = {
        code: {
            "description": response["description"],
            **(
                {"content": {JSON: {"schema": _schema_v3(response["schema"])}}}
                if "schema" in response
                else {}
            ),
        }
        for code, response in operation["responses"].items()
    }
    return made


def _parameter_v3(parameter: Mapping[str, Json]) -> dict[str, Json]:
    made = {k: v for k, v in parameter.items() if k != "type"}
    made["schema"] = {"type": parameter["type"], "uniqueItems": True}
    return made


def _schema_v3(schema: Mapping[str, Json]) -> dict[str, Json]:
    """A Swagger schema in OpenAPI 3: other references, which stand alone, and any type for numbers or names."""
    made: dict[str, Json] = {}
    for name, value in schema.items():
        if name == "$ref":
            continue
        if name == "properties":
            made[name] = {field: _schema_v3(inner) for field, inner in value.items()}
        elif name in ("items", "additionalProperties"):
            made[name] = _schema_v3(value)
        else:
            made[name] = value
    if schema.get("format") == "int-or-string":
        del made["type"]
        made["oneOf"] = [{"type": "integer"}, {"type": "string"}]
    if "$ref" in schema:
        reference = {"$ref": COMPONENTS + schema["$ref"].removeprefix(REF)}
        return {**made, "default": {}, "allOf": [reference]} if made else reference
    return made
