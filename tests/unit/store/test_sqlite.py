"""What only the SQLite store promises: bad files are refused, a killed writer loses nothing acknowledged."""

import asyncio
import os
import random
import select
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from netpod import errors
from netpod.store.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from pathlib import Path
from netpod.store.sqlite import SqliteStore

async def write(store, name):
    for i in range(1_000_000):
        made = await store.create(f"/crash/{name}/{i}", b"v" * 300)
        newer = await store.update(made.key, b"w" * 300, made.mod_revision)
        print(newer.key, newer.mod_revision, flush=True)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    names = [f"{store.revision}-{i}" for i in range(4)]
    await asyncio.gather(*(write(store, name) for name in names))

asyncio.run(main())
"""


def spawn_writer(path: Path, seconds: float) -> list[tuple[str, int]]:
    """Run a writer process, kill it after `seconds` of work, return the writes it saw acknowledged."""
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", WRITER, str(path)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_CLOSE, read)],
    )
    os.close(write)
    text = b""
    try:
        while text.count(b"\n") < 3:
            text += os.read(read, 65536) or pytest.fail("the writer ended by itself")
        select.select([], [], [], seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    while chunk := os.read(read, 65536):
        text += chunk
    os.close(read)
    complete = text.decode().rpartition("\n")[0].splitlines()
    return [(key, int(revision)) for key, revision in map(str.split, complete)]


def test_a_killed_writer_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """After SIGKILL at ten random moments every acknowledged write is there, whole, at its revision."""
    chance = random.Random(7)
    path = tmp_path / "store.db"
    acknowledged: dict[str, int] = {}

    async def check() -> None:
        store = await SqliteStore.open(path)
        for key, revision in acknowledged.items():
            kv = await store.get(key)
            assert kv is not None, f"{key} is lost"
            assert (kv.mod_revision, kv.value) == (revision, b"w" * 300)
        await store.close()

    for _ in range(10):
        acknowledged.update(spawn_writer(path, chance.uniform(0.0, 0.15)))
        asyncio.run(check())
    assert len(acknowledged) > 30


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store written by a later netpod is left alone, with a sentence that says what to do."""
    path = tmp_path / "store.db"

    async def make() -> None:
        await (await SqliteStore.open(path)).close()

    asyncio.run(make())
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(errors.NetpodError, match=r"newer netpod \(schema 99"):
        asyncio.run(make())


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    """What is not a store, or no longer one, is an error at start, not surprises later."""
    text = tmp_path / "text"
    text.write_bytes(b"this is not a database" * 100)
    foreign = tmp_path / "foreign"
    database = sqlite3.connect(foreign)
    database.execute("CREATE TABLE t (x)")
    database.close()
    for path in (text, foreign, tmp_path / "no" / "folder"):
        with pytest.raises(errors.NetpodError, match="cannot open store"):
            asyncio.run(SqliteStore.open(path))


def test_a_second_process_cannot_open_the_store(tmp_path: Path) -> None:
    """The file belongs to one server: a second one is refused while the first holds it."""

    async def body() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        other = sqlite3.connect(tmp_path / "store.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("SELECT count(*) FROM log").fetchone()
        other.close()
        with pytest.raises(errors.NetpodError, match="another process has it open"):
            await SqliteStore.open(tmp_path / "store.db")
        await store.close()

    asyncio.run(body())


def test_a_failed_commit_writes_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    """When the disk is full the write fails as Unavailable; with room again the next one succeeds."""
    path = tmp_path / "store.db"

    async def body() -> None:
        store = await SqliteStore.open(path)
        await store._ask(lambda log: log._db.execute("PRAGMA max_page_count = 20").fetchone())
        with pytest.raises(errors.Unavailable, match="full"):
            await store.create("/big", b"x" * 200_000)
        assert await store.get("/big") is None
        assert (await store.create("/small", b"x")).mod_revision == 2
        await store._ask(lambda log: log._db.execute("PRAGMA max_page_count = 1000").fetchone())
        assert (await store.create("/big", b"x" * 200_000)).mod_revision == 3
        await store.close()

    asyncio.run(body())


def test_a_compaction_that_fails_takes_no_later_write_with_it(tmp_path: Path) -> None:
    """Refused at its beginning or half-way through, it is undone: what is written afterwards is durable."""
    path = tmp_path / "store.db"
    halfway = (
        "CREATE TEMP TRIGGER no BEFORE DELETE ON log WHEN old.revision = 3 "
        "BEGIN SELECT RAISE(ABORT, 'no space'); END"
    )

    async def body() -> None:
        store = await SqliteStore.open(path)

        async def tell(statement: str) -> None:
            await store._ask(lambda log: log._db.execute(statement).fetchone())

        kv = await store.create("/a", b"1")
        for value in (b"2", b"3", b"4"):
            kv = await store.update("/a", value, kv.mod_revision)
        for broken, mended in (
            ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
            (halfway, "DROP TRIGGER no"),
        ):
            await tell(broken)
            with pytest.raises(errors.Unavailable, match="cannot write store"):
                await store.compact(store.revision)
            await tell(mended)
            kv = await store.update("/a", broken.encode(), kv.mod_revision)
        await store.close()
        store = await SqliteStore.open(path)
        assert await store.get("/a") == kv
        await store.compact(store.revision)
        assert await store._ask(
            lambda log: log._db.execute("SELECT count(*) FROM log").fetchone()
        ) == (1,)
        await store.close()

    asyncio.run(body())
