"""Server-side apply: a manager says all it wants, the server keeps track of what else is said by whom.

    live + applied -> merged           what is applied is added or replaced, piece by piece
    others ∩ changed -> 409            unless forced, which takes the fields from the others
    last applied - applied -> removed  where nobody else owns it

Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go applyPatcher; sigs.k8s.io/structured-merge-diff
merge/update.go; k8s.io/apimachinery pkg/util/managedfields/internal/conflict.go (messages).
"""

from typing import Any

import orjson

from netpod import errors
from netpod.api import codec, meta, registry
from netpod.api.meta import Json, Object
from netpod.apiserver import (
    field_schema,
    field_sets,
    handlers,
    kinds,
    managed,
    negotiation,
    objects,
    patch,
    status,
    storage,
    subresources,
    views,
)
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.field_sets import FieldSet, Path
from netpod.apiserver.managed import Manager, Managers
from netpod.apiserver.routes import Route, is_true
from netpod.apiserver.writes import Writer


async def patched(writer: Writer, call: Call) -> Reply:
    """PATCH of any kind; an apply patch also creates what is not there.

    Raises:
        BadRequest: the body is no object, or not of the URL's kind and name.
        Invalid: no fieldManager, or force on another kind of patch.
        Conflict: other managers own fields that would change, and force is not given.
        NotFound.
        UnsupportedMediaType: whether the object is there or not, as clients try another type then.
    """
    is_apply = patch.media_type(call.route.resource, call.content_type) == patch.APPLY_PATCH
    force = is_true(call.query.get("force"))
    if not is_apply:
        if force:
            raise _invalid_options("force", "Forbidden", "may not be specified for non-apply patch")
        return await handlers.patched(writer, call)
    name = call.query.get("fieldManager", "")
    if not name:
        raise _invalid_options("fieldManager", "Required value", "is required for apply patch")
    route = call.route
    applied = _config(call)
    if route.subresource == "scale":
        applied = subresources.scaling(route.resource.storage, route.name, applied)
    manager = Manager(
        name=name,
        operation=managed.APPLY,
        api_version=route.resource.api_version,
        subresource=route.subresource,
    )
    for attempt in range(handlers.ATTEMPTS):
        kv = await writer.storage.find(route.resource, route.namespace, route.name)
        try:
            if kv is None:
                return await _create(writer, call, manager, applied)
            live = views.shown(route.resource, objects.plain(kv))
            data = apply(route.resource, live, applied, manager, force=force)
            new = handlers.decode(call, data, route.resource)
            _check_declared(route, new)
            kv = await writer.replace(
                route.resource.storage,
                kv,
                new,
                subresource=route.subresource,
                dry_run=call.dry_run,
            )
            if route.subresource == "scale":
                return Reply(body=negotiation.dump(subresources.scale_of(route.resource, kv)))
            return handlers.answer(route, kv)
        except _FieldConflict:
            raise
        except (errors.Conflict, errors.AlreadyExists):
            if attempt == handlers.ATTEMPTS - 1 or applied["metadata"].get("resourceVersion"):
                raise
    raise AssertionError("the loop returns or raises")


class _FieldConflict(errors.Conflict):
    """Another manager owns a field; trying again changes nothing."""


async def _create(writer: Writer, call: Call, manager: Manager, applied: dict[str, Json]) -> Reply:
    route = call.route
    if route.subresource:
        raise storage.not_found(route.resource, route.name)
    if applied["metadata"].get("uid"):
        raise storage.conflict(
            route.resource,
            route.name,
            "uid mismatch: the provided object specified uid, and no existing object was found",
        )
    if applied["metadata"].get("resourceVersion"):
        raise storage.not_found(route.resource, route.name)
    node = field_schema.of(route.resource)
    mine = managed.owned(field_sets.of_value(_spoken_for(route.resource, applied, ""), node))
    time = meta.timestamp(meta.now())
    entries = Managers({}).holding(manager, mine, time).write()
    metadata = {**applied["metadata"], "managedFields": list(entries)}
    obj = handlers.decode(call, {**applied, "metadata": metadata}, route.resource)
    _check_declared(route, obj)
    kv = await writer.create(route.resource.storage, obj, dry_run=call.dry_run)
    return handlers.answer(route, kv, status=201)


def _check_declared(route: Route, obj: Object) -> None:
    """Refuse fields that the kind does not have: nobody could say whose they are.

    Source: k8s.io/apimachinery pkg/util/managedfields/internal/structuredmerge.go.
    """
    unknown = codec.unknown_fields(obj)
    if unknown and route.resource.custom is None:
        resource = route.resource
        kind = f"{resource.group}/{resource.version}, Kind={resource.kind}"
        raise errors.ApiError(
            f"failed to create typed patch object ({route.namespace}/{route.name}; {kind}): "
            f".{unknown[0]}: field not declared in schema"
        )


