"""The power goes while the store writes: what the page cache held and nobody had asked to be on disk may be gone.

A program that uses the store runs under strace, which tells each write and each fsync in order. From that any moment is
made again as a disk may have it then: what was written before a file's last fsync, and of the sectors written since any
choice. The store opens each of these and has all that it had acknowledged by then, whole.
"""

import asyncio
import hashlib
import os
import random
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netpod.store.sqlite import SqliteStore
from tests.support.cluster import call

SECTOR = 512
MOMENTS = 120
CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,unlink"
WRITER = """
import asyncio, os, random, sys
from hashlib import sha256
from pathlib import Path
from netpod.store.sqlite import SqliteStore

def say(*words):
    os.write(1, " ".join(words).encode())

async def write(store, number):
    chance = random.Random(number)
    for turn in range(40):
        key, known = f"/registry/x/{number}-{turn}", None
        for step in ("create", "update", "delete")[: chance.choice((1, 2, 3))]:
            value = chance.randbytes(chance.randrange(100, 6000)).hex().encode()
            digest = "-" if step == "delete" else sha256(value).hexdigest()
            say("begin", key, digest)
            if step == "create":
                known = await store.create(key, value)
            elif step == "update":
                known = await store.update(key, value, known.mod_revision)
            else:
                await store.delete(key, known.mod_revision)
            say("end", key, digest)
        if number == 0 and turn % 20 == 10:
            await store.compact(store.revision)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, number) for number in range(8)))

asyncio.run(main())
os._exit(0)
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("strace"), reason="no strace here; vagrant/provision.sh --test installs it"
)


@dataclass
class Disk:
    """One file: what is safely there, and what was written since, in order."""

    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """Put what was written where it cannot be lost."""
        for at, data in self.since:
            _put(self.safe, at, data)
        self.since.clear()

    def after_power_loss(self, chance: random.Random) -> bytes:
        """Some of what was written since, torn at sectors."""
        found = bytearray(self.safe)
        share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        pieces = [
            (at + start, None if data is None else data[start : start + SECTOR])
            for at, data in self.since
            for start in (range(0, len(data), SECTOR) if data is not None else (0,))
        ]
        for at, piece in pieces:
            if chance.random() < share:
                _put(found, at, piece)
        return bytes(found)


def _put(content: bytearray, at: int, data: bytes | None) -> None:
    """Write at a place, or cut off behind it."""
    if data is None:
        del content[at:]
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


@dataclass
class Past:
    """The disk at one moment, and what the program had been told by then."""

    files: dict[str, Disk] = field(default_factory=dict)
    certain: dict[str, str] = field(default_factory=dict)
    open: dict[str, set[str]] = field(default_factory=dict)
    acknowledged: int = 0
    gone: set[str] = field(default_factory=set)

    def tell(self, words: str) -> None:
        """Note what the program said: a write that begins, or one that was acknowledged."""
        what, key, digest = words.split()
        if what == "begin":
            self.open.setdefault(key, {self.certain.get(key, "-")}).add(digest)
        else:
            self.certain[key] = digest
            self.open.pop(key, None)
            self.acknowledged += 1

    def sync(self, file: str) -> None:
        """An fsync of any file makes the folder's changes before it durable too, as journaling file systems do."""
        self.files.setdefault(file, Disk()).sync()
        for gone in self.gone:
            del self.files[gone]
        self.gone.clear()

    def after_power_loss(self, chance: random.Random, folder: Path) -> bool:
        """Lay the files into a folder as a disk may have them; return whether anything was at stake."""
        for file, disk in self.files.items():
            if file not in self.gone or chance.random() < 0.5:
                (folder / Path(file).name).write_bytes(disk.after_power_loss(chance))
        return bool(self.gone) or any(disk.since for disk in self.files.values())

    def check(self, found: dict[str, str]) -> None:
        """Compare with what the store has."""
        for key in {*found, *self.certain, *self.open}:
            allowed = self.open.get(key) or {self.certain.get(key, "-")}
            assert found.get(key, "-") in allowed, f"{key} is not what was acknowledged"


_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_PARTS = re.compile(
    r'(\d+)<((?:\\x[0-9a-f]{2})*)>(?:\(deleted\))?(?:, (?:"((?:\\x[0-9a-f]{2})*)", (\d+)(?:, (\d+))?|(\d+)))?'
)


def happened(trace: Path) -> Iterator[tuple[str, str, bytes, int]]:
    """Name, file, bytes and offset (or length) of each call, in the order in which they ended."""
    begun: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            pid, _, text = line.rstrip("\n").partition(" ")
            text = text.strip()
            if text.endswith("<unfinished ...>"):
                begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
                continue
            if text.startswith("<... "):
                text = begun.pop(pid) + text.partition("resumed>")[2]
            call_ = _CALL.fullmatch(text)
            if call_ is None or call_[3].startswith("-"):
                continue
            if call_[1] == "unlink":
                yield "unlink", _bytes(call_[2].strip('"')).decode(), b"", 0
            parts = _PARTS.match(call_[2])
            if parts is None:
                continue
            data = _bytes(parts[3] or "")
            yield call_[1], _bytes(parts[2]).decode(), data, int(parts[5] or parts[6] or 0)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def moments(trace: Path, folder: Path) -> Iterator[Past]:
    """The past after each call that changed a disk or told something; one object that goes on changing."""
    past = Past()
    for name, file, data, at in happened(trace):
        if name == "write":
            if data.startswith((b"begin ", b"end ")):
                past.tell(data.decode())
        elif Path(file).parent != folder or file.endswith("-shm"):
            continue
        elif name == "pwrite64":
            past.files.setdefault(file, Disk()).since.append((at, data))
        elif name == "ftruncate":
            past.files.setdefault(file, Disk()).since.append((at, None))
        elif name == "unlink":
            past.gone.add(file)
        else:
            past.sync(file)
        yield past


def test_nothing_acknowledged_is_lost_when_the_power_goes(tmp_path: Path) -> None:
    """At a hundred moments, of which a third right after an acknowledgement, with pages lost, torn and reordered."""
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    program = (sys.executable, "-c", WRITER, str(home / "store.db"))
    strace = (
        "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "1000000",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(trace),
    )
    result = call(*strace, *program, timeout=120, env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert result.code == 0, result.stderr[-2000:]
    total = sum(1 for _ in moments(trace, home))
    chance = random.Random(8)
    chosen = set(chance.sample(range(total), MOMENTS))
    checked = lost = acknowledged = 0
    for number, past in enumerate(moments(trace, home)):
        fresh = past.acknowledged > acknowledged and chance.random() < MOMENTS / 3 / 1000
        acknowledged = past.acknowledged
        if number not in chosen and not fresh:
            continue
        there = tmp_path / f"disk{number}"
        there.mkdir()
        lost += past.after_power_loss(chance, there)
        past.check(asyncio.run(_read(there / "store.db")))
        shutil.rmtree(there)
        checked += 1
    assert acknowledged > 300
    assert checked >= MOMENTS
    # Else nothing was at stake.
    assert lost > MOMENTS / 4


async def _read(path: Path) -> dict[str, str]:
    """Digest by key, of what the store has; it refuses to open a file that is not whole."""
    store = await SqliteStore.open(path)
    try:
        page = await store.list("/registry/x/")
        return {kv.key: hashlib.sha256(kv.value).hexdigest() for kv in page.items}
    finally:
        await store.close()
