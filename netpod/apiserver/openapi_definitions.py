"""The schema of every kind, made from the classes of netpod/api: one table for clients and for server-side apply.

The form is Swagger 2.0 `definitions` with upstream's names (`io.k8s.api.core.v1.Pod`) and extensions. Descriptions
are the classes' docstrings and openapi_texts.py; what our classes do not type is in openapi_fields.py, how lists
merge in patch_schema.py.

Source: k8s.io/kube-openapi pkg/generators (extensions); k8s.io/apimachinery pkg/api/resource, util/intstr (formats).
"""

import functools
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields

from netpod.api import codec, meta, registry
from netpod.api.core import Unstructured
from netpod.api.meta import IntOrString, Json, Object, Struct
from netpod.apiserver import openapi_custom, openapi_fields, openapi_texts, patch_schema

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
TIME, MICRO_TIME = f"{META}.Time", f"{META}.MicroTime"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
REF = "#/definitions/"

Schema = dict[str, Json]
Named = tuple[str, Schema]

SCALARS: Mapping[str, Schema] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
    "time": {"$ref": REF + TIME},
    "microtime": {"$ref": REF + MICRO_TIME},
    "quantity": {"$ref": REF + QUANTITY},
    "intstr": {"$ref": REF + INT_OR_STRING},
}
_MICRO = frozenset({"eventTime", "acquireTime", "renewTime", "lastObservedTime"})
_TIME_ENDS = ("Timestamp", "Time", "startedAt", "finishedAt", "timeAdded")
_LONG = frozenset(
    "generation observedGeneration deletionGracePeriodSeconds terminationGracePeriodSeconds"
    " activeDeadlineSeconds tolerationSeconds".split()
)
_BYTES = frozenset({("Secret", "data"), ("ConfigMap", "binaryData")})


def package(resource: registry.Resource) -> str:
    """Upstream's Go package of a resource's types, as definitions are named after."""
    group = resource.group.partition(".")[0] or "core"
    if group == "apiextensions":
        return f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{resource.version}"
    return f"io.k8s.api.{group}.{resource.version}"


def name_of(resource: registry.Resource) -> str:
    """Name of the definition of a resource's objects; of a custom kind, as upstream, its group reversed."""
    if resource.custom is not None:
        return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
    return f"{package(resource)}.{resource.kind}"


@functools.lru_cache(maxsize=256)
def of(resource: registry.Resource) -> Schema:
    """The definition of one kind, whatever else is served."""
    return definitions((resource,))[name_of(resource)]


@functools.lru_cache(maxsize=8)
def definitions(
    resources: tuple[registry.Resource, ...], *, v2: bool = False
) -> Mapping[str, Schema]:
    """All definitions that the resources' objects need, by name; `v2`: for /openapi/v2."""
    return _Builder(resources, v2=v2).build()


