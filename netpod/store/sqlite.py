"""The embedded store: a log in SQLite, one writer thread, the current state in memory.

The loop's thread answers gets and lists from memory and never waits for a disk. Writes go through a queue to
the writer thread, which decides the compare-and-swap, appends everything that waits as one transaction (group
commit: N writers share one fsync), and only then hands the result back to the loop, where memory changes,
watchers are told and callers are answered, in this order. So nobody ever sees a write that a power cut can undo.
"""

import asyncio
import functools
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from netpod import errors
from netpod.store.broadcast import LIMIT, Broadcast, Watcher
from netpod.store.log import CHUNK, Log, Row
from netpod.store.present import Present
from netpod.store.store import Event, EventType, KeyValue, Page, Revision

T = TypeVar("T")
GROUP = 256
"""Most writes in one transaction."""

STILL = 3
"""Turns of the loop without another write after which those gathered go to the writer: those it has read need about
as many to arrive here, and a commit of eight costs little more than a commit of one."""
TURNS = 32
"""Most turns a write is held back."""

SWITCH_SECONDS = 0.0005
"""How long the loop may keep the interpreter when the writer, back from the disk, waits for it; Python's own 5 ms
are many times a commit."""


@dataclass(slots=True)
class _Write:
    """A write on its way: value None deletes, expected None creates."""

    key: str
    value: bytes | None
    expected: Revision | None
    done: asyncio.Future[KeyValue]
    result: Event | None = None
    error: errors.ApiError | None = None


_Writes = list[_Write]
_Undo = list[tuple[str, KeyValue | None]]


