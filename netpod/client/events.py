"""Events: what a component tells people about an object. Never in the way of the work itself.

The same thing said again about the same object raises `count` instead of making a second Event.
Source: client-go tools/record/event.go, events_cache.go.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime

from netpod.api import meta
from netpod.api.core import Event, EventSource, ObjectReference
from netpod.api.meta import Object, ObjectMeta
from netpod.client.rest import Client
from netpod.errors import ApiError, NotFound

log = logging.getLogger(__name__)
_REMEMBERED = 4096
_WAITING = 1000


class EventRecorder:
    """Writes Events in the background; drops the oldest when the API server cannot keep up."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._waiting: asyncio.Queue[tuple[Event, datetime]] = asyncio.Queue(_WAITING)
        self._written: OrderedDict[tuple[str, ...], Event] = OrderedDict()

    def event(self, obj: Object, type: str, reason: str, message: str) -> None:
        """Say that something happened to `obj`; `type` is Normal or Warning. Never blocks."""
        about = obj.metadata
        moment = meta.now()
        event = Event(
            metadata=ObjectMeta(
                name=f"{about.name}.{int(moment.timestamp() * 1e9):x}",
                namespace=about.namespace or "default",
            ),
            involved_object=ObjectReference(
                api_version=obj.api_version,
                kind=obj.kind,
                namespace=about.namespace,
                name=about.name,
                uid=about.uid,
                resource_version=about.resource_version,
            ),
            reason=reason,
            message=message,
            source=self._source,
            type=type,
            count=1,
            first_timestamp=meta.timestamp(moment),
            last_timestamp=meta.timestamp(moment),
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait((event, moment))

    async def run(self) -> None:
        """Write what was said, forever."""
        while True:
            event, moment = await self._waiting.get()
            try:
                await self._write(event, moment)
            except ApiError as error:
                log.debug("cannot write event %s: %s", event.metadata.name, error)

    async def _write(self, event: Event, moment: datetime) -> None:
        about = event.involved_object
        same = (about.kind, about.uid, about.name, event.type, event.reason, event.message)
        known = self._written.get(same)
        if known is not None:
            again = replace(known, count=known.count + 1, last_timestamp=meta.timestamp(moment))
            patch = {"count": again.count, "lastTimestamp": again.last_timestamp}
            try:
                key = known.metadata
                await self._client.patch(Event, key.name, key.namespace, patch)
                self._remember(same, again)
                return
            except NotFound:
                pass
        self._remember(same, await self._client.create(event))

    def _remember(self, same: tuple[str, ...], event: Event) -> None:
        self._written[same] = event
        self._written.move_to_end(same)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
