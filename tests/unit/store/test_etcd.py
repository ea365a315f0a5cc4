"""What only the etcd store promises: members die, freeze and come back, and nothing acknowledged is lost."""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from netpod import errors
from netpod.store import gateway
from netpod.store.etcd import EtcdStore
from netpod.store.gateway import Target
from netpod.store.store import RECENT, EventType, Revision
from tests.unit.store.certificates import issue
from tests.unit.store.members import Members, using

Start = Callable[..., Members]


def test_killed_members_cost_no_acknowledged_write(members: Start) -> None:
    """Four writers, a watcher and each of three members killed in turn, the last one for good with its data: all that
    was acknowledged is there, each counted once, and the watcher saw each revision once and in order."""
    cluster = members(3)
    acknowledged: dict[str, tuple[int, bytes]] = {}
    counted = 0

    async def body(store: EtcdStore) -> None:
        stop = asyncio.Event()
        await store.create("/registry/n", b"0")
        seen: list[tuple[int, str]] = []

        async def write(name: str) -> None:
            nonlocal counted
            number = 0
            while not stop.is_set():
                number += 1
                key = f"/registry/w/{name}/{number}"
                try:
                    made = await store.create(key, str(number).encode())
                    acknowledged[key] = (made.mod_revision, made.value)
                    old = await store.get("/registry/n")
                    assert old is not None
                    # The bytes another writer may be writing just now: only the receipt tells ours from theirs.
                    more = str(int(old.value) + 1).encode()
                    await store.update("/registry/n", more, old.mod_revision)
                    counted += 1
                except (errors.Conflict, errors.Unavailable):
                    continue

        async def look() -> None:
            watch = await store.watch("/registry/", Revision(1))
            while True:
                for event in await watch.batch():
                    assert not seen or event.kv.mod_revision > seen[-1][0]
                    seen.append((event.kv.mod_revision, event.kv.key))

        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(look())
            writing = [tasks.create_task(write(name)) for name in "abcd"]
            for member in range(3):
                await asyncio.sleep(0.7)
                cluster.kill(member)
                await asyncio.sleep(1.5)
                if member == 2:
                    cluster.wipe(member)  # etcd does not let it in again, and the others go on
                cluster.start(member)
                await asyncio.sleep(1.5)
            stop.set()
            await asyncio.gather(*writing)
            newest = (await store.list("/registry/")).revision
            while not seen or seen[-1][0] < newest:
                await asyncio.sleep(0.01)
            looking.cancel()

        found = {kv.key: (kv.mod_revision, kv.value) for kv in (await store.list("/")).items}
        assert len(acknowledged) > 100
        assert acknowledged.items() <= found.items()
        assert found["/registry/n"][1] == str(counted).encode()
        # Each revision is one write here, and each write has its own: none missed, none twice.
        history = await store.watch("/registry/", Revision(1))
        complete = [(it.kv.mod_revision, it.kv.key) for it in await history.batch()]
        assert seen == complete

    asyncio.run(using(cluster.target, body))


