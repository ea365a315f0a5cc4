"""kill -9 of the API server, again and again, under load: nothing acknowledged is lost, nothing is half there.

Each kill hits a process of its own, forked from this one, so two hundred of them cost seconds, not minutes.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.store.sqlite import SqliteStore
from tests.unit.apiserver.support import CONFIGMAPS

KILLS = 200
WRITERS = 8
KILLS_PER_STORE = 25
LONGEST_SECONDS = 0.12
"""From the moment that the server is forked, so that starts and recoveries are hit too; each fourth time from its first
answer, so that writes are hit also where a start takes longer."""


def serve(listening: socket.socket, folder: Path) -> int:
    """Fork an API server; return its pid. It serves until it is killed."""
    pid = os.fork()
    if pid:
        return pid
    try:

        async def main() -> None:
            store = await SqliteStore.open(folder / "store.db")
            listener = Listener(socket=listening, user=TRUSTED)
            # Compaction is killed half-way too, and must not bring back what was deleted.
            config = ApiServerConfig(compaction_seconds=0.02)
            await ApiServer(store, config).serve([listener])

        asyncio.run(main())
    finally:
        os._exit(1)


def content(chance: random.Random) -> dict[str, str]:
    """Data that says by itself whether it is whole."""
    payload = chance.randbytes(chance.randrange(100, 3000)).hex()
    return {"payload": payload, "digest": hashlib.sha256(payload.encode()).hexdigest()}


@dataclass
class Record:
    """What the server has acknowledged: digest by name, None once deleted; and what it may have done besides."""

    certain: dict[str, str | None] = field(default_factory=dict)
    open: dict[str, set[str | None]] = field(default_factory=dict)
    acknowledged: int = 0

    def begin(self, name: str, digest: str | None) -> None:
        """Note a write on its way: it may happen or not."""
        self.open.setdefault(name, {self.certain.get(name)}).add(digest)

    def end(self, name: str, digest: str | None) -> None:
        """Note a write that was acknowledged."""
        self.certain[name] = digest
        self.open.pop(name, None)
        self.acknowledged += 1

    def check(self, items: list[Any]) -> None:
        """Compare with what the server has now, and take that for certain."""
        found: dict[str, str | None] = {}
        for item in items:
            data = item["data"]
            digest = hashlib.sha256(data["payload"].encode()).hexdigest()
            assert digest == data["digest"], f"{item['metadata']['name']} is half written"
            found[item["metadata"]["name"]] = digest
        for name, digest in self.certain.items():
            allowed = self.open.get(name, {digest})
            assert found.get(name) in allowed, f"an acknowledged write of {name} is lost"
        for name, allowed in self.open.items():
            assert found.get(name) in allowed, f"{name} is something nobody wrote"
        assert found.keys() <= self.certain.keys() | self.open.keys()
        self.certain = {name: found.get(name) for name in self.certain.keys() | self.open.keys()}
        self.open.clear()


async def write(
    session: aiohttp.ClientSession, record: Record, prefix: str, chance: random.Random
) -> None:
    """Create, replace and delete until the server is gone."""
    number = 0
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while True:
            name, number = f"{prefix}-{number}", number + 1
            url = f"http://netpod{CONFIGMAPS}"
            for step in ("POST", "PUT", "DELETE")[: chance.choice((1, 2, 3))]:
                data = content(chance) if step != "DELETE" else None
                digest = data["digest"] if data else None
                record.begin(name, digest)
                where = url if step == "POST" else f"{url}/{name}"
                body = {"metadata": {"name": name}, "data": data} if data else None
                async with session.request(step, where, json=body) as answer:
                    text = await answer.read()
                    assert answer.status in (200, 201), text
                record.end(name, digest)


async def live(
    path: Path, record: Record, pid: int, seconds: float, name: str, *, late: bool
) -> None:
    """What is there first; then write until the server is killed."""
    chance = random.Random(name)
    loop = asyncio.get_running_loop()
    connector = aiohttp.UnixConnector(str(path))
    if not late:
        loop.call_later(seconds, os.kill, pid, signal.SIGKILL)
    async with aiohttp.ClientSession(connector=connector) as session:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with session.get(f"http://netpod{CONFIGMAPS}") as answer:
                found = await answer.json()
            if late:
                loop.call_later(seconds, os.kill, pid, signal.SIGKILL)
            record.check(found["items"])
            await asyncio.gather(
                *(write(session, record, f"{name}-{i}", chance) for i in range(WRITERS))
            )


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Two hundred kills at random moments under eight writers; every start finds what was acknowledged, whole."""
    chance = random.Random(20)
    acknowledged = 0
    for batch in range(KILLS // KILLS_PER_STORE):
        folder = tmp_path / str(batch)
        folder.mkdir()
        record = Record()
        path = folder / "sock"
        for number in range(KILLS_PER_STORE + 1):
            listening = socket.socket(socket.AF_UNIX)
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            listening.listen(64)
            pid = serve(listening, folder)
            listening.close()
            try:
                last = number == KILLS_PER_STORE
                if last:
                    asyncio.run(_look(path, record))
                    os.kill(pid, signal.SIGKILL)
                else:
                    seconds = chance.uniform(0, LONGEST_SECONDS)
                    late = number % 4 == 3
                    asyncio.run(live(path, record, pid, seconds, f"w{number}", late=late))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        acknowledged += record.acknowledged
    assert acknowledged > KILLS // 2


async def _look(path: Path, record: Record) -> None:
    """Check once more, with as much time as it takes."""
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get(f"http://netpod{CONFIGMAPS}") as answer:
            found = await answer.json()
        record.check(found["items"])
