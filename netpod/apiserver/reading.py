"""get and list, served from stored bytes; tables and partial metadata for those who ask.

A listing in pages is of one revision: the continue token holds it and the last key seen.

Source: k8s.io/apiserver pkg/endpoints/handlers/get.go; pkg/storage/continue.go.
"""

import base64
import posixpath
from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Json
from netpod.apiserver import (
    debugging,
    listoptions,
    negotiation,
    objects,
    selection,
    subresources,
    tables,
)
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.negotiation import Wanted
from netpod.apiserver.storage import Storage
from netpod.store.store import KeyValue, Revision

TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
CONTINUE_VERSION = "meta.k8s.io/v1"
NOW = Revision(-1)
"""In a token: go on with the newest state, whatever that is."""
INCLUDE = ("", "Metadata", "Object", "None")


async def get(storage: Storage, call: Call, now: datetime) -> Reply:
    """GET of one object.

    Raises:
        NotFound, NotAcceptable.
        Timeout: the resourceVersion asked for is later than the newest.
    """
    route = call.route
    wanted = negotiation.wanted(call.accept)
    oldest = await listoptions.not_older_than(call, storage) if call.query else None
    try:
        kv = await storage.get(route.resource, route.namespace, route.name, not_older_than=oldest)
    except errors.NotFound as error:
        if route.subresource != "scale" or route.resource.custom is not None:
            raise
        raise subresources.no_scale(route.resource, route.name) from error
    if debugging.is_spoken(call):
        return debugging.answer(kv)
    if not wanted.kind and route.subresource != "scale":
        return Reply(body=objects.wire(route.resource, kv))
    resource, found = route.resource, objects.plain(kv)
    if route.subresource == "scale":
        resource, found = subresources.SCALE, subresources.scale_of(resource, kv)
    if wanted.kind == "Table":
        found = table(call, wanted, [found], kv.mod_revision, now, resource)
    elif wanted.kind:
        found = negotiation.partial(found, wanted, resource)
    return Reply(body=orjson.dumps(found))


def written(call: Call, reply: Reply, now: datetime) -> Reply:
    """The answer to a write in the form its client asked for; a Status has only one."""
    wanted, resource = negotiation.wanted(call.accept), call.route.resource
    if not wanted.kind:
        return reply
    found = orjson.loads(reply.body)
    if found.get("kind") != resource.kind:
        return reply
    if wanted.kind == "Table":
        revision = Revision(int(found["metadata"].get("resourceVersion", 0)))
        found = table(call, wanted, [found], revision, now)
    else:
        found = negotiation.partial(found, wanted, resource)
    return reply._replace(body=orjson.dumps(found))


async def list_objects(storage: Storage, call: Call, now: datetime) -> Reply:
    """GET of a collection.

    Raises:
        BadRequest: a selector, limit or continue token is wrong.
        Invalid: parameters contradict each other.
        Expired: the state the token continues is compacted.
        Timeout: the resourceVersion asked for is later than the newest.
        NotAcceptable.
    """
    route = call.route
    listoptions.check(call)
    wanted = negotiation.wanted(call.accept)
    chosen = selection.of_call(call)
    limit = call.number("limit")
    revision, after = _start(call)
    oldest = None if after else await listoptions.not_older_than(call, storage)
    try:
        page = await storage.list(
            route.resource,
            route.namespace,
            revision=revision,
            not_older_than=oldest,
            limit=limit if chosen.everything else 0,
            after=after,
        )
    except errors.Expired as error:
        if not after:
            raise
        prefix = objects.prefix(route.resource, route.namespace)
        raise errors.Continued(TOO_OLD, _token(NOW, prefix, after)) from error
    items: Sequence[KeyValue] = page.items
    remaining: int | None = page.remaining
    if not chosen.everything:
        items = [kv for kv in items if chosen.matches(kv)]
        remaining = None
        if limit and len(items) > limit:
            items, remaining = items[:limit], -1
    token = ""
    if remaining and items:
        prefix = objects.prefix(route.resource, route.namespace)
        token = _token(page.revision, prefix, items[-1].key)
    meta: dict[str, Json] = {"resourceVersion": str(page.revision)}
    if token:
        meta["continue"] = token
        if remaining and remaining > 0:
            meta["remainingItemCount"] = remaining
    if wanted.kind == "Table":
        # One at a time: thousands of parsed objects at once keep the garbage collector busy.
        found = table(call, wanted, (objects.plain(kv) for kv in items), page.revision, now)
        found["metadata"] = meta
        return Reply(body=orjson.dumps(found))
    if wanted.kind:
        negotiation.check_list(wanted, route.resource)
        partial = [negotiation.metadata(objects.plain(kv), wanted.version) for kv in items]
        body = {
            "kind": wanted.kind,
            "apiVersion": f"meta.k8s.io/{wanted.version}",
            "metadata": meta,
            "items": partial,
        }
        return Reply(body=orjson.dumps(body))
    return Reply(body=_list_body(route.resource, items, meta))