def test_without_a_quorum_writes_are_unavailable_and_go_on_with_it(
    members: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three members acknowledges nothing; with a second one the store works again."""
    cluster = members(3)

    async def body(store: EtcdStore) -> None:
        made = await store.create("/registry/a", b"1")
        cluster.kill(1)
        cluster.kill(2)
        with monkeypatch.context() as patience:
            patience.setattr(gateway, "BOUND_SECONDS", 1.0)
            patience.setattr(gateway, "ATTEMPT_SECONDS", 0.5)
            with pytest.raises(errors.Unavailable):
                await store.update(made.key, b"2", made.mod_revision)
            with pytest.raises(errors.Unavailable):
                await store.get(made.key)
        cluster.start(2)
        found = await store.get(made.key)
        assert found is not None
        assert found.value in (b"1", b"2")
        assert (await store.update(found.key, b"3", found.mod_revision)).value == b"3"

    asyncio.run(using(cluster.target, body))


def test_a_frozen_member_is_left_for_another(members: Start) -> None:
    """A member that keeps its connections and says nothing holds up neither writes nor reads nor watches for good."""
    cluster = members(3)

    async def body(store: EtcdStore) -> None:
        await store.create("/registry/a", b"1")
        watch = await store.watch("/registry/", store.revision)
        cluster.freeze(0)
        try:
            made = await store.create("/registry/b", b"2")
            assert await store.get(made.key) == made
            assert (await store.list("/registry/b")).items == [made]
            events = await watch.batch()
            assert [event.kv for event in events] == [made]
        finally:
            cluster.thaw(0)

    asyncio.run(using(cluster.target, body))


@pytest.mark.parametrize("fate", ["carried out", "dropped", "late"])
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_lost_answer_is_settled_exactly(members: Start, verb: str, fate: str) -> None:
    """A connection cut after the request: carried out, the write is told with its revision; not, it is done again;
    and a request that arrives after it was given up for lost is refused. The write happens once."""
    cluster = members(1)
    cut = 0
    late: list[bytes] = []

    async def body(_: EtcdStore) -> None:
        async def relay(request: web.Request) -> web.Response:
            nonlocal cut
            data = await request.read()
            if cut:
                cut -= 1
                assert request.transport is not None
                if fate == "carried out":
                    await forward(request.path, data)
                request.transport.abort()
                if fate == "late":
                    await asyncio.sleep(0.3)
                    late.append(await forward(request.path, data))
                return web.Response()
            return web.Response(body=await forward(request.path, data))

        async def forward(path: str, data: bytes) -> bytes:
            url = f"http://{cluster.target.endpoints[0]}{path}"
            async with aiohttp.ClientSession() as session, session.post(url, data=data) as answer:
                return await answer.read()

        app = web.Application()
        app.router.add_post("/v3/kv/{tail:.*}", relay)
        app.router.add_post("/v3/lease/{tail:.*}", relay)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 12999).start()
        try:
            # Without its streams: nothing here watches, and a relay of them would be another program.
            await using(Target(endpoints=("127.0.0.1:12999",)), settle)
        finally:
            await runner.cleanup()

    async def settle(store: EtcdStore) -> None:
        nonlocal cut
        old = await store.create("/registry/a", b"1")
        cut = 1
        if verb == "create":
            got = await store.create("/registry/b", b"2")
            assert (got.value, got.create_revision) == (b"2", got.mod_revision)
        elif verb == "update":
            got = await store.update(old.key, b"2", old.mod_revision)
            assert (got.value, got.create_revision) == (b"2", old.create_revision)
        else:
            got = await store.delete(old.key, old.mod_revision)
            assert (got.value, got.create_revision) == (b"1", old.create_revision)
        assert cut == 0
        # Not carried out: the fence took one revision, then the write the next.
        assert got.mod_revision == old.mod_revision + (1 if fate == "carried out" else 2)
        while fate == "late" and not late:
            await asyncio.sleep(0.01)
        assert not any(b'"succeeded":true' in answer for answer in late)
        assert await store.get(got.key) == (None if verb == "delete" else got)
        assert (await store.create("/registry/c", b"")).mod_revision == got.mod_revision + 1

    asyncio.run(using(cluster.target, body))


def test_equal_bytes_of_another_writer_are_not_taken_for_ours(members: Start) -> None:
    """A write lost on the way, while another server writes the very same: ours is Conflict, not success."""
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        old = await store.create("/registry/n", b"0")

        async def ours(path: str, body: gateway.Message) -> gateway.Message:
            store._etcd.write = real  # type: ignore[method-assign]
            await using(cluster.target, lambda other: other.update(old.key, b"1", old.mod_revision))
            raise gateway.Lost("cut")

        real = store._etcd.write
        store._etcd.write = ours  # type: ignore[method-assign]
        with pytest.raises(errors.Conflict):
            await store.update(old.key, b"1", old.mod_revision)

    asyncio.run(using(cluster.target, body))


def test_two_servers_share_one_etcd(members: Start) -> None:
    """What one API server writes, another reads at once and watches; both compare and swap the same key."""
    cluster = members(1)

    async def body(one: EtcdStore) -> None:
        async def with_two(two: EtcdStore) -> None:
            watch = await two.watch("/registry/", two.revision)
            made = await one.create("/registry/a", b"1")
            assert await two.get("/registry/a") == made
            assert [event.kv for event in await watch.batch()] == [made]
            late = await two.watch("/registry/", Revision(1))
            assert [event.kv for event in await late.batch()] == [made]
            await two.update(made.key, b"2", made.mod_revision)
            with pytest.raises(errors.Conflict):
                await one.delete(made.key, made.mod_revision)
            await one.compact(one.revision)
            with pytest.raises(errors.Expired):
                await one.watch("/registry/", made.mod_revision)
            # The other one still knows what was compacted, and tells all of it.
            late = await two.watch("/registry/", made.mod_revision)
            assert [event.kv for event in await late.batch()] == [await one.get(made.key)]

        await using(cluster.target, with_two)

    asyncio.run(using(cluster.target, body))


def test_reads_at_one_time_ask_etcd_once_and_see_every_write(members: Start) -> None:
    """A hundred reads share a question, who says how old the state may be asks none; what another server has just
    written is read at once."""
    cluster = members(1)

    async def body(one: EtcdStore) -> None:
        async def with_two(two: EtcdStore) -> None:
            asked: list[str] = []
            real = two._etcd.write

            async def counting(path: str, body: gateway.Message) -> gateway.Message:
                asked.append(path)
                return await real(path, body)

            two._etcd.write = counting  # type: ignore[method-assign]
            kv = await one.create("/registry/a", b"0")
            found = await asyncio.gather(*(two.get("/registry/a") for _ in range(100)))
            assert found == [kv] * 100
            assert len(asked) == 1
            assert await two.get("/registry/a", not_older_than=kv.mod_revision) == kv
            assert (await two.list("/registry/", not_older_than=RECENT)).items == [kv]
            for number in range(20):
                own = await two.create(f"/registry/own/{number}", b"")
                assert await two.get(own.key, not_older_than=RECENT) == own
                assert own in (await two.list("/registry/own/", not_older_than=RECENT)).items
            assert asked[1:] == ["lease/grant", *["kv/txn"] * 20]
            for number in range(100):
                kv = await one.update(kv.key, str(number).encode(), kv.mod_revision)
                assert await two.get(kv.key) == kv
                page = await two.list("/registry/a")
                assert (page.items, page.revision) == ([kv], kv.mod_revision)

        await using(cluster.target, with_two)

    asyncio.run(using(cluster.target, body))


def test_keys_read_naturally_with_etcdctl(members: Start, tmp_path: Path) -> None:
    """etcdctl get --prefix /registry/ shows keys and JSON as they are, and nothing of ours besides."""
    if shutil.which("etcdctl") is None:
        pytest.skip("no etcdctl on this machine: apt-get install etcd-client")
    cluster = members(1)

    async def body(store: EtcdStore) -> None:
        made = await store.create("/registry/pods/default/web", b'{"kind":"Pod"}')
        await store.create("/registry/pods/default/gone", b"{}")
        gone = await store.get("/registry/pods/default/gone")
        assert gone is not None
        assert (await store.delete(gone.key, gone.mod_revision)).value == b"{}"
        watch = await store.watch("/registry/", made.mod_revision)
        assert [(await anext(watch)).type for _ in "ab"] == [EventType.PUT, EventType.DELETE]

    asyncio.run(using(cluster.target, body))
    out = tmp_path / "out"
    argv = ["etcdctl", "--endpoints", cluster.target.endpoints[0], "get", "--prefix", "/registry/"]
    actions = [(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_CREAT | os.O_WRONLY, 0o600)]
    pid = os.posix_spawnp("etcdctl", argv, {**os.environ, "ETCDCTL_API": "3"}, file_actions=actions)
    assert os.waitpid(pid, 0)[1] == 0
    assert out.read_text() == '/registry/pods/default/web\n{"kind":"Pod"}\n'


def test_members_and_store_know_each_other_by_certificate(
    members: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS the store writes and watches; without its client certificate it gets in nowhere."""
    cluster = members(1, **issue(tmp_path))

    async def body(store: EtcdStore) -> None:
        watch = await store.watch("/registry/", store.revision)
        made = await store.create("/registry/a", b"1")
        assert [event.kv for event in await watch.batch()] == [made]

    asyncio.run(using(cluster.target, body))
    monkeypatch.setattr(gateway, "BOUND_SECONDS", 0.5)
    with pytest.raises(errors.Unavailable):
        asyncio.run(using(replace(cluster.target, cert=None, key=None), body))
    with pytest.raises(errors.NetpodError, match="cannot read"):
        asyncio.run(using(replace(cluster.target, ca=tmp_path / "none.pem"), body))
