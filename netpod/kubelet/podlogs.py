"""Container logs, read from the files that the shim writes in CRI format.

Source: kubelet's design "kuberuntime logs": TIME STREAM TAG TEXT, tag P for a line that goes on in the next entry;
k8s.io/cri-client pkg/logs/logs.go.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from netpod.api import meta

POLL_SECONDS = 0.05
PIECE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What of a log is wanted; upstream's PodLogOptions.

    Attributes:
        tail: Only so many entries of what is there; None is all.
        since: Only what was written at or after that moment.
        limit: Bytes after which it ends; None is all.
    """

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `time` is RFC 3339 with nanoseconds, `text` has its newline unless the line goes on."""

    time: bytes
    stream: bytes
    text: bytes


def parse(line: bytes) -> Entry | None:
    """Return the entry of a line without its end; None when it is none."""
    parts = line.split(b" ", 3)
    if len(parts) != 4:
        return None
    time, stream, tag, text = parts
    return Entry(time, stream, text if tag == b"P" else text + b"\n")


class Reader:
    """A log file that may not be there yet, may grow, and may be set aside for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._rest = b""

    def tail(self, count: int) -> None:
        """Skip all but the last lines of what is there."""
        if self._open() and self._file is not None:
            os.lseek(self._file, _tail_start(self._file, count), os.SEEK_SET)

    def read(self) -> list[bytes]:
        """Return the whole lines that are new, at most about PIECE bytes; nothing new is an empty list."""
        if self._file is None and not self._open():
            return []
        assert self._file is not None, "opened above"
        data = os.read(self._file, PIECE)
        if not data and self._set_aside():
            return self.read()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        return True

    def _set_aside(self) -> bool:
        """Whether this file was renamed, is read to its end and has a successor, which is open now."""
        assert self._file is not None, "only an open file can be set aside"
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        if now.st_ino == os.fstat(self._file).st_ino:
            return False
        # It may have grown between our last read and its renaming.
        if os.fstat(self._file).st_size > os.lseek(self._file, 0, os.SEEK_CUR):
            return True
        self.close()
        return self._open()


def _tail_start(fd: int, count: int) -> int:
    """Offset of the last `count` lines."""
    end = os.fstat(fd).st_size
    place, seen = end, 0
    while place > 0:
        size = min(PIECE, place)
        place -= size
        piece = os.pread(fd, size, place)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            # The newline before the last `count` lines; the file's last one ends the last line.
            if seen == count:
                return place + at + 1
            seen += 1
    return 0 if count else end


async def stream(
    path: Path, options: LogOptions, running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield a log as the client gets it.

    Args:
        path: Of the file; one that is not there is an empty log.
        options: What of it.
        running: Whether more may be written; a log that is followed ends with the container.
    """
    reader = Reader(path)
    left = options.limit
    try:
        if options.tail is not None:
            reader.tail(options.tail)
        while True:
            alive = options.follow and running()
            lines = reader.read()
            out = b"".join(_text(line, options) for line in lines)
            if left is not None:
                out = out[:left]
                left -= len(out)
            if out:
                yield out
            if left == 0 or (not lines and not alive):
                return
            if not lines:
                await asyncio.sleep(POLL_SECONDS)
    finally:
        reader.close()


def _text(line: bytes, options: LogOptions) -> bytes:
    entry = parse(line)
    if entry is None or (options.since is not None and _before(entry.time, options.since)):
        return b""
    return entry.time + b" " + entry.text if options.timestamps else entry.text


def _before(time: bytes, moment: datetime) -> bool:
    try:
        return meta.parse_timestamp(time.decode()) < moment
    except ValueError:
        return False
