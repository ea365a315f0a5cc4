"""What every Store promises, whatever is behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from netpod import errors
from netpod.store import broadcast
from netpod.store.store import Event, EventType, Revision, Store, Watch
from tests.unit.store.conftest import LAG

Run = Callable[[Callable[[Store], Awaitable[None]]], None]
Opener = Callable[[], AbstractAsyncContextManager[Store]]


async def take(watch: Watch, count: int) -> list[Event]:
    """The next `count` events."""
    found: list[Event] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found.extend(await watch.batch())
    return found


def test_a_created_key_is_read_back(run: Run) -> None:
    """get returns what create returned; revisions begin at 2, as in etcd."""

    async def body(store: Store) -> None:
        assert store.revision == 1
        made = await store.create("/registry/pods/a/x", b"one")
        assert (made.value, made.create_revision, made.mod_revision) == (b"one", 2, 2)
        assert await store.get("/registry/pods/a/x") == made
        assert await store.get("/registry/pods/a/y") is None
        assert store.revision == 2

    run(body)


def test_a_key_is_created_once(run: Run) -> None:
    """Of many concurrent creates of one key exactly one succeeds."""

    async def body(store: Store) -> None:
        results = await asyncio.gather(
            *(store.create("/k", str(i).encode()) for i in range(20)), return_exceptions=True
        )
        made = [r for r in results if not isinstance(r, BaseException)]
        assert len(made) == 1
        assert all(isinstance(r, errors.AlreadyExists) for r in results if r is not made[0])
        assert await store.get("/k") == made[0]

    run(body)


def test_compare_and_swap_never_loses_an_update(run: Run) -> None:
    """Eight writers that each add 25 by read, compare and swap end at exactly 200."""

    async def body(store: Store) -> None:
        await store.create("/n", b"0")

        async def add(times: int) -> None:
            while times:
                old = await store.get("/n")
                assert old is not None
                try:
                    await store.update("/n", str(int(old.value) + 1).encode(), old.mod_revision)
                except errors.Conflict:
                    continue
                times -= 1

        await asyncio.gather(*(add(25) for _ in range(8)))
        last = await store.get("/n")
        assert last is not None
        assert last.value == b"200"
        assert last.create_revision == 2
        assert last.mod_revision == 202

    run(body)


def test_writes_to_what_is_not_there_say_so(run: Run) -> None:
    """update and delete of an absent key are NotFound, of a changed one Conflict."""

    async def body(store: Store) -> None:
        with pytest.raises(errors.NotFound):
            await store.update("/k", b"", Revision(5))
        with pytest.raises(errors.NotFound):
            await store.delete("/k", Revision(5))
        made = await store.create("/k", b"a")
        await store.update("/k", b"b", made.mod_revision)
        with pytest.raises(errors.Conflict):
            await store.update("/k", b"c", made.mod_revision)
        with pytest.raises(errors.Conflict):
            await store.delete("/k", made.mod_revision)
        gone = await store.delete("/k", Revision(3))
        assert (gone.value, gone.mod_revision) == (b"b", 4)
        again = await store.create("/k", b"d")
        assert (again.create_revision, again.mod_revision) == (5, 5)

    run(body)


def test_a_listing_is_one_prefix_in_key_order(run: Run) -> None:
    """list gives the keys below a prefix, sorted, and no neighbour whose name only begins alike."""

    async def body(store: Store) -> None:
        for key in ("/r/pods/b/1", "/r/pods/a/2", "/r/pods/a/1", "/r/podsx/a", "/r/pod"):
            await store.create(key, key.encode())
        page = await store.list("/r/pods/")
        assert [kv.key for kv in page.items] == ["/r/pods/a/1", "/r/pods/a/2", "/r/pods/b/1"]
        assert (page.revision, page.remaining) == (6, 0)

    run(body)


def test_a_listing_in_pages_is_of_one_revision(run: Run) -> None:
    """A listing continued at its revision does not see what was written in between."""

    async def body(store: Store) -> None:
        for i in range(5):
            await store.create(f"/p/{i}", b"old")
        first = await store.list("/p/", limit=2)
        assert [kv.key for kv in first.items] == ["/p/0", "/p/1"]
        assert first.remaining == 3
        second_key = await store.get("/p/2")
        assert second_key is not None
        await store.update("/p/2", b"new", second_key.mod_revision)
        await store.delete("/p/3", Revision(5))
        await store.create("/p/9", b"new")
        rest = await store.list("/p/", revision=first.revision, limit=2, after="/p/1")
        assert [(kv.key, kv.value) for kv in rest.items] == [("/p/2", b"old"), ("/p/3", b"old")]
        assert (rest.revision, rest.remaining) == (first.revision, 1)
        with pytest.raises(errors.Expired):
            await store.list("/p/", revision=Revision(99))

    run(body)


def test_a_watch_tells_the_past_then_the_present(run: Run) -> None:
    """Each revision after the given one arrives once, in order, with what was there before."""

    async def body(store: Store) -> None:
        made = await store.create("/w/a", b"1")
        await store.create("/other", b"")
        changed = await store.update("/w/a", b"2", made.mod_revision)
        watch = await store.watch("/w/", made.mod_revision)
        gone = await store.delete("/w/a", changed.mod_revision)
        again = await store.create("/w/a", b"3")
        events = await take(watch, 3)
        assert events == [
            Event(EventType.PUT, changed, made),
            Event(EventType.DELETE, gone, changed),
            Event(EventType.PUT, again, None),
        ]
        assert watch.revision == store.revision
        watch.close()

    run(body)


def test_watchers_see_every_revision_once_while_others_write(run: Run) -> None:
    """Watches opened at many moments of a busy store each replay into exactly the store's state."""

    async def body(store: Store) -> None:
        async def write(name: str) -> None:
            for i in range(30):
                made = await store.create(f"/b/{name}/{i}", b"x")
                if i % 3 == 0:
                    await store.delete(made.key, made.mod_revision)

        async def replay() -> set[str]:
            watch = await store.watch("/b/", Revision(1))
            keys: set[str] = set()
            seen = 1
            for event in await take(watch, 160):
                assert event.kv.mod_revision == seen + 1
                seen = event.kv.mod_revision
                if event.type is EventType.DELETE:
                    keys.remove(event.kv.key)
                else:
                    keys.add(event.kv.key)
            return keys

        replays = []
        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                replays.append(group.create_task(replay()))
                await asyncio.sleep(0.001)
                group.create_task(write(name))
            replays.append(group.create_task(replay()))
        replays.append(asyncio.ensure_future(replay()))
        expected = {kv.key for kv in (await store.list("/b/")).items}
        for task in replays:
            assert await task == expected

    run(body)


