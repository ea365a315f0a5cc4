"""The store for many machines: etcd 3, keys as upstream lays them out.

Reads are linearizable: each asks etcd, so several API servers on one etcd all see the newest state. One watch of
everything feeds all watchers through a `Broadcast`, however many there are; it resumes after the last revision it
saw, at whichever member answers. A write is one transaction that compares the key's mod_revision; receipts.py says
how a lost answer is settled. A member lost, or the leader: asked again within bounds, then Unavailable.

Sources: k8s.io/apiserver pkg/storage/etcd3/store.go, watcher.go; etcd v3.4 Documentation/learning/api.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from netpod import errors
from netpod.store import gateway, receipts
from netpod.store.broadcast import LIMIT, Broadcast, Watcher
from netpod.store.gateway import Gateway, LeaseGone, Lost, Message, Target, Unreachable
from netpod.store.receipts import Receipt, Receipts
from netpod.store.store import EMPTY, Event, EventType, KeyValue, Page, Revision

log = logging.getLogger(__name__)
IN_FLIGHT = gateway.CONNECTIONS
"""Writes on their way at once."""
_SILENCE_SECONDS = 5.0
"""After this silence the feed asks whether it missed something: a member that hangs keeps its connections open."""
_CATCH_UP_SECONDS = 10.0


class EtcdStore:
    """`Store` in an etcd cluster of one or more members. Open it with `EtcdStore.open`."""

    def __init__(self, target: Target, lag: int) -> None:
        self._name = ",".join(target.endpoints)
        self._etcd = Gateway(target)
        self._receipts = Receipts(self._etcd)
        self._turn = asyncio.Semaphore(IN_FLIGHT)
        self._broadcast = Broadcast(limit=lag)
        self._progress = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._background: list[asyncio.Task[None]] = []
        self._patience: asyncio.Timeout | None = None
        self._closing = False

    @classmethod
    async def open(cls, target: Target, *, lag: int = LIMIT) -> "EtcdStore":
        """Connect; `close` must be awaited afterwards by the same task. A watcher may be `lag` events behind.

        Raises:
            Unavailable: no member answers, or they have no quorum.
            NetpodError: a certificate cannot be read.
        """
        store = cls(target, lag)
        try:
            store._broadcast.revision = max(await store._head(), EMPTY)
        except BaseException:
            await store._etcd.close()
            raise
        await store._tasks.__aenter__()
        for work in (store._feed(), store._watchdog()):
            store._background.append(store._tasks.create_task(work))
        return store

    @property
    def revision(self) -> Revision:
        """Revision of the newest write this process has heard of."""
        return max(self._etcd.revision, self._broadcast.revision)

    async def get(self, key: str) -> KeyValue | None:
        """The key as it is now, or None."""
        answer = await self._etcd.read("kv/range", {"key": gateway.encode(key)})
        return gateway.first_of(answer.get("kvs"))

    async def list(
        self, prefix: str, *, revision: Revision | None = None, limit: int = 0, after: str = ""
    ) -> Page:
        """Keys below `prefix`; see `Store.list`."""
        body = gateway.key_range(prefix, after)
        body |= {"revision": str(revision or 0), "limit": str(limit)}
        answer = await self._etcd.read("kv/range", body)
        items = [gateway.key_value(kv) for kv in answer.get("kvs", ())]
        read = revision or gateway.revision_of(answer["header"], "revision")
        return Page(items, read, int(answer.get("count", 0)) - len(items))

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
        since = max(since_revision, EMPTY)
        if since != self._broadcast.revision:
            # A read at a revision fails just when a watch after it would have a gap.
            body = {"key": gateway.encode("/"), "revision": str(since), "count_only": True}
            await self._etcd.read("kv/range", body)
            await self._reached(since)
        now = self._broadcast.revision
        watcher = self._broadcast.subscribe(prefix, since)
        if since < now:
            try:
                watcher.begin(await self._history(prefix, since, now))
            except BaseException:
                watcher.close()
                raise
        return watcher

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether nothing near these prefixes changed, as far as any answer told; see `Store.untouched`."""
        # Own writes are answered before the feed tells of them.
        known = self._broadcast.revision >= self._etcd.revision
        return known and self._broadcast.untouched(prefixes, since)

    async def compact(self, revision: Revision) -> None:
        """Forget history up to `revision`; another API server may have done it already."""
        revision = min(revision, self.revision)
        # Compacted already, by whomever: nothing to do.
        with contextlib.suppress(errors.Expired):
            await self._etcd.read("kv/compaction", {"revision": str(revision)})

    async def close(self) -> None:
        """End all watches; repeating it changes nothing. What was acknowledged is durable in etcd."""
        if self._closing:
            return
        self._closing = True
        self._broadcast.close()
        for task in self._background:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._etcd.close()

    # Writes.

    async def _write(self, key: str, value: bytes | None, expected: Revision | None) -> KeyValue:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + gateway.BOUND_SECONDS
        async with self._turn:
            while True:
                if self._closing:
                    raise errors.Unavailable(f"cannot write {key}: the store is closed")
                try:
                    written = await self._attempt(key, value, expected)
                except (Lost, Unreachable) as error:
                    cause: Exception = error
                except errors.Unavailable as error:
                    raise errors.Unavailable(f"cannot write {key}: {error}") from error
                else:
                    if written is not None:
                        return written
                    continue
                if loop.time() >= deadline:
                    raise errors.Unavailable(f"cannot write {key}: {cause}") from cause
                await asyncio.sleep(gateway.PAUSE_SECONDS)

    async def _attempt(
        self, key: str, value: bytes | None, expected: Revision | None
    ) -> KeyValue | None:
        """One transaction. None: it was refused for its lease or its receipt; try with new ones.

        A receipt is given back only when it is known what became of the write, also when we are cancelled.

        Raises:
            Lost: it was not carried out, and never will be.
            ApiError: as `_write` says.
        """
        lease = await self._receipts.lease()
        receipt = self._receipts.take()
        try:
            answer = await self._etcd.write(
                "kv/txn", _transaction(key, value, expected, receipt, lease)
            )
        except LeaseGone:
            self._receipts.forget_lease()
            return None
        except (errors.Unavailable, errors.TooLarge):
            self._receipts.give_back(receipt, receipt.revision)
            raise
        except Lost:
            happened = await self._receipts.fence(receipt)
            self._receipts.give_back(receipt, receipt.revision)
            if happened is None:
                raise
            return await self._read_back(key, value, happened)
        responses = answer.get("responses", ())
        if answer.get("succeeded"):
            revision = gateway.revision_of(answer["header"], "revision")
            self._receipts.give_back(receipt, revision)
            if value is None:
                gone = gateway.key_value(responses[0]["response_delete_range"]["prev_kvs"][0])
                return KeyValue(key, gone.value, gone.create_revision, revision)
            created = gateway.revision_of(
                responses[1]["response_range"]["kvs"][0], "create_revision"
            )
            return KeyValue(key, value, created, revision)
        found, left = (gateway.first_of(it["response_range"].get("kvs")) for it in responses)
        if (left.mod_revision if left else 0) != receipt.revision:
            return None  # its lease ran out after all; the key itself may be as expected
        self._receipts.give_back(receipt, receipt.revision)
        raise _refusal(key, expected, found)

    async def _read_back(self, key: str, value: bytes | None, revision: Revision) -> KeyValue:
        """What a write that happened at `revision` would have returned, had its answer not been lost."""
        at = revision if value is not None else Revision(revision - 1)
        try:
            body = {"key": gateway.encode(key), "revision": str(at)}
            found = gateway.first_of((await self._etcd.read("kv/range", body)).get("kvs"))
        except errors.Expired as error:
            raise errors.Unavailable(
                f"cannot read {key} back: it was written at {revision}, and compacted since"
            ) from error
        assert found is not None, "a receipt is written together with its key"
        return KeyValue(key, found.value, found.create_revision, revision)

    # Watches.

    async def _head(self) -> Revision:
        body = {"key": gateway.encode("/"), "count_only": True}
        return gateway.revision_of((await self._etcd.read("kv/range", body))["header"], "revision")

    async def _reached(self, revision: Revision) -> None:
        """Wait until the feed has come to `revision`, which etcd has."""
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while self._broadcast.revision < revision and not self._closing:
                    await self._progress.wait()
        except TimeoutError as error:
            raise errors.Unavailable(
                f"cannot watch store {self._name}: no member has told of revision {revision} yet"
            ) from error

    async def _history(self, prefix: str, since: Revision, now: Revision) -> Sequence[Event]:
        """Events below `prefix` with since < revision <= now, by a watch of its own.

        Of all keys: each revision has an event, so the one that says that all are there will come.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + gateway.BOUND_SECONDS
        member = 0
        while True:
            found: list[Event] = []
            try:
                async with (
                    asyncio.timeout(_CATCH_UP_SECONDS),
                    contextlib.aclosing(self._etcd.stream(_watch(since), member=member)) as stream,
                ):
                    async for response in stream:
                        for event in _events(response):
                            if event.kv.mod_revision <= now and event.kv.key.startswith(prefix):
                                found.append(event)
                        if _last(response) >= now:
                            return found
            except (Lost, TimeoutError) as error:
                if loop.time() >= deadline:
                    raise errors.Unavailable(f"cannot watch {prefix}: {error}") from error
                await asyncio.sleep(gateway.PAUSE_SECONDS)
            member += 1

    async def _feed(self) -> None:
        """Publish every event of etcd, from member to member."""
        member = 0
        while True:
            try:
                await self._follow(member)
            except errors.Expired as error:
                # Too long away: who watches lists again, and is told so when it asks to resume.
                log.warning("watches end: %s", error)
                self._broadcast.close()
                with contextlib.suppress(errors.Unavailable):
                    self._advance(await self._head())
            except (Lost, errors.Unavailable) as error:
                log.info("store %s: watching at the next member: %s", self._name, error)
            member += 1
            await asyncio.sleep(gateway.PAUSE_SECONDS)

    async def _follow(self, member: int) -> None:
        start = self._broadcast.revision
        try:
            async with (
                asyncio.timeout(None) as self._patience,
                contextlib.aclosing(self._etcd.stream(_watch(start), member=member)) as stream,
            ):
                async for response in stream:
                    events = _events(response)
                    self._broadcast.publish(
                        [it for it in events if not it.kv.key.startswith(receipts.PREFIX)]
                    )
                    self._advance(_last(response))
        except TimeoutError as error:
            raise Lost("this member has fallen silent") from error
        finally:
            self._patience = None

    async def _watchdog(self) -> None:
        """End a stream whose member keeps it open and tells nothing, though there is news."""
        while True:
            before = self._broadcast.revision
            await asyncio.sleep(_SILENCE_SECONDS)
            if self._broadcast.revision != before:
                continue
            try:
                head = await self._head()
                await asyncio.sleep(1)
            except errors.Unavailable:
                continue
            if self._broadcast.revision < head and self._patience is not None:
                self._patience.reschedule(asyncio.get_running_loop().time())

    def _advance(self, revision: Revision) -> None:
        """Everything up to `revision` is published."""
        self._broadcast.revision = max(self._broadcast.revision, revision)
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


def _transaction(
    key: str, value: bytes | None, expected: Revision | None, receipt: Receipt, lease: str
) -> Message:
    """The compare-and-swap with its receipt; otherwise what key and receipt are instead."""
    compare = [
        receipts.unchanged(key, expected or Revision(0)),
        receipts.unchanged(receipt.key, receipt.revision),
    ]
    mark = receipts.put(receipt.key, str(receipt.number).encode(), lease)
    name = gateway.encode(key)
    if value is None:
        success: list[Message] = [
            {"request_delete_range": {"key": name, "prev_kv": True}},
            mark,
        ]
    else:
        success = [
            receipts.put(key, value),
            {"request_range": {"key": name, "keys_only": True}},
            mark,
        ]
    failure: list[Message] = [
        {"request_range": {"key": name}},
        {"request_range": {"key": gateway.encode(receipt.key)}},
    ]
    return receipts.transaction(compare, success, failure)


def _refusal(key: str, expected: Revision | None, found: KeyValue | None) -> errors.ApiError:
    if expected is None:
        return errors.AlreadyExists(f"cannot create {key}: it exists")
    if found is None:
        return errors.NotFound(f"cannot write {key}: it does not exist")
    return errors.Conflict(
        f"cannot write {key}: expected revision {expected}, it is {found.mod_revision}"
    )


def _watch(since: Revision) -> Message:
    """A WatchCreateRequest for every key, after `since`."""
    return gateway.key_range("") | {"start_revision": str(since + 1), "prev_kv": True}


def _last(response: Message) -> Revision:
    """Revision of a watch response's last event, 0 without one; a revision is never split over two."""
    events = response.get("events")
    return gateway.revision_of(events[-1]["kv"], "mod_revision") if events else Revision(0)


def _events(response: Message) -> list[Event]:
    """The events of a watch response.

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