def list_body(resource: registry.Resource, items: Iterable[KeyValue], revision: Revision) -> bytes:
    """JSON of a list without pages."""
    return _list_body(resource, items, {"resourceVersion": str(revision)})


def _list_body(
    resource: registry.Resource, items: Iterable[KeyValue], meta: dict[str, Json]
) -> bytes:
    return b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[%s]}' % (
        resource.list_kind.encode(),
        resource.api_version.encode(),
        orjson.dumps(meta),
        b",".join([objects.item(resource, kv) for kv in items]),
    )


def computed(
    call: Call, found: Sequence[dict[str, Json]], revision: Revision, now: datetime
) -> Reply:
    """The answer to a get or list of objects that are not stored; a get has found exactly one.

    Raises:
        BadRequest: an unknown includeObject.
        NotAcceptable.
    """
    resource = call.route.resource
    wanted = negotiation.wanted(call.accept)
    if wanted.kind == "Table":
        return Reply(body=orjson.dumps(table(call, wanted, found, revision, now)))
    head = {"apiVersion": resource.api_version}
    items = [{"kind": resource.kind, **head, **item} for item in found]
    if call.route.verb == "get":
        return Reply(body=orjson.dumps(items[0]))
    body = {"kind": resource.list_kind, **head, "metadata": {}, "items": items}
    return Reply(body=orjson.dumps(body))


def included(call: Call) -> str:
    """What a table's rows carry of their objects: Metadata (the default), Object or None.

    Raises:
        BadRequest: none of these.
    """
    include = call.query.get("includeObject", "")
    if include not in INCLUDE:
        raise errors.BadRequest(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return include or "Metadata"


def table(
    call: Call,
    wanted: Wanted,
    found: Iterable[dict[str, Json]],
    revision: Revision,
    now: datetime,
    resource: registry.Resource | None = None,
) -> dict[str, Json]:
    """A metav1.Table of plain objects, in the version and with the row objects the client asked for.

    Their columns are those of `resource`, or of what the call is about.
    """
    return tables.table(
        resource or call.route.resource,
        found,
        now=now,
        resource_version=str(revision),
        include_object=included(call),
        version=wanted.version,
    )


def _start(call: Call) -> tuple[Revision | None, str]:
    """Revision to list (None: the newest) and key to go on after."""
    token = call.query.get("continue", "")
    if token:
        revision, start = _read_token(token)
        after = objects.prefix(call.route.resource, call.route.namespace) + start.rstrip("\0")
        return None if revision == NOW else revision, after
    if call.query.get("resourceVersionMatch", "") == "Exact":
        return Revision(call.version()), ""
    return None, ""


def _token(revision: Revision, prefix: str, key: str) -> str:
    """What continues a list of the keys below a prefix after `key`."""
    start = key.removeprefix(prefix) + "\0"
    data = orjson.dumps({"v": CONTINUE_VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read_token(token: str) -> tuple[Revision, str]:
    """Revision and start of what `_token` wrote.

    Raises:
        BadRequest: somebody else wrote it.
    """
    try:
        data = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = data["v"], int(data.get("rv", 0)), str(data.get("start", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad_token(str(error)) from error
    if version != CONTINUE_VERSION:
        raise _bad_token(f'server does not recognize this encoded version "{version}"')
    if revision == 0:
        raise _bad_token(f"incorrect encoded start resourceVersion (version {version})")
    if not start:
        raise _bad_token(f"encoded start key empty (version {version})")
    if posixpath.normpath(f"/{start}") != f"/{start}":
        raise _bad_token(start)
    return Revision(revision), start


def _bad_token(cause: str) -> errors.BadRequest:
    return errors.BadRequest(f"invalid continue token: continue key is not valid: {cause}")
