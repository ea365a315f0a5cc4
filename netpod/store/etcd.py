"""The store for many machines: etcd 3, keys as upstream lays them out.

Reads are linearizable, so several API servers on one etcd all see the newest state, and yet come from memory: etcd is
asked for no more than its newest revision, once for all who read at the same time, and the feed (etcdfeed.py) has what
was written up to there. Who knows how old a state may be (`not_older_than`) asks nobody. etcd itself answers when the
feed is behind. Writes are etcdwriter.py; receipts.py says how a lost answer is settled.

Sources: k8s.io/apiserver pkg/storage/etcd3/store.go; KEP-2340, consistent reads from cache; etcd v3.4
Documentation/learning/api.md.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from netpod import errors
from netpod.store import gateway
from netpod.store.broadcast import LIMIT, Watcher
from netpod.store.etcdfeed import Feed
from netpod.store.etcdwriter import EtcdWriter
from netpod.store.gateway import Gateway, Target
from netpod.store.store import EMPTY, KeyValue, Page, Revision

_BEHIND_SECONDS = 1.0
"""How long a read waits for the feed before it asks etcd itself."""
_CATCH_UP_SECONDS = 10.0


class EtcdStore:
    """`Store` in an etcd cluster of one or more members. Open it with `EtcdStore.open`."""

    shared = True

    def __init__(self, target: Target, lag: int) -> None:
        self._name = ",".join(target.endpoints)
        self._etcd = Gateway(target)
        self._writer = EtcdWriter(self._etcd)
        self._feed = Feed(self._etcd, lag)
        self._etcd.on_rewind = self._feed.rewind
        self._tasks = asyncio.TaskGroup()
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, target: Target, *, lag: int = LIMIT) -> "EtcdStore":
        """Connect; `close` must be awaited afterwards by the same task. A watcher may be `lag` events behind.

        Raises:
            Unavailable: no member answers, or they have no quorum.
            NetpodError: a certificate cannot be read.
        """
        store = cls(target, lag)
        try:
            await store._feed.load()
        except BaseException:
            await store._etcd.close()
            raise
        await store._tasks.__aenter__()
        for work in (store._feed.run(), store._feed.watch_over()):
            store._background.append(store._tasks.create_task(work))
        return store

    @property
    def revision(self) -> Revision:
        """Revision of the newest write this process has heard of."""
        return max(self._etcd.revision, self._feed.broadcast.revision, EMPTY)

    async def get(self, key: str, *, not_older_than: Revision | None = None) -> KeyValue | None:
        """The key, or None; see `Store.get`."""
        if await self._is_here(key, not_older_than):
            return self._feed.present.get(key)
        answer = await self._etcd.read("kv/range", {"key": gateway.encode(key)})
        return gateway.first_of(answer.get("kvs"))

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        not_older_than: Revision | None = None,
        limit: int = 0,
        after: str = "",
    ) -> Page:
        """Keys below `prefix`; see `Store.list`."""
        if revision is None and await self._is_here(prefix, not_older_than):
            return self._feed.present.page(prefix, limit, after, self._feed.broadcast.revision)
        body = gateway.key_range(prefix, after)
        body |= {"revision": str(revision or 0), "limit": str(limit)}
        answer = await self._etcd.read("kv/range", body)
        items = [gateway.key_value(kv) for kv in answer.get("kvs", ())]
        read = revision or gateway.revision_of(answer["header"], "revision")
        return Page(items, read, int(answer.get("count", 0)) - len(items))

    async def _is_here(self, prefix: str, revision: Revision | None) -> bool:
        """Whether the feed has come to a revision, None: the newest, and to what we wrote below a prefix."""
        if revision is None:
            revision = await self._etcd.newest()
        return await self._feed.reached(max(revision, self._feed.due(prefix)), _BEHIND_SECONDS)

    async def _write(self, key: str, value: bytes | None, expected: Revision | None) -> KeyValue:
        written = await self._writer.write(key, value, expected)
        self._feed.expect(key, written.mod_revision)
        return written

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
        broadcast = self._feed.broadcast
        if not self._feed.knows(since):
            # A read at a revision fails just when a watch after it would have a gap.
            body = {"key": gateway.encode("/"), "revision": str(since), "count_only": True}
            await self._etcd.read("kv/range", body)
            if not await self._feed.reached(since, _CATCH_UP_SECONDS):
                raise errors.Unavailable(
                    f"cannot watch store {self._name}: no member has told of revision {since} yet"
                )
        now = broadcast.revision
        watcher = broadcast.subscribe(prefix, since)
        if since < now:
            try:
                watcher.begin(await self._feed.history(prefix, since, now))
            except BaseException:
                watcher.close()
                raise
        return watcher

    def untouched(self, prefixes: Iterable[str], since: Revision) -> bool:
        """Whether nothing near these prefixes changed, as far as this process knows; see `Store.untouched`."""
        prefixes = tuple(prefixes)
        # Own writes are answered before the feed tells of them.
        return not any(map(self._feed.due, prefixes)) and self._feed.broadcast.untouched(
            prefixes, since
        )

    async def compact(self, revision: Revision) -> None:
        """Forget history up to `revision`; another API server may have done it already."""
        revision = min(revision, self.revision)
        # Compacted already, by whomever: nothing to do.
        with contextlib.suppress(errors.Expired):
            await self._etcd.read("kv/compaction", {"revision": str(revision)})
        self._feed.forget(revision)

    async def close(self) -> None:
        """End all watches; repeating it changes nothing. What was acknowledged is durable in etcd."""
        if self._writer.closing:
            return
        self._writer.closing = True
        self._feed.broadcast.close()
        for task in self._background:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._etcd.close()
