"""A container's output, from its FIFO into a log file in CRI format.

The container holds the FIFO open for reading and writing, so it never meets a broken pipe, whoever dies; what it
writes while there is no shim waits in the FIFO for the next one. Each stream has a FIFO of its own.

    2026-01-01T00:00:00.000000000Z stdout F a whole line
    2026-01-01T00:00:00.000000000Z stderr P the first part of a line longer than 16 KiB

Source: kubelet's CRI logging, kubernetes/design-proposals-archive node/kubelet-cri-logging.md.
"""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

PART = 16384
"""Longest piece of a line in bytes."""
ROTATE_AT = 10 << 20
"""Size in bytes at which a log file is set aside as FILE.1. Source: kubelet's containerLogMaxSize."""
FILES = 5
"""Files of one log; the oldest goes. Source: kubelet's containerLogMaxFiles."""
_CHUNK = 65536


class File:
    """A container's log file; both of its streams append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._size = 0

    def append(self, data: bytes | bytearray) -> None:
        """Write at the end; when the disk is full the lines are lost: that must stop no container."""
        try:
            self._append(data)
        except OSError:
            return

    def close(self) -> None:
        """Close it; the next `append` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, data: bytes | bytearray) -> None:
        if self._file is None:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._file).st_size
        self._size += os.write(self._file, data)
        if self._size >= ROTATE_AT:
            self._rotate()
            self.close()

    def _rotate(self) -> None:
        """FILE.3 becomes FILE.4, and so on; whoever reads tells the parts by their inodes."""
        parts = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, FILES))]
        for older, newer in zip(reversed(parts), reversed(parts[:-1]), strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older)


class Log:
    """One stream of a container: reads a FIFO, appends to a file. Owns `fifo`, which must be non-blocking."""

    def __init__(self, fifo: int, file: File, stream: str = "stdout") -> None:
        self.fifo = fifo
        self._file = file
        self._stream = f" {stream} ".encode()
        self._partial = bytearray()

    def pump(self, limit: int = 4) -> bool:
        """Move what is there into the file, at most `limit` chunks of 64 KiB.

        Returns:
            False once all writers are gone and nothing is left.
        """
        for _ in range(limit):
            try:
                chunk = os.read(self.fifo, _CHUNK)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self._take(chunk)
        return True

    def finish(self) -> None:
        """Write what is left, also a last line without its end, and close the FIFO."""
        self.pump(limit=1024)
        if self._partial:
            self._write(b"P", [bytes(self._partial)])
            self._partial.clear()
        os.close(self.fifo)

    def _take(self, chunk: bytes) -> None:
        self._partial += chunk
        *lines, rest = self._partial.split(b"\n")
        if lines:
            self._write(b"F", [bytes(line) for line in lines])
        self._partial = rest
        if len(rest) >= PART:
            self._write(b"P", [bytes(rest)])
            self._partial = bytearray()

    def _write(self, tag: bytes, lines: list[bytes]) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode() + self._stream
        out = bytearray()
        for line in lines:
            while len(line) > PART:
                out += stamp + b"P " + line[:PART] + b"\n"
                line = line[PART:]
            out += stamp + tag + b" " + line + b"\n"
        self._file.append(out)


def tail(path: Path, *, lines: int = 80, size: int = 2048) -> str:
    """Return the last lines of a log file, at most `size` bytes of them, without time and stream.

    Source: kubelet's FallbackToLogsOnError, pkg/kubelet/kuberuntime readLastStringFromContainerLogs.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * size))
            found = file.read().splitlines(keepends=True)[-lines:]
    except OSError:
        return ""
    parts = (line.split(b" ", 3) for line in found if line.count(b" ") >= 3)
    text = b"".join(it[3].removesuffix(b"\n") if it[2] == b"P" else it[3] for it in parts)
    return text[-size:].decode(errors="replace")


def make_fifo(path: Path) -> tuple[int, int]:
    """Make a FIFO and return both ends: the reader's, non-blocking, and one a container may keep (O_RDWR)."""
    if not path.exists():
        os.mkfifo(path, 0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return reader, os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        os.close(reader)
        raise


def open_reader(path: Path) -> int | None:
    """Open a FIFO that an earlier shim made, for reading without waiting; None when it is gone."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
