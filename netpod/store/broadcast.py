"""One log, many watchers.

The writer must never wait for a reader, and a reader must never cost unbounded memory. So each watcher has a
queue with a limit; who exceeds it is dropped and told (Expired), lists again and starts afresh, which is what
every Kubernetes client does on 410 anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from netpod import errors
from netpod.store.store import EMPTY, Event, Revision, Take

LIMIT = 10_000
"""Events one watcher may lag behind: about the writes of a minute at full speed."""

LIMIT_BYTES = 64 << 20
"""And their values, together: events are shared by watchers, but only the slowest still needs the old ones."""


class Watcher:
    """One subscription; the embedded store's `Watch`. Belongs to the event loop's thread.

    `revision` is where it has read to.
    """

    def __init__(self, broadcast: "Broadcast", prefix: str, limit: int, revision: Revision) -> None:
        self.prefix = prefix
        self._broadcast = broadcast
        self._limit = limit
        self._start = revision
        self._queue: list[Event] = []
        self._queued_bytes = 0
        self._history: Sequence[Event] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._take: Take | None = None
        self._dropped = False
        self._poked = False
        self._closed = False

    @property
    def revision(self) -> Revision:
        """Every event up to this revision has been handed out."""
        if self._dropped or self._closed or self._history or self._queue:
            return self._start
        return max(self._start, self._broadcast.revision)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await self._ready()
        while not self._history and not self._queue:
            self._poked = False
            await self._ready()
        source = self._history if self._history else self._queue
        event = source[0]
        if source is self._queue:
            del self._queue[0]
            self._queued_bytes -= len(event.kv.value)
        else:
            self._history = source[1:]
        self._start = event.kv.mod_revision
        return event

    async def batch(self) -> Sequence[Event]:
        """All events that are there; see `Watch.batch`."""
        await self._ready()
        self._poked = False
        if self._history:
            events, self._history = self._history, None
        elif self._queue:
            events, self._queue = self._queue, []
            self._queued_bytes = 0
        else:
            return ()
        self._start = events[-1].kv.mod_revision
        return events

    async def _ready(self) -> None:
        while not self._history and not self._queue and not self._poked:
            if self._dropped:
                raise errors.Expired(
                    f"cannot watch {self.prefix}: this watcher fell more than {self._limit} events or "
                    f"{LIMIT_BYTES >> 20} MiB behind"
                )
            if self._closed:
                raise StopAsyncIteration
            assert self._wake is None, "one task reads a watch"
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    def divert(self, take: Take) -> None:
        """Offer events to a function first; see `Watch.divert`."""
        self._take = take

    def poke(self) -> None:
        """Have `batch` return at once; see `Watch.poke`."""
        self._poked = True
        self._wake_up()

    def close(self) -> None:
        """End the stream and leave the broadcast."""
        self._closed = True
        self._broadcast.remove(self)
        self._wake_up()

    def begin(self, history: Sequence[Event]) -> None:
        """Hand over the events from before the subscription, once; they come first."""
        assert self._history is None, "history is handed over once"
        self._history = history
        self._wake_up()

    def offer(self, events: tuple[Event, ...]) -> None:
        """Pass on or queue events of one commit, or drop this watcher when it lags too far."""
        if self._wake is not None and not self._queue and not self._history and self._taken(events):
            self._start = events[-1].kv.mod_revision
            return
        self._queued_bytes += sum([len(event.kv.value) for event in events])
        if len(self._queue) + len(events) > self._limit or self._queued_bytes > LIMIT_BYTES:
            self._queue.clear()
            self._queued_bytes = 0
            self._history = None
            self._dropped = True
            self._broadcast.remove(self)
        else:
            self._queue.extend(events)
        self._wake_up()

    def _taken(self, events: tuple[Event, ...]) -> bool:
        try:
            return self._take is not None and self._take(events)
        except Exception:  # noqa: BLE001 - one watcher's trouble meets its reader, not the writer and the others
            return False

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Broadcast:
    """The set of watchers by prefix. `revision` is that of the last event published."""

    def __init__(self, revision: Revision = EMPTY, *, limit: int = LIMIT) -> None:
        self.revision = revision
        self._limit = limit
        self._watchers: dict[str, set[Watcher]] = {}
        self._touched: dict[str, Revision] = {}
        self._unknown = revision

    def subscribe(self, prefix: str, since: Revision) -> Watcher:
        """Start queueing events below `prefix`. What is older than now must be given to `Watcher.begin`."""
        watcher = Watcher(self, prefix, self._limit, since)
        self._watchers.setdefault(prefix, set()).add(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher; it is fine if it is not there."""
        group = self._watchers.get(watcher.prefix, set())
        group.discard(watcher)
        if not group:
            self._watchers.pop(watcher.prefix, None)

    def publish(self, events: Sequence[Event], *, named: Revision = EMPTY) -> None:
        """Hand one commit's events, in order, to everybody they concern; never waits.

        Args:
            events: Of one commit.
            named: The newest revision anybody can have heard of, where that may be before its event.
        """
        if not events:
            return
        self.revision = events[-1].kv.mod_revision
        # Who read at a revision that was named may not have seen these events, though they are older.
        touched = self.revision if named <= self.revision else Revision(named + 1)
        for event in events:
            self._touched[_folder(event.kv.key)] = touched
        for prefix, watchers in list(self._watchers.items()):
            concerned = tuple([event for event in events if event.kv.key.startswith(prefix)])
            if concerned:
                for watcher in list(watchers):
                    watcher.offer(concerned)

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether no event after `since` was published near these prefixes; see `Store.untouched`."""
        if since < self._unknown:
            return False
        for prefix in prefixes:
            folder = _folder(prefix)
            if not folder or self._touched.get(folder, EMPTY) > since:
                return False
        return True

    def restart(self, revision: Revision) -> None:
        """End every watch and go on from a revision, which may be an earlier one: nobody knows what came between."""
        self.close()
        self._unknown = max(self.revision, revision)
        self.revision = revision

    def close(self) -> None:
        """End every watch."""
        for watchers in list(self._watchers.values()):
            for watcher in list(watchers):
                watcher.close()


def _folder(key: str) -> str:
    """Its first two elements, e.g. `/registry/pods/`: a kind, for whoever lays keys out as Kubernetes does."""
    return key[: key.find("/", key.find("/", 1) + 1) + 1]
