"""What an API server knows of its etcd without asking: the present, and the last events, fed by one watch.

One watch of every key feeds all watchers through a `Broadcast` and keeps a `Present`, so that a read needs of etcd no
more than the number of its newest revision. The watch resumes after the last revision it saw, at whichever member
answers. What cannot be resumed, since it is compacted or etcd was set back to a backup, is read anew; who watches is
told to list again.

Source: k8s.io/apiserver pkg/storage/cacher (the same for upstream, one watch for each resource).
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence

from netpod import errors
from netpod.store import gateway, receipts
from netpod.store.broadcast import Broadcast
from netpod.store.gateway import Gateway, Lost, Message
from netpod.store.present import Present
from netpod.store.store import Event, EventType, KeyValue, Revision

log = logging.getLogger(__name__)
RECENT = 1000
"""Events that are kept for watches that resume; who asks for older ones waits for etcd."""
_PAGE = 500
_SILENCE_SECONDS = 5.0
"""After this silence the feed asks whether it missed something: a member that hangs keeps its connections open."""
_LATE_SECONDS = 1.0
"""So much later than its answer no event comes from a member that is well."""
_CATCH_UP_SECONDS = 10.0
_OURS = gateway.encode(receipts.PREFIX)
"""Receipts' keys begin with it also as base64: three divides the prefix's length."""


class Feed:
    """The present and its changes. `run` and `watch_over` keep them going.

    Attributes:
        present: Every key but receipts, as of `broadcast.revision`.
        broadcast: Who is told of changes.
    """

    def __init__(self, etcd: Gateway, lag: int) -> None:
        self.present = Present()
        self.broadcast = Broadcast(limit=lag)
        self._etcd = etcd
        self._recent: deque[Event] = deque()
        self._recent_since = Revision(0)
        self._expected: dict[str, Revision] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._patience: asyncio.Timeout | None = None
        self._following = False
        self._rewound = False

    async def load(self) -> None:
        """Read everything, as of one revision.

        Raises:
            Unavailable: no member answers.
        """
        items: list[KeyValue] = []
        revision, after = Revision(0), ""
        while True:
            body = gateway.key_range("", after) | {"limit": str(_PAGE), "revision": str(revision)}
            try:
                answer = await self._etcd.read("kv/range", body)
            except errors.Expired:  # compacted while we read it
                items, revision, after = [], Revision(0), ""
                continue
            revision = revision or gateway.revision_of(answer["header"], "revision")
            found = [gateway.key_value(kv) for kv in answer.get("kvs", ())]
            items += [kv for kv in found if not kv.key.startswith(receipts.PREFIX)]
            if not answer.get("more"):
                break
            after = found[-1].key
        self.present.replace(items)
        self.broadcast.restart(revision)
        self._recent_since = revision
        self._recent.clear()
        self._expected.clear()
        self._following = True
        self._wake()

    def expect(self, key: str, revision: Revision) -> None:
        """Note that we have written a key, for who reads it before its event comes."""
        if revision > self.broadcast.revision:
            self._expected[key] = revision

    def due(self, prefix: str) -> Revision:
        """Revision of our last write below a prefix whose event has not come; 0: all have."""
        found = (it for key, it in self._expected.items() if key.startswith(prefix))
        return max(found, default=Revision(0))

    def knows(self, revision: Revision) -> bool:
        """Whether all that happened after a revision is here."""
        return self._following and self._recent_since <= revision <= self.broadcast.revision

    async def reached(self, revision: Revision, seconds: float) -> bool:
        """Wait until everything up to `revision`, which etcd has, is here; False: it did not come in time."""
        if self._following and self.broadcast.revision >= revision:
            return True
        before = self.broadcast.revision
        try:
            async with asyncio.timeout(seconds):
                while not self._following or self.broadcast.revision < revision:
                    arrival = asyncio.get_running_loop().create_future()
                    self._waiting.append(arrival)
                    await arrival
        except TimeoutError:
            if self.broadcast.revision == before:
                self._give_up()
            return False
        return True

    def forget(self, revision: Revision) -> None:
        """Keep no events up to `revision`: they are compacted."""
        while self._recent and self._recent[0].kv.mod_revision <= revision:
            self._recent.popleft()
        self._recent_since = max(self._recent_since, revision)

    def rewind(self) -> None:
        """Take nothing here for true any more: etcd has gone back to an earlier revision, as a backup does."""
        log.error(
            "etcd has gone back behind revision %d: restored from a backup? All is read again",
            self.broadcast.revision,
        )
        self._following, self._rewound = False, True
        self._give_up()

    async def history(self, prefix: str, since: Revision, now: Revision) -> Sequence[Event]:
        """Events below `prefix` with since < revision <= now.

        Raises:
            Expired: they are compacted.
            Unavailable: no member tells them.
        """
        if since >= self._recent_since:
            return [
                event
                for event in self._recent
                if since < event.kv.mod_revision <= now and event.kv.key.startswith(prefix)
            ]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + gateway.BOUND_SECONDS
        member = 0
        while True:
            found: list[Event] = []
            body = _watch(since) | {"prev_kv": True}
            try:
                async with (
                    asyncio.timeout(_CATCH_UP_SECONDS),
                    contextlib.aclosing(self._etcd.stream(body, member=member)) as stream,
                ):
                    # Of all keys: each revision has an event, so the one that says that all are there will come.
                    async for response in stream:
                        for event in _complete(response):
                            if event.kv.mod_revision <= now and event.kv.key.startswith(prefix):
                                found.append(event)
                        if _last(response) >= now:
                            return found
            except (Lost, TimeoutError) as error:
                if loop.time() >= deadline:
                    raise errors.Unavailable(f"cannot watch {prefix}: {error}") from error
                await asyncio.sleep(gateway.PAUSE_SECONDS)
            member += 1

    async def run(self) -> None:
        """Follow etcd from member to member, for ever."""
        member = 0
        while True:
            try:
                if not self._following:
                    await self.load()
                await self._follow(member)
            except errors.Expired as error:
                # Too long away: who watches lists again, and is told so when it asks to resume.
                log.warning("watches end: %s", error)
                self._following = False
                self.broadcast.close()
            except (Lost, errors.Unavailable) as error:
                log.info("watching at the next member: %s", error)
            member += 1
            await asyncio.sleep(gateway.PAUSE_SECONDS)

    async def watch_over(self) -> None:
        """End a stream whose member keeps it open and tells nothing, though there is news."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while True:
            before, heard = self.broadcast.revision, self._etcd.revision
            await asyncio.sleep(_LATE_SECONDS)
            if self.broadcast.revision != before:
                asked = loop.time()
            elif before < heard:
                self._give_up()
            elif loop.time() - asked > _SILENCE_SECONDS:
                asked = loop.time()
                with contextlib.suppress(errors.Unavailable):
                    await self._etcd.newest()

    async def _follow(self, member: int) -> None:
        start = self.broadcast.revision
        self._rewound = False
        try:
            async with (
                asyncio.timeout(None) as self._patience,
                contextlib.aclosing(self._etcd.stream(_watch(start), member=member)) as stream,
            ):
                async for response in stream:
                    if self._rewound:
                        break
                    self._take(response)
        except TimeoutError as error:
            raise Lost("this member has fallen silent") from error
        finally:
            self._patience = None

    def _take(self, response: Message) -> None:
        """Apply and publish what one response tells."""
        last = _last(response)
        events = [
            self._apply(event)
            for event in response.get("events", ())
            if not event["kv"]["key"].startswith(_OURS)
        ]
        self._recent.extend(events)
        while len(self._recent) > RECENT:
            self._recent_since = self._recent.popleft().kv.mod_revision
        self.broadcast.publish(events, named=self._etcd.revision)
        self.broadcast.revision = now = max(self.broadcast.revision, last)
        if self._expected:
            self._expected = {key: it for key, it in self._expected.items() if it > now}
        self._wake()

    def _apply(self, event: Message) -> Event:
        kv = gateway.key_value(event["kv"])
        if event.get("type") != "DELETE":
            return Event(EventType.PUT, kv, self.present.put(kv))
        before = self.present.remove(kv.key)
        if before is None:
            raise errors.Expired(f"cannot follow {kv.key}: it was deleted, and was not known")
        gone = KeyValue(kv.key, before.value, before.create_revision, kv.mod_revision)
        return Event(EventType.DELETE, gone, before)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for arrival in waiting:
            if not arrival.done():
                arrival.set_result(None)

    def _give_up(self) -> None:
        """Leave this member for the next one."""
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())


def _watch(since: Revision) -> Message:
    """A WatchCreateRequest for every key, after `since`."""
    return gateway.key_range("") | {"start_revision": str(since + 1)}


def _last(response: Message) -> Revision:
    """Revision of a watch response's last event, 0 without one; a revision is never split over two."""
    events = response.get("events")
    return gateway.revision_of(events[-1]["kv"], "mod_revision") if events else Revision(0)


def _complete(response: Message) -> list[Event]:
    """The events of a response that also tells what was there before.

    Raises:
        Expired: what was there before one of them is compacted away.
    """
    found: list[Event] = []
    for event in response.get("events", ()):
        kv = gateway.key_value(event["kv"])
        previous = gateway.key_value(event["prev_kv"]) if "prev_kv" in event else None
        deleted = event.get("type") == "DELETE"
        if previous is None and (deleted or kv.create_revision != kv.mod_revision):
            raise errors.Expired(f"cannot watch {kv.key}: what it was before has been compacted")
        if deleted and previous is not None:
            kv = KeyValue(kv.key, previous.value, previous.create_revision, kv.mod_revision)
        found.append(Event(EventType.DELETE if deleted else EventType.PUT, kv, previous))
    return found