class SqliteStore:
    """`Store` in one SQLite file. Open it with `SqliteStore.open`, within the loop that uses it."""

    shared = False

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, lag: int) -> None:
        self._loop = loop
        self._path = path
        self._queue: queue.SimpleQueue[_Writes | Callable[[Log], None] | None] = queue.SimpleQueue()
        self._gathered: _Writes = []
        self._present = Present()
        self._heads: dict[str, KeyValue] = {}  # the writer's view: also what is not committed yet
        self._head = Revision(0)
        self._compacted = Revision(0)
        self._broadcast = Broadcast(limit=lag)
        self._closing = False
        self._opened: asyncio.Future[None] = loop.create_future()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    @classmethod
    async def open(cls, path: Path, *, lag: int = LIMIT) -> "SqliteStore":
        """Open or make the store at `path`; its folder must exist. A watcher may be `lag` events behind.

        Raises:
            NetpodError: the file is damaged, not a store, of a newer netpod, or in use by another process.
        """
        store = cls(path, asyncio.get_running_loop(), lag)
        sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
        store._thread.start()
        await store._opened
        return store

    @property
    def revision(self) -> Revision:
        """Revision of the last durable write."""
        return self._broadcast.revision

    async def get(self, key: str, *, not_older_than: Revision | None = None) -> KeyValue | None:
        """The key as it is now, or None."""
        return self._present.get(key)

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        not_older_than: Revision | None = None,
        limit: int = 0,
        after: str = "",
    ) -> Page:
        """Keys below `prefix`; the newest state from memory, an older one from the log."""
        if revision is not None and revision != self.revision:
            self._check_revision("list", prefix, revision)
            items = await self._ask(lambda log: self._past(log, prefix, revision, after))
            self._check_revision("list", prefix, revision)
            end = limit or len(items)
            return Page(items[:end], revision, max(0, len(items) - end))
        return self._present.page(prefix, limit, after, self.revision)

    async def create(self, key: str, value: bytes) -> KeyValue:
        """Write a key that does not exist; see `Store.create`."""
        return await self._write(key, value, None)

    async def update(self, key: str, value: bytes, expected_revision: Revision) -> KeyValue:
        """Replace a key that did not change; see `Store.update`."""
        return await self._write(key, value, expected_revision)

    async def delete(self, key: str, expected_revision: Revision) -> KeyValue:
        """Remove a key that did not change; see `Store.delete`."""
        return await self._write(key, None, expected_revision)

    async def watch(self, prefix: str, since_revision: Revision) -> Watcher:
        """Events after `since_revision`; see `Store.watch`."""
        self._check_revision("watch", prefix, since_revision, resume=True)
        now = self.revision
        watcher = self._broadcast.subscribe(prefix, since_revision)
        if since_revision < now:
            try:
                history = await self._ask(lambda log: log.history(prefix, since_revision, now))
                self._check_revision("watch", prefix, since_revision, resume=True)
            except BaseException:
                watcher.close()
                raise
            watcher.begin(history)
        return watcher

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether nothing near these prefixes changed; see `Store.untouched`."""
        return self._broadcast.untouched(prefixes, since)

    async def compact(self, revision: Revision) -> None:
        """Forget history up to `revision`, a chunk at a time so that writers get their turn."""
        revision = min(revision, self.revision)
        if revision <= self._compacted:
            return
        self._compacted = revision
        rows = await self._ask(lambda log: log.begin_compaction(revision))
        for start in range(0, len(rows), CHUNK):
            await self._ask(functools.partial(_drop, rows[start : start + CHUNK]))

    async def close(self) -> None:
        """End all watches and wait until everything is on disk; repeating it changes nothing."""
        if not self._closing:
            self._closing = True
            self._broadcast.close()
            self._hand_over()
            self._queue.put(None)
        await asyncio.shield(self._stopped)

    def _check_revision(
        self, verb: str, prefix: str, revision: Revision, *, resume: bool = False
    ) -> None:
        if revision > self.revision:
            raise errors.Expired(
                f"cannot {verb} {prefix}: revision {revision} is later than the store's {self.revision}"
            )
        if revision < self._compacted:
            raise errors.Expired(
                f"cannot {verb} {prefix}: the required revision has been compacted: "
                f"{revision} < {self._compacted}"
            )

    async def _write(self, key: str, value: bytes | None, expected: Revision | None) -> KeyValue:
        if self._closing:
            raise errors.Unavailable(f"cannot write {key}: the store is closed")
        write = _Write(key, value, expected, self._loop.create_future())
        # Waking the thread for each write would make both threads fight for the interpreter, and commits of one.
        if not self._gathered:
            self._loop.call_soon(self._gather)
        self._gathered.append(write)
        return await write.done

    def _gather(self, known: int = 0, still: int = 0, turns: int = 0) -> None:
        """Once a turn: hand over when no more writes come. The arguments are what the turn before found."""
        found = len(self._gathered)
        still = still + 1 if found == known else 0
        if still >= STILL or turns >= TURNS or not found:
            self._hand_over()
        else:
            self._loop.call_soon(self._gather, found, still, turns + 1)

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    async def _ask(self, question: Callable[[Log], T]) -> T:
        """Run `question` on the writer thread between two commits."""
        if self._closing:
            raise errors.Unavailable(f"cannot read store {self._path}: the store is closed")
        self._hand_over()
        answer: asyncio.Future[T] = self._loop.create_future()

        def run(log: Log) -> None:
            try:
                result = question(log)
            except Exception as error:  # noqa: BLE001 - carried to the caller's thread, not swallowed
                self._loop.call_soon_threadsafe(_fail, answer, error)
            else:
                self._loop.call_soon_threadsafe(_answer, answer, result)

        self._queue.put(run)
        return await answer

    # The loop's thread, after a commit.

    def _load(self, items: Sequence[KeyValue], revision: Revision, compacted: Revision) -> None:
        self._present.replace(items)
        self._compacted = compacted
        self._broadcast.revision = revision
        _answer(self._opened, None)

    def _finish(self, writes: Sequence[_Write]) -> None:
        events = [write.result for write in writes if write.result is not None]
        for event in events:
            if event.type is EventType.DELETE:
                self._present.remove(event.kv.key)
            else:
                self._present.put(event.kv)
        self._broadcast.publish(events)
        for write in writes:
            if write.error is not None:
                _fail(write.done, write.error)
            elif write.result is not None:
                _answer(write.done, write.result.kv)

    # The writer's thread.

    def _run(self) -> None:
        try:
            log = Log(self._path)
            self._heads = log.current()
            self._head = log.last()
            items = tuple(self._heads.values())
            self._loop.call_soon_threadsafe(self._load, items, self._head, log.compacted)
        except Exception as error:  # noqa: BLE001 - carried to the caller of open, not swallowed
            self._loop.call_soon_threadsafe(_fail, self._opened, error)
            return
        running = True
        while running:
            waiting = [self._queue.get()]
            while len(waiting) < GROUP and not self._queue.empty():
                waiting.append(self._queue.get())
            writes: _Writes = []
            for item in waiting:
                if isinstance(item, list):
                    writes += item
                    continue
                self._commit(log, writes)
                writes = []
                if item is None:
                    running = False
                else:
                    item(log)
            self._commit(log, writes)
        log.close()
        self._loop.call_soon_threadsafe(_answer, self._stopped, None)

    def _commit(self, log: Log, writes: _Writes) -> None:
        if not writes:
            return
        before = self._head
        undo: _Undo = []
        rows = [row for write in writes if (row := self._decide(write, undo)) is not None]
        try:
            if rows:
                log.append(rows)
        except errors.Unavailable as error:
            self._head = before
            for key, head in reversed(undo):
                if head is None:
                    self._heads.pop(key, None)
                else:
                    self._heads[key] = head
            for write in writes:
                write.result, write.error = None, error
        self._loop.call_soon_threadsafe(self._finish, writes)

    def _past(self, log: Log, prefix: str, revision: Revision, after: str) -> Sequence[KeyValue]:
        """Keys below `prefix` as they were: the present, without what was written since."""
        state = {key: kv for key, kv in self._heads.items() if key.startswith(prefix)}
        for event in reversed(log.history(prefix, revision, self._head)):
            if event.previous is None:
                state.pop(event.kv.key, None)
            else:
                state[event.kv.key] = event.previous
        return [state[key] for key in sorted(state) if key > after]

    def _decide(self, write: _Write, undo: _Undo) -> Row | None:
        """The compare-and-swap: either the row to append, or None and the write's error."""
        old = self._heads.get(write.key)
        if write.expected is None:
            if old is not None:
                write.error = errors.AlreadyExists(f"cannot create {write.key}: it exists")
                return None
        elif old is None:
            write.error = errors.NotFound(f"cannot write {write.key}: it does not exist")
            return None
        elif old.mod_revision != write.expected:
            write.error = errors.Conflict(
                f"cannot write {write.key}: expected revision {write.expected}, it is {old.mod_revision}"
            )
            return None
        revision = self._head = Revision(self._head + 1)
        created = revision if old is None else old.create_revision
        value = write.value if write.value is not None else old.value if old is not None else b""
        new = KeyValue(write.key, value, created, revision)
        undo.append((write.key, old))
        deleted = write.value is None
        if deleted:
            del self._heads[write.key]
        else:
            self._heads[write.key] = new
        write.result = Event(EventType.DELETE if deleted else EventType.PUT, new, old)
        previous = Revision(0) if old is None else old.mod_revision
        return Row(revision, write.key, created, previous, deleted, value)


def _drop(revisions: Sequence[Revision], log: Log) -> None:
    log.drop(revisions)


def _answer(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