class _Builder:
    """Collects definitions; a struct is named after the package of the kinds beside it."""

    def __init__(self, resources: tuple[registry.Resource, ...], *, v2: bool) -> None:
        self._resources = resources
        self._v2 = v2
        self._packages: dict[str, str] = {meta.__name__: META}
        for resource in (*registry.RESOURCES, *resources):
            self._packages.setdefault(resource.cls.__module__, package(resource))
        self._packages["netpod.api.pod_status"] = "io.k8s.api.core.v1"
        self._homes: dict[type[Struct], str] = {}
        self._classes: dict[str, type[Struct]] = {}
        self._found: dict[str, Schema] = {
            TIME: {"type": "string", "format": "date-time", "description": openapi_texts.TIME},
            MICRO_TIME: {
                "type": "string",
                "format": "date-time",
                "description": openapi_texts.MICRO_TIME,
            },
            QUANTITY: {"type": "string", "description": openapi_texts.QUANTITY},
            INT_OR_STRING: {
                "type": "string",
                "format": "int-or-string",
                "description": openapi_texts.INT_OR_STRING,
            },
        }

    def build(self) -> Mapping[str, Schema]:
        for cls in _classes({resource.cls for resource in registry.RESOURCES}):
            self._classes.setdefault(cls.__name__, cls)
        for resource in self._resources:
            self._homes.setdefault(resource.cls, package(resource))
            schema = self._root(resource)
            schema["x-kubernetes-group-version-kind"] = [gvk(resource)]
            self._found[name_of(resource)] = schema
        return dict(sorted(self._found.items()))

    def _root(self, resource: registry.Resource) -> Schema:
        """The definition of a kind: of its class, its CustomResourceDefinition, or of a view that has its own form."""
        made = dict(self._struct(resource.cls))
        if resource.custom is not None:
            common = {name: made["properties"][name] for name in ("apiVersion", "kind", "metadata")}
            made = openapi_custom.published(resource.custom.schema, common, v2=self._v2)
        elif (
            resource.cls is Unstructured
            or (resource.api_version, resource.kind) in openapi_fields.OWN_FORM
        ):
            made = {"type": "object", "description": made["description"]}
        return made

    def _home(self, cls: type[Struct], user: type[Struct] | None) -> str:
        """Package of a struct: that of its first user in the same module, else the module's."""
        if cls not in self._homes:
            beside = user is not None and user.__module__ == cls.__module__
            module = self._packages.get(cls.__module__, META)
            self._homes[cls] = self._homes.get(user, module) if beside and user else module
        return self._homes[cls]

    def _reference(self, cls: type[Struct], user: type[Struct] | None = None) -> Schema:
        name = f"{self._home(cls, user)}.{cls.__name__}"
        if name not in self._found:
            self._found[name] = {}  # a struct may contain itself
            self._found[name] = self._struct(cls)
        return {"$ref": REF + name}

    def _struct(self, cls: type[Struct]) -> Schema:
        hints = typing.get_type_hints(cls)
        extra = dict(_extra(cls.__name__))
        properties: Schema = {}
        for item in fields(cls):
            if item.name == "unknown":
                continue
            name = item.metadata.get("json") or codec.json_name(item.name)
            written = extra.pop(name, None)
            made = self._written(written) if written else self._hinted(hints[item.name], name, cls)
            properties[name] = self._described(cls.__name__, name, made)
        if cls.OPEN and not extra and not issubclass(cls, Object):
            return {"description": _words(cls), "type": "object"}
        for name, written in extra.items():
            properties[name] = self._described(cls.__name__, name, self._written(written))
        return self._object(cls.__name__, _words(cls), properties)

    def _plain(self, struct: str) -> Schema:
        """A struct that only openapi_fields.py knows."""
        name = f"{META if struct == 'ManagedFieldsEntry' else 'io.k8s.api.core.v1'}.{struct}"
        if name not in self._found:
            self._found[name] = {}
            properties = {
                field: self._described(struct, field, self._written(written))
                for field, written in _extra(struct)
            }
            text = openapi_texts.STRUCTS.get(struct, "")
            self._found[name] = self._object(struct, text, properties)
        return {"$ref": REF + name}

    def _object(self, struct: str, text: str, properties: Schema) -> Schema:
        schema: Schema = {"description": text, "type": "object", "properties": properties}
        required = openapi_fields.REQUIRED.get(struct, "").split()
        if required:
            schema["required"] = required
        if struct in openapi_fields.ATOMIC_STRUCTS:
            schema["x-kubernetes-map-type"] = "atomic"
        return schema

    def _written(self, written: str) -> Schema:
        """The schema of a type in the notation of openapi_fields.py."""
        if written.startswith("[]"):
            item, _, keys = written[2:].partition("@")
            return {"type": "array", "items": self._written(item), **_list_type(keys)}
        if written.startswith("{}"):
            return {"type": "object", "additionalProperties": self._written(written[2:])}
        if written in SCALARS:
            return dict(SCALARS[written])
        cls = self._classes.get(written)
        return self._plain(written) if cls is None else self._reference(cls)

    def _hinted(self, hint: Json, name: str, owner: type[Struct]) -> Schema:
        """The schema of a type hint."""
        origin: Json = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
            if set(arms) == set(typing.get_args(IntOrString)):
                return dict(SCALARS["intstr"])
            return self._hinted(arms[0], name, owner)
        if origin is tuple:
            item = self._hinted(typing.get_args(hint)[0], name, owner)
            return {"type": "array", "items": item, **_list_type(_keys(owner.__name__, name))}
        if origin is not None and issubclass(origin, Mapping):
            value = typing.get_args(hint)[1]
            if value == IntOrString:
                made = dict(SCALARS["quantity"])
            elif (owner.__name__, name) in _BYTES:
                made = dict(SCALARS["bytes"])
            else:
                made = self._hinted(value, "", owner)
            return {"type": "object", "additionalProperties": made}
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self._reference(hint, owner)
        return dict(SCALARS[_scalar(hint, name)])

    def _described(self, struct: str, name: str, made: Schema) -> Schema:
        """Add description, default, and how the field merges."""
        text = openapi_texts.text(struct, name) or self._target(made)
        if text:
            made["description"] = text
        if (struct, name) in openapi_fields.PROTOCOLS:
            made["default"] = "TCP"
        if (struct, name) in openapi_fields.ATOMIC_MAPS:
            made["x-kubernetes-map-type"] = "atomic"
        rule = patch_schema.rule(struct, name)
        key = rule.merge_key or ("type" if name == "conditions" else "")
        strategies = ["merge"] if key or rule.merge else []
        if (struct, name) in openapi_fields.RETAIN_KEYS:
            strategies.append("retainKeys")
        if strategies:
            made["x-kubernetes-patch-strategy"] = ",".join(strategies)
        if key:
            made["x-kubernetes-patch-merge-key"] = key
        return made

    def _target(self, made: Schema) -> str:
        """What a field's struct, or those of its elements, are."""
        for schema in (made, made.get("items"), made.get("additionalProperties")):
            if isinstance(schema, dict) and "$ref" in schema:
                found = self._found[schema["$ref"].removeprefix(REF)]
                return str(found.get("description", "")).partition("\n")[0]
        return ""