def _config(call: Call) -> dict[str, Json]:
    """The applied object."""
    documents = codec.load_manifests(call.body)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise errors.BadRequest("error decoding YAML: an apply patch must be one object")
    applied: dict[str, Json] = _without_nulls(documents[0])
    metadata = applied.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise errors.BadRequest("cannot apply: metadata must be an object")
    resource, version = call.route.resource, applied.get("apiVersion", "")
    if call.route.subresource == "scale":
        resource = subresources.SCALE
    if version != resource.api_version:
        raise errors.BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {version}, "
            f"expected: {resource.api_version}"
        )
    kinds.check(resource, version, applied.get("kind", ""))
    if metadata.get("managedFields"):
        raise errors.BadRequest("metadata.managedFields must be nil")
    if metadata.get("name", call.route.name) != call.route.name:
        raise errors.BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({call.route.name})"
        )
    metadata["name"] = call.route.name
    return applied


def _without_nulls(value: Json) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _spoken_for(
    resource: registry.Resource, applied: dict[str, Json], subresource: str
) -> dict[str, Json]:
    """The part of an applied object that the write can change."""
    if subresource == "status":
        return {"status": applied.get("status") or {}}
    skipped = {"apiVersion", "kind"} | ({"status"} & set(resource.subresources))
    return {k: v for k, v in applied.items() if k not in skipped}


def apply(
    resource: registry.Resource,
    live: dict[str, Json],
    applied: dict[str, Json],
    manager: Manager,
    *,
    force: bool = False,
) -> dict[str, Json]:
    """What the live object becomes; neither argument is changed.

    Args:
        resource: Decides how fields merge.
        live: The object as plain JSON values.
        applied: All the manager wants to have a say in.
        manager: Who applies.
        force: Take fields over instead of refusing.

    Raises:
        Conflict: another manager owns a field that would change.
    """
    node = field_schema.of(resource)
    spoken = _spoken_for(resource, applied, manager.subresource)
    merged = field_sets.merge(live, spoken, node)
    managers = Managers.read(tuple(live["metadata"].get("managedFields") or ()))
    changed = managed.owned(field_sets.compare(live, merged, node).changed)
    conflicts = [
        (entry.manager, path)
        for entry in managers.others(manager)
        for path in sorted(entry.fields & changed)
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    mine = managed.owned(field_sets.of_value(spoken, node))
    last = managers.fields_of(manager)
    gone = _released(last - mine, mine, managers, manager)
    made: dict[str, Json] = field_sets.without(merged, gone, node)
    removed = field_sets.compare(merged, made, node).removed
    if changed or removed or mine != last:
        time = meta.timestamp(meta.now())
        managers = managers.losing(changed | removed, keeper=manager).holding(manager, mine, time)
    entries = list(managers.write())
    metadata = {k: v for k, v in made["metadata"].items() if k != "managedFields"}
    made["metadata"] = {**metadata, "managedFields": entries} if entries else metadata
    return made


def _released(dropped: FieldSet, mine: FieldSet, managers: Managers, manager: Manager) -> FieldSet:
    """Which of the fields no longer applied go: those inside which nobody owns anything."""
    held: set[Path] = set()
    for owned in (mine, *(entry.fields for entry in managers.others(manager))):
        for path in owned:
            held.update(path[:end] for end in range(1, len(path) + 1))
    gone = {path for path in dropped if path not in held}
    # An element that stays because of others keeps what tells it apart.
    return frozenset(path for path in gone if path[:-1] in gone or not _is_key(path))


def _is_key(path: Path) -> bool:
    """Whether the path is a key field of a list's element."""
    element = path[-2] if len(path) > 1 else ""
    return element.startswith("k:") and path[-1][2:] in orjson.loads(element[2:])


def _conflict(conflicts: list[tuple[Manager, Path]]) -> errors.Conflict:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager}",
            "field": field_sets.text(path),
        }
        for manager, path in conflicts
    ]
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        words = f"Apply failed with 1 conflict: conflict with {manager}: {field_sets.text(path)}"
    else:
        lines: dict[str, list[str]] = {}
        for manager, path in conflicts:
            lines.setdefault(str(manager), []).append(f"- {field_sets.text(path)}")
        told = [line for who in sorted(lines) for line in (f"conflicts with {who}:", *lines[who])]
        words = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(told)
    return _FieldConflict(words, details={"causes": causes})


def _invalid_options(field: str, kind: str, words: str) -> errors.Invalid:
    reason = {"Forbidden": "FieldValueForbidden", "Required value": "FieldValueRequired"}[kind]
    error = errors.FieldError(field=field, reason=reason, message=f"{kind}: {words}")
    return status.invalid("PatchOptions", "meta.k8s.io", "", [error])
