"""Events: what a component tells people about an object. Never in the way of the work itself.

The same thing said again about the same object raises `count` instead of making a second Event; an object that is
spoken of without end (a ReplicaSet of a thousand pods) gets a burst of Events and then one every few minutes.
Source: client-go tools/record/event.go, events_cache.go.
"""

import asyncio
import logging
import time
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
_WAITING = 4000
GIVE_WAY = 4.0
"""How many times as long as one write took the next is put off: Events are written in the time the work leaves."""
LONGEST_PAUSE_SECONDS = 0.5
BURST = 25
REFILL_SECONDS = 300.0
"""Events an object may have at once, and how long one more takes. Source: client-go tools/record/events_cache.go."""


class EventRecorder:
    """Writes Events in the background; drops the oldest when the API server cannot keep up."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._waiting: asyncio.Queue[tuple[Event, datetime]] = asyncio.Queue(_WAITING)
        self._written: OrderedDict[tuple[str, ...], Event] = OrderedDict()
        self._allowances: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def event(self, obj: Object, type: str, reason: str, message: str) -> None:
        """Say that something happened to `obj`; `type` is Normal or Warning. Never blocks."""
        about = obj.metadata
        moment = meta.now()
        if not self._allowed((obj.kind, about.uid or about.name), moment.timestamp()):
            return
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

    def _allowed(self, about: tuple[str, str], now: float) -> bool:
        """Take one from the object's allowance, which refills with time."""
        left, at = self._allowances.pop(about, (float(BURST), now))
        left = min(float(BURST), left + (now - at) / REFILL_SECONDS)
        allowed = left >= 1
        self._allowances[about] = (left - 1 if allowed else left, now)
        if len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return allowed

    async def run(self) -> None:
        """Write what was said, forever."""
        while True:
            event, moment = await self._waiting.get()
            began = time.monotonic()
            try:
                await self._write(event, moment)
            except ApiError as error:
                log.debug("cannot write event %s: %s", event.metadata.name, error)
            # Of many, which only a burst of work leaves: the busier the API server the longer its answers take, and the
            # more it is left alone.
            pause = (time.monotonic() - began) * GIVE_WAY
            if BURST < self._waiting.qsize() < _WAITING // 2:
                await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS))

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
