"""How API objects lie in the store: keys as upstream's, values as JSON without their resourceVersion.

The store counts the revision, so a value cannot hold its own. Every value begins with the same bytes per kind,
`{"apiVersion":...,"kind":...,"metadata":{`; serving an object is putting the revision behind them, without
parsing. What needs an object's inside (selectors, tables) shares one small cache of parsed values.
"""

import functools
from collections.abc import Mapping
from typing import TypeVar

import orjson

from netpod.api import codec, registry, structs
from netpod.api.core import CustomResource
from netpod.api.meta import Json, Object
from netpod.apiserver import structural, views
from netpod.store.store import KeyValue, Revision

T = TypeVar("T", bound=Object)

ROOT = "/registry/"
_FOLDERS = {
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "nodes": "minions",
    "ingresses": "ingress",
}
"""Where upstream's folder is not the plural. Source: pkg/registry/*/storage, ResourcePrefix."""


def folder(resource: registry.Resource) -> str:
    """Key prefix of all objects of a resource, e.g. `/registry/pods/`."""
    return _known_folder(resource) if resource.custom is None else _folder(resource)


def _folder(resource: registry.Resource) -> str:
    stored = resource.storage
    if stored.at is CustomResource:
        return f"{ROOT}{stored.group}/{stored.plural}/"
    return f"{ROOT}{_FOLDERS.get(stored.plural, stored.plural)}/"


# Custom kinds come and go: what was remembered of them would stay for ever.
_known_folder = functools.cache(_folder)


def prefix(resource: registry.Resource, namespace: str = "") -> str:
    """Key prefix of a resource's objects, in one namespace or in all."""
    return f"{folder(resource)}{namespace}/" if namespace else folder(resource)


def key(resource: registry.Resource, namespace: str, name: str) -> str:
    """Key of one object, e.g. `/registry/pods/default/web`."""
    if resource.namespaced:
        return f"{folder(resource)}{namespace}/{name}"
    return f"{folder(resource)}{name}"


def _head(resource: registry.Resource) -> bytes:
    """What every value of the resource begins with; see `pack`."""
    return _known_head(resource) if resource.custom is None else _made_head(resource)


def _made_head(resource: registry.Resource) -> bytes:
    return b'{"apiVersion":%s,"kind":%s,"metadata":{' % (
        orjson.dumps(resource.storage.api_version),
        orjson.dumps(resource.kind),
    )


_known_head = functools.cache(_made_head)


def with_revision(obj: T, revision: str) -> T:
    """The object with that resourceVersion."""
    if obj.metadata.resource_version == revision:
        return obj
    metadata = structs.replace(obj.metadata, resource_version=revision)
    return structs.replace(obj, metadata=metadata)


def pack(resource: registry.Resource, obj: Object) -> bytes:
    """The object as stored: JSON without resourceVersion."""
    value = codec.to_json(with_revision(obj, ""))
    assert value.startswith(_head(resource)), f"a stored {resource.kind} begins with its kind"
    return value


def wire(resource: registry.Resource, kv: KeyValue, revision: Revision | None = None) -> bytes:
    """The object as clients see it; `revision` instead of its own where an event has a later one."""
    filled = resource.custom is not None and resource.custom.defaulted
    if filled or resource.stored is not None:
        data = views.shown(resource, plain(kv, revision))
        if filled:
            structural.fill(data, resource.custom.schema)
        return orjson.dumps(data)
    head = _head(resource)
    if not kv.mod_revision:
        return kv.value
    return b'%s"resourceVersion":"%d",%s' % (
        head,
        revision or kv.mod_revision,
        kv.value[len(head) :],
    )


def item(resource: registry.Resource, kv: KeyValue) -> bytes:
    """The object as it stands in a list, which says its kind once for all; only custom kinds repeat it."""
    if resource.custom is not None:
        return wire(resource, kv)
    if resource.stored is not None:
        shown = views.shown(resource, plain(kv))
        return orjson.dumps({k: v for k, v in shown.items() if k not in ("apiVersion", "kind")})
    rest = kv.value[len(_head(resource)) :]
    return b'{"metadata":{"resourceVersion":"%d",%s' % (kv.mod_revision, rest)


def unpack(resource: registry.Resource, kv: KeyValue) -> Object:
    """The stored object with its resourceVersion."""
    obj = codec.from_json(resource.cls, kv.value)
    return with_revision(obj, str(kv.mod_revision))


@functools.lru_cache(maxsize=256)
def _parse(value: bytes) -> Mapping[str, Json]:
    data: Mapping[str, Json] = orjson.loads(value)
    return data


def parsed(kv: KeyValue) -> Mapping[str, Json]:
    """The stored value as plain JSON values, shared: look, do not change. Has no resourceVersion."""
    return _parse(kv.value)


def plain(kv: KeyValue, revision: Revision | None = None) -> dict[str, Json]:
    """The object as plain JSON values with its resourceVersion, for whoever wants to change it."""
    data: dict[str, Json] = orjson.loads(kv.value)
    if kv.mod_revision:
        data["metadata"]["resourceVersion"] = str(revision or kv.mod_revision)
    return data
