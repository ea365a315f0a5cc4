"""Schemas of custom kinds as /openapi/v2 and /openapi/v3 publish them.

kubectl checks a manifest against v2 before it sends it and takes a list of properties to be complete, so what may
hold fields nobody named is published there without any.

Source: k8s.io/apiextensions-apiserver pkg/controller/openapi/{builder/builder.go,v2/conversion.go}.
"""

from collections.abc import Mapping

from netpod.api.meta import Json

Schema = dict[str, Json]

_PRESERVES = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_JUNCTORS = frozenset(("allOf", "oneOf", "anyOf", "not", "nullable"))
_INNER = ("items", "additionalProperties")


def published(schema: Mapping[str, Json], common: Mapping[str, Json], *, v2: bool) -> Schema:
    """Return the definition of a custom kind, without its group, version and kind.

    Args:
        schema: Its structural schema.
        common: Properties of every object: apiVersion, kind and metadata.
        v2: Whether it is for /openapi/v2.
    """
    if v2 and schema.get(_PRESERVES):
        return {"type": "object"}
    made = _embedding(_plain(schema) if v2 else dict(schema), common, v2=v2)
    return {**made, "properties": {**made.get("properties", {}), **common}}


def _plain(schema: Mapping[str, Json]) -> Schema:
    """A schema in what OpenAPI 2 and kubectl understand."""
    made: Schema = {name: value for name, value in schema.items() if name not in _JUNCTORS}
    if schema.get("nullable") or schema.get(_PRESERVES):
        for name in ("items", "properties"):
            made.pop(name, None)
        if schema.get("nullable") or made.get("type") == "object":
            made.pop("type", None)
    if made.get("type") == "array" and "items" not in made:
        del made["type"]
    properties: Mapping[str, Json] = made.get("properties", {})
    if properties:
        made["properties"] = {name: _plain(inner) for name, inner in properties.items()}
    for name in _INNER:
        if isinstance(made.get(name), Mapping):
            made[name] = _plain(made[name])
    left = [
        name for name in made.get("required") or () if not _nullable(schema, "properties", name)
    ]
    if _nullable(schema, "additionalProperties"):
        left = []
    if left:
        made["required"] = left
    else:
        made.pop("required", None)
    return made


def _nullable(schema: Mapping[str, Json], *path: str) -> bool:
    found: Json = schema
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and bool(found.get("nullable"))


def _embedding(schema: Schema, common: Mapping[str, Json], *, v2: bool) -> Schema:
    """Add what every object has where the schema embeds whole objects."""
    made = dict(schema)
    if made.get("properties"):
        made["properties"] = {
            name: _embedding(inner, common, v2=v2) for name, inner in made["properties"].items()
        }
    for name in _INNER:
        if isinstance(made.get(name), Mapping):
            made[name] = _embedding(made[name], common, v2=v2)
    if made.get(_EMBEDDED) and not (v2 and made.get(_PRESERVES)):
        made["properties"] = {**made.get("properties", {}), **common}
        made["required"] = [*dict.fromkeys([*made.get("required", ()), "kind", "apiVersion"])]
    return made
