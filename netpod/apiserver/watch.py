"""watch: a stream of one JSON object per line, from a list's revision on.

    resourceVersion N     events after N; 410 Expired as an ERROR event when they are compacted away
    none, or 0            first the objects there are, as ADDED, then events
    sendInitialEvents     the same, closed by a bookmark that says so

An object that moves into a selection is ADDED, out of it DELETED. The JSON line of an event is made once and shared
by all watchers; who keeps up is sent it at once, without a task of its own being woken. A client that reads too slowly
is told 410 and lists again.

Source: k8s.io/apiserver pkg/endpoints/handlers/watch.go; API concepts, "Efficient detection of changes".
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from netpod import errors
from netpod.api import meta, registry
from netpod.api.meta import Json
from netpod.apiserver import listoptions, negotiation, objects, reading, selection, status
from netpod.apiserver.calls import Call
from netpod.apiserver.negotiation import Wanted
from netpod.apiserver.selection import Selection
from netpod.apiserver.storage import Storage
from netpod.store.store import Event, EventType, KeyValue, Page, Revision, Watch

BOOKMARK_SECONDS = 60.0
DEFAULT_SECONDS = 3600
"""Longest life of a watch that names no timeoutSeconds; clients watch again from where they are."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one watcher is told of an event: the object as `kv`, at `revision`."""

    type: str
    kv: KeyValue
    revision: Revision


def change(event: Event, chosen: Selection) -> Change | None:
    """What an event means to a watcher of a selection; None when it does not concern it."""
    revision = event.kv.mod_revision
    if event.type is EventType.DELETE:
        last = event.previous or event.kv
        return Change("DELETED", last, revision) if chosen.matches(last) else None
    now = chosen.matches(event.kv)
    before = event.previous is not None and chosen.matches(event.previous)
    if now:
        return Change("MODIFIED" if before else "ADDED", event.kv, revision)
    if before and event.previous is not None:
        return Change("DELETED", event.previous, revision)
    return None


def _line(type_: str, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), obj)


@functools.lru_cache(maxsize=512)
def _object_line(resource: registry.Resource, told: Change) -> bytes:
    return _line(told.type, objects.wire(resource, told.kv, told.revision))


@functools.lru_cache(maxsize=64)
def _all_lines(resource: registry.Resource, events: tuple[Event, ...]) -> bytes:
    """What a watcher of everything is told."""
    told = (change(event, selection.EVERYTHING) for event in events)
    return b"".join([_object_line(resource, it) for it in told if it is not None])