def test_a_slow_watcher_is_dropped_and_told(run: Run) -> None:
    """Who does not read loses the watch, not the writer its speed; afterwards a new watch works."""

    async def body(store: Store) -> None:
        slow = await store.watch("/s/", store.revision)
        await asyncio.gather(*(store.create(f"/s/{i}", b"") for i in range(LAG + 1)))
        # Once a watch is open at the newest revision every watcher has been told of all before; reading
        # earlier would empty a queue that is not yet over its limit.
        fresh = await store.watch("/s/", store.revision)
        with pytest.raises(errors.Expired):
            await slow.batch()
        made = await store.create("/s/last", b"")
        assert [event.kv for event in await take(fresh, 1)] == [made]

    run(body)


def test_a_slow_watcher_of_large_objects_is_dropped_sooner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for who does not read is bounded in bytes as well as in events."""
    monkeypatch.setattr(broadcast, "LIMIT_BYTES", 1_000_000)

    async def body(store: Store) -> None:
        slow = await store.watch("/s/", store.revision)
        quick = await store.watch("/s/", store.revision)
        for number in range(11):
            await store.create(f"/s/{number}", b"x" * 100_000)
            await take(quick, 1)
        with pytest.raises(errors.Expired):
            await slow.batch()

    run(body)


def test_compacted_history_is_expired(run: Run) -> None:
    """After compaction old revisions are 410 Expired; newer ones and the present are as before."""

    async def body(store: Store) -> None:
        made = await store.create("/c/a", b"1")
        second = await store.update("/c/a", b"2", made.mod_revision)
        await store.create("/c/b", b"")
        await store.delete("/c/b", Revision(4))
        third = await store.update("/c/a", b"3", second.mod_revision)
        await store.compact(Revision(5))
        with pytest.raises(errors.Expired):
            await store.watch("/c/", Revision(4))
        with pytest.raises(errors.Expired):
            await store.list("/c/", revision=Revision(4))
        at_five = await store.list("/c/", revision=Revision(5))
        assert list(at_five.items) == [second]
        watch = await store.watch("/c/", Revision(5))
        assert await take(watch, 1) == [Event(EventType.PUT, third, second)]
        assert await store.get("/c/a") == third

    run(body)


def test_a_cancelled_wait_loses_no_event(run: Run) -> None:
    """A watch whose read timed out delivers the next event to the next read."""

    async def body(store: Store) -> None:
        watch = await store.watch("/t/", store.revision)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await watch.batch()
        made = await store.create("/t/a", b"")
        async for event in watch:
            assert event.kv == made
            break

    run(body)


def test_a_poked_watch_looks_up(run: Run) -> None:
    """Whoever waits is let go empty-handed, once; who iterates waits on, and no event is lost by it."""

    async def body(store: Store) -> None:
        watch = await store.watch("/k/", store.revision)
        waiting = asyncio.ensure_future(watch.batch())
        await asyncio.sleep(0)
        watch.poke()
        assert list(await waiting) == []
        watch.poke()
        made = await store.create("/k/a", b"")
        found = [*await watch.batch()]
        while not found:
            found = [*await watch.batch()]
        assert [event.kv for event in found] == [made]
        watch.poke()
        again = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        second = await store.create("/k/b", b"")
        assert (await again).kv == second

    run(body)


def test_diverted_events_come_once_and_in_order(run: Run) -> None:
    """A function gets what comes while somebody waits; what it refuses, or comes meanwhile, is read as ever."""

    async def body(store: Store) -> None:
        passed: list[Event] = []
        answers = iter([True, False, True])

        def take_over(events: tuple[Event, ...]) -> bool:
            taken = next(answers)  # a fourth call fails, which refuses too
            if taken:
                passed.extend(events)
            return taken

        watch = await store.watch("/d/", store.revision)
        other = await store.watch("/d/", store.revision)
        watch.divert(take_over)
        waiting = asyncio.ensure_future(watch.batch())
        await asyncio.sleep(0)
        made = [await store.create(f"/d/{number}", b"") for number in range(2)]
        assert [event.kv for event in await waiting] == made[1:]
        made.append(await store.create("/d/2", b""))
        await take(other, 3)
        assert [event.kv for event in await watch.batch()] == made[2:]
        for expected in ([], [4]):
            waiting = asyncio.ensure_future(watch.batch())
            await asyncio.sleep(0)
            made.append(await store.create(f"/d/{len(made)}", b""))
            await take(other, 1)
            if not expected:
                assert watch.revision == made[-1].mod_revision
                watch.poke()
            assert [event.kv for event in await waiting] == [made[i] for i in expected]
        assert [event.kv for event in passed] == [made[0], made[3]]

    run(body)


def test_a_reopened_store_is_the_same(opener: Opener) -> None:
    """Closing and opening keeps state, revisions and history, also when the newest row was compacted."""

    async def body() -> None:
        async with opener() as store:
            kept = await store.create("/o/a", b"1")
            gone = await store.create("/o/b", b"2")
            await store.delete("/o/b", gone.mod_revision)
            watch = await store.watch("/o/", store.revision)
            await store.compact(store.revision)
        with pytest.raises(StopAsyncIteration):
            await watch.batch()
        async with opener() as store:
            assert store.revision == 4
            assert await store.get("/o/a") == kept
            assert await store.get("/o/b") is None
            assert (await store.create("/o/c", b"")).mod_revision == 5
            with pytest.raises(errors.Expired):
                await store.watch("/o/", Revision(2))

    asyncio.run(body())


def test_a_closed_store_refuses_writes(opener: Opener) -> None:
    """A write after close fails instead of waiting for ever; closing twice is fine."""

    async def body() -> None:
        async with opener() as store:
            await store.close()
            with pytest.raises(errors.Unavailable):
                await store.create("/x", b"")

    asyncio.run(body())
