"""What etcd forgets, refuses or has lost: each is told in the words of the store, and it goes on afterwards."""

import asyncio
from collections.abc import Callable

import pytest

from netpod import errors
from netpod.store import receipts
from netpod.store.etcd import EtcdStore
from netpod.store.store import Revision
from tests.unit.store.members import Members, using

Start = Callable[..., Members]


def test_etcd_set_back_to_an_earlier_state_is_noticed(members: Start) -> None:
    """A member that comes back without its data: nothing of before is shown any more, watches end, and all that is
    written from then on is seen."""
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        for number in range(5):
            await store.create(f"/registry/{number}", b"")
        watch = await store.watch("/registry/", store.revision)
        since = store.revision
        cluster.kill(0)
        cluster.wipe(0)
        cluster.start(0)
        assert await store.get("/registry/1") is None
        with pytest.raises(StopAsyncIteration):
            await watch.batch()
        assert not (await store.list("/registry/")).items
        with pytest.raises(errors.Expired):
            await store.watch("/registry/", since)
        fresh = await store.watch("/registry/", store.revision)
        made = await store.create("/registry/z", b"")
        assert made.mod_revision < since
        assert await store.get(made.key) == made
        assert [event.kv for event in await fresh.batch()] == [made]

    asyncio.run(using(cluster.target, body))


def test_an_etcd_without_room_is_told_as_a_full_disk(members: Start) -> None:
    """507 while its quota is used up, but not for the write that etcd made nevertheless; reads and deletions go on, and
    with room writes."""
    cluster = members(1, quota=1 << 20)

    async def body(store: EtcdStore) -> None:
        made = []

        async def fill() -> None:
            for number in range(100):
                made.append(await store.create(f"/registry/{number}", b"x" * 100_000))

        with pytest.raises(errors.InsufficientStorage, match="space exceeded"):
            await fill()
        assert list((await store.list("/registry/")).items) == sorted(made)
        with pytest.raises(errors.Conflict):
            await store.delete(made[0].key, made[1].mod_revision)
        for kv in made:
            gone = await store.delete(kv.key, kv.mod_revision)
        physical = {"revision": str(gone.mod_revision), "physical": True}
        await store._etcd.read("kv/compaction", physical)
        await store._etcd.read("maintenance/defragment", {})
        status = await store._etcd.read("maintenance/alarm", {"action": "GET"})
        for alarm in status["alarms"]:
            await store._etcd.read("maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        assert (await store.create("/registry/small", b"x")).mod_revision == gone.mod_revision + 1

    asyncio.run(using(cluster.target, body))


def test_a_value_too_large_is_refused(members: Start) -> None:
    """Above etcd's own limit, 1.5 MiB, the answer is 413 and nothing is written."""
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        with pytest.raises(errors.TooLarge):
            await store.create("/registry/big", b"x" * (2 << 20))
        assert await store.get("/registry/big") is None
        await store.create("/registry/small", b"x")

    asyncio.run(using(cluster.target, body))


def test_compaction_behind_a_lagging_feed_ends_the_watches(members: Start) -> None:
    """A feed whose next revision is compacted ends its watches; to resume them is Expired, to begin anew works."""
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        for i in range(3):
            await store.create(f"/registry/{i}", b"")
        watch = await store.watch("/registry/", store.revision)
        since = watch.revision
        cluster.kill(0)
        store._feed.broadcast.revision = Revision(2)  # as far as it had come when it was cut off
        cluster.start(0)
        await store.compact(store.revision)
        with pytest.raises(StopAsyncIteration):
            await watch.batch()
        made = await store.create("/registry/z", b"")
        fresh = await store.watch("/registry/", since)
        assert [event.kv for event in await fresh.batch()] == [made]
        with pytest.raises(errors.Expired):
            await store.watch("/registry/", Revision(2))

    asyncio.run(using(cluster.target, body))


def test_an_expired_receipt_is_replaced(members: Start) -> None:
    """A receipt or a lease that etcd has dropped costs a write nothing but a second attempt."""
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        made = await store.create("/registry/a", b"1")
        lease = store._writer._receipts._lease
        await store._etcd.read("lease/revoke", {"ID": lease})
        assert not (await store.list(receipts.PREFIX)).items
        changed = await store.update(made.key, b"2", made.mod_revision)
        assert await store.get(made.key) == changed
        assert store._writer._receipts._lease != lease

    asyncio.run(using(cluster.target, body))