class Stream:
    """One client's watch; iterate over `lines` and close it."""

    def __init__(self, call: Call, wanted: Wanted, chosen: Selection, since: Revision) -> None:
        self._call = call
        self._wanted = wanted
        self._chosen = chosen
        self._bookmarks = call.query.get("allowWatchBookmarks", "") in ("true", "1")
        self._initial: Page | None = None
        self._since = since
        self._watch: Watch | None = None
        self._first_table = True

    @classmethod
    async def open(cls, storage: Storage, call: Call) -> "Stream":
        """Subscribe before anything is answered, so that nothing falls between.

        Raises:
            BadRequest, Invalid: a parameter is wrong.
            NotAcceptable: none of the content types can be streamed.
        """
        route = call.route
        listoptions.check(call)
        if negotiation.is_yaml(call.accept):
            raise errors.NotAcceptable(
                "only the following media types are accepted: application/json;stream=watch"
            )
        since = Revision(call.version())
        stream = cls(call, negotiation.wanted(call.accept), selection.of_call(call), since)
        if stream._wanted.kind == "Table":
            reading.included(call)  # once the stream has begun it is too late to refuse
        initial = call.query.get("sendInitialEvents", "")
        if initial == "true" or (since == 0 and initial != "false"):
            oldest = await listoptions.not_older_than(call, storage)
            stream._initial = await storage.list(
                route.resource, route.namespace, not_older_than=oldest
            )
            stream._since = stream._initial.revision
        elif since == 0:
            stream._since = storage.revision
        try:
            stream._watch = await storage.watch(route.resource, route.namespace, stream._since)
        except errors.Expired:
            stream._watch = None
        return stream

    def close(self) -> None:
        """End the stream; repeating it changes nothing."""
        if self._watch is not None:
            self._watch.close()

    def divert(self, send: Callable[[bytes], bool]) -> None:
        """Hand lines to `send` as soon as there are any, instead of through `lines`; it refuses by False."""
        if self._watch is not None and not self._wanted.kind:
            self._watch.divert(functools.partial(self._pass_on, send))

    def _pass_on(self, send: Callable[[bytes], bool], events: tuple[Event, ...]) -> bool:
        if self._chosen is selection.EVERYTHING:
            return send(_all_lines(self._call.route.resource, events))
        found = [it for event in events if (it := change(event, self._chosen)) is not None]
        return not found or send(b"".join(map(self._tell, found)))

    async def lines(self) -> AsyncIterator[bytes]:
        """Chunks of whole lines, until the time is over, the store closes or the client must list again."""
        loop = asyncio.get_running_loop()
        seconds = self._call.number("timeoutSeconds") or DEFAULT_SECONDS
        end = loop.time() + seconds
        if self._watch is None:
            yield self._expired(f"too old resource version: {self._since}")
            return
        if self._initial is not None:
            for kv in self._initial.items:
                if self._chosen.matches(kv):
                    yield self._tell(Change("ADDED", kv, kv.mod_revision))
            if self._call.query.get("sendInitialEvents") == "true":
                yield self._bookmark(self._initial.revision, initial=True)
            self._initial = None
        watch = self._watch
        due = self._next(end)
        timer = loop.call_at(due, watch.poke)
        try:
            while True:
                try:
                    events = await watch.batch()
                except errors.Expired as error:
                    yield self._expired(str(error))
                    return
                except StopAsyncIteration:
                    return
                found = [it for event in events if (it := change(event, self._chosen)) is not None]
                if found:
                    yield b"".join(map(self._tell, found))
                if loop.time() < due:
                    continue
                if self._bookmarks:
                    yield self._bookmark(watch.revision)
                if loop.time() >= end:
                    return
                due = self._next(end)
                timer = loop.call_at(due, watch.poke)
        finally:
            timer.cancel()

    def _next(self, end: float) -> float:
        """When to look up from waiting: for a bookmark, or because the time is over."""
        now = asyncio.get_running_loop().time()
        return min(end, now + BOOKMARK_SECONDS) if self._bookmarks else end

    def _tell(self, told: Change) -> bytes:
        resource = self._call.route.resource
        if not self._wanted.kind:
            return _object_line(resource, told)
        data = objects.plain(told.kv, told.revision)
        if self._wanted.kind == "Table":
            shown = self._table(data, told.revision, meta.now())
        else:
            shown = negotiation.metadata(data, self._wanted.version)
        return _line(told.type, orjson.dumps(shown))

    def _table(self, data: dict[str, Json], revision: Revision, now: datetime) -> dict[str, Json]:
        shown = reading.table(self._call, self._wanted, [data], revision, now)
        # Only the first table of a stream carries the columns. Source: handlers/response.go.
        if not self._first_table:
            shown["columnDefinitions"] = None
        self._first_table = False
        return shown

    def _bookmark(self, revision: Revision, *, initial: bool = False) -> bytes:
        resource = self._call.route.resource
        metadata: dict[str, Json] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        data: dict[str, Json] = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": metadata,
        }
        if self._wanted.kind.startswith("PartialObjectMetadata"):
            data = negotiation.metadata(data, self._wanted.version)
        return _line("BOOKMARK", orjson.dumps(data))

    def _expired(self, message: str) -> bytes:
        return _line("ERROR", orjson.dumps(status.failure(errors.Expired(message))))
