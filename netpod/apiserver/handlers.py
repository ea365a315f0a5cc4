"""create, update and patch of objects and of their status and scale.

Reading is in reading.py, deletion in deletion.py, the remaining subresources in subresources.py.
"""

from netpod import errors
from netpod.api import codec, registry, structs
from netpod.api.meta import Json, Object
from netpod.apiserver import (
    calls,
    certificates,
    debugging,
    kinds,
    managed,
    negotiation,
    objects,
    patch,
    storage,
    subresources,
    views,
)
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.routes import Route
from netpod.apiserver.writes import Writer
from netpod.store.store import KeyValue

ATTEMPTS = 10
"""Times a write that names no resourceVersion is tried again on a newer version of the object."""


def decode(call: Call, data: dict[str, Json], resource: registry.Resource) -> Object:
    """An object of a request's body, checked against its URL.

    Raises:
        BadRequest: another kind, name or namespace than the URL's, or a value of the wrong type.
    """
    route = call.route
    if (data.get("apiVersion"), data.get("kind")) != (resource.api_version, resource.kind):
        data["apiVersion"] = data.get("apiVersion") or resource.api_version
        data["kind"] = data.get("kind") or resource.kind
        kinds.check(resource, data["apiVersion"], data["kind"])
    if resource.custom is not None:
        calls.warnings(call, resource.custom.admit(resource, data))
    given = data.get("metadata")
    if resource.namespaced and isinstance(given, dict) and given.get("namespace") in ("", None):
        given["namespace"] = route.namespace
    try:
        obj = codec.decode(resource.cls, views.stored(resource, data))
    except errors.BadRequest as error:
        raise kinds.undecodable(resource, error) from error
    metadata = obj.metadata
    if route.name and (metadata.name or resource.custom is None):
        kinds.check_name(metadata.name, route.name)
    if resource.namespaced and metadata.namespace not in ("", route.namespace):
        raise errors.BadRequest(
            f"the namespace of the object ({metadata.namespace}) does not match the namespace on the request "
            f"({route.namespace})"
            if route.name
            else "the namespace of the provided object does not match the namespace sent on the request"
        )
    name = route.name or metadata.name
    namespace = route.namespace if resource.namespaced else ""
    if (metadata.name, metadata.namespace) == (name, namespace):
        return obj
    metadata = structs.replace(metadata, name=name, namespace=namespace)
    return structs.replace(obj, metadata=metadata)


def _body(call: Call) -> dict[str, Json]:
    return negotiation.body(call.body, call.content_type, call.route.resource.kind)


def answer(
    route: Route, kv: KeyValue, headers: tuple[tuple[str, str], ...] = (), *, status: int = 200
) -> Reply:
    """The object as an answer."""
    return Reply(status=status, body=objects.wire(route.resource, kv), headers=headers)


async def create(writer: Writer, call: Call) -> Reply:
    """POST on a collection.

    Raises:
        BadRequest, AlreadyExists, NotFound (the namespace), Forbidden, Invalid, UnsupportedMediaType.
    """
    route = call.route
    since = writer.storage.revision
    obj = decode(call, _body(call), route.resource)
    if obj.metadata.resource_version:
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    headers = calls.warnings(call, codec.unknown_fields(obj))
    if route.resource.kind == certificates.KIND:
        obj = certificates.requested(route.resource, obj, call.user)
    obj = managed.created(call, obj)
    kv = await writer.create(route.resource.storage, obj, dry_run=call.dry_run)
    if not headers and not writer.judges:
        await writer.alike.remember(call, obj.metadata, since, kv)
    return answer(route, kv, headers, status=201)


async def create_alike(writer: Writer, call: Call) -> Reply | None:
    """POST on a collection, if it is like one before but for a name; it may be cancelled, the store's write is not.

    Raises:
        AlreadyExists.
    """
    found = None if writer.judges else writer.alike.find(call)
    if found is None:
        return None
    return answer(call.route, await writer.create_alike(call.route, *found), status=201)


async def update(writer: Writer, call: Call) -> Reply:
    """PUT on an object or its status, finalize or scale; without a resourceVersion it is unconditional.

    Raises:
        BadRequest, Conflict, NotFound, Invalid, UnsupportedMediaType.
    """
    route = call.route
    data = _body(call)
    if route.subresource == "scale":
        return await subresources.update_scale(writer, call, data)
    old_kind = debugging.is_written(call, data)
    if old_kind:
        data = debugging.as_pod(data)
    new = decode(call, data, route.resource)
    headers = calls.warnings(call, codec.unknown_fields(new))
    conditional = new.metadata.resource_version not in ("", "0")
    for attempt in range(ATTEMPTS):
        kv = await writer.storage.get(route.resource, route.namespace, route.name)
        try:
            kv = await writer.replace(
                route.resource.storage,
                kv,
                managed.updated(call, kv, new, route.subresource),
                subresource=route.subresource,
                dry_run=call.dry_run,
            )
        except errors.Conflict:
            if conditional or attempt == ATTEMPTS - 1:
                raise
            continue
        return debugging.answer(kv) if old_kind else answer(route, kv, headers)
    raise AssertionError("the loop returns or raises")


async def patched(writer: Writer, call: Call) -> Reply:
    """PATCH on an object or its status or scale, tried again when somebody else was faster.

    Raises:
        BadRequest, Conflict (the patch itself names an old resourceVersion), NotFound, Invalid,
        UnsupportedMediaType.
    """
    route = call.route
    for attempt in range(ATTEMPTS):
        kv = await writer.storage.get(route.resource, route.namespace, route.name)
        if route.subresource == "scale":
            current = subresources.scale_of(route.resource, kv)
            resource = subresources.SCALE
        else:
            current, resource = views.shown(route.resource, objects.plain(kv)), route.resource
        before = current["metadata"]["resourceVersion"]
        data = patch.apply_patch(resource, current, call.content_type, call.body)
        metadata = data.get("metadata")
        wanted = metadata.get("resourceVersion", before) if isinstance(metadata, dict) else before
        if wanted not in ("", before):
            raise storage.conflict(route.resource, route.name, storage.MODIFIED)
        try:
            if route.subresource == "scale":
                return await subresources.update_scale(writer, call, data)
            new = decode(call, data, resource)
            headers = calls.warnings(call, codec.unknown_fields(new))
            new = managed.updated(call, kv, new, route.subresource)
            kv = await writer.replace(
                resource.storage, kv, new, subresource=route.subresource, dry_run=call.dry_run
            )
        except errors.Conflict:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return answer(route, kv, headers)
    raise AssertionError("the loop returns or raises")