def gvk(resource: registry.Resource) -> dict[str, str]:
    """The value of x-kubernetes-group-version-kind."""
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _scalar(hint: Json, name: str) -> str:
    if hint is str:
        if name in _MICRO:
            return "microtime"
        return "time" if name.endswith(_TIME_ENDS) else "str"
    if hint is int:
        return "int64" if name in _LONG else "int"
    return {bool: "bool", float: "number"}.get(hint, "any")


def _extra(struct: str) -> Iterator[tuple[str, str]]:
    for item in openapi_fields.STRUCTS.get(struct, "").split():
        name, _, written = item.partition(":")
        yield name, written


def _keys(struct: str, name: str) -> str:
    """Keys of a typed list's elements, "set", or "" for a list replaced whole."""
    keys = openapi_fields.LIST_KEYS.get((struct, name))
    if keys:
        return keys
    rule = patch_schema.rule(struct, name)
    if rule.merge:
        return "set"
    return rule.merge_key or ("type" if name == "conditions" else "")


def _list_type(keys: str) -> Schema:
    if keys == "set":
        return {"x-kubernetes-list-type": "set"}
    if keys:
        return {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": keys.split(","),
        }
    return {"x-kubernetes-list-type": "atomic"}


def _classes(roots: set[type[Object]]) -> Iterator[type[Struct]]:
    """Every struct class below the roots."""
    waiting: list[type[Struct]] = sorted(roots, key=lambda cls: cls.__name__)
    seen: set[type[Struct]] = set()
    while waiting:
        cls = waiting.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        yield cls
        for hint in typing.get_type_hints(cls).values():
            waiting.extend(_inside(hint))


def _inside(hint: Json) -> Iterator[type[Struct]]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for argument in typing.get_args(hint):
        yield from _inside(argument)


def _words(cls: type[Struct]) -> str:
    """A class's docstring, in which fields have the names that clients know."""
    names = {
        item.name: item.metadata.get("json") or codec.json_name(item.name) for item in fields(cls)
    }
    text = inspect.getdoc(cls) or ""
    return re.sub(
        r"`([a-z]\w*_\w*)`", lambda m: f"`{names.get(m[1]) or codec.json_name(m[1])}`", text
    )
