"""What a shim remembers on disk: one directory per sandbox and per container.

    STATE/sandboxes/ID/config.json   written before the sandbox exists
    STATE/sandboxes/ID/pid           pause process: number and start time
    STATE/containers/ID/config.json  written before the fork
    STATE/containers/ID/pid          written by the container itself, before anything else
    STATE/containers/ID/ready        made by the container once it listens
    STATE/containers/ID/exit.json    how it ended
    STATE/containers/ID/log, err     FIFOs: what it writes to stdout and stderr
    STATE/containers/ID/wake         FIFO: that it got ready

A container that an OCI runtime starts has more of them, see launch.py.

A start time beside the number keeps a later process of the same number from being taken for ours.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson

from netpod.api import codec
from netpod.api.meta import Struct
from netpod.errors import BadRequest, KernelError
from netpod.linux import process

T = TypeVar("T", bound=Struct)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is told from a later one of the same number by its start time in clock ticks."""

    pid: int
    started: int


def sandboxes(state: Path) -> Path:
    """Directory of the sandboxes' directories."""
    return state / "sandboxes"


def containers(state: Path) -> Path:
    """Directory of the containers' directories."""
    return state / "containers"


def entries(directory: Path) -> list[Path]:
    """Directories of all sandboxes or containers, sorted."""
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def write(path: Path, data: bytes) -> None:
    """Replace a file's content at once: a reader sees the old or the new, never half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.rename(path)


def write_struct(path: Path, value: Struct) -> None:
    """Replace a file by the JSON of a value."""
    write(path, orjson.dumps(codec.encode(value)))


def read_struct(path: Path, cls: type[T]) -> T | None:
    """Read a value back; None when it was never written whole."""
    try:
        return codec.decode(cls, orjson.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError, BadRequest):
        return None


def write_process(directory: Path, pid: int, name: str = "pid") -> Process:
    """Remember a process in its directory."""
    found = Process(pid, process.start_time(pid))
    write(directory / name, f"{found.pid} {found.started}\n".encode())
    return found


def read_process(directory: Path, name: str = "pid") -> Process | None:
    """Return the process remembered in a directory; None when none was."""
    try:
        pid, started = (directory / name).read_text().split()
        return Process(int(pid), int(started))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def forget(directory: Path) -> None:
    """Remove a directory of records; absent is fine."""
    shutil.rmtree(directory, ignore_errors=True)


def drop_files(directory: Path) -> None:
    """Remove what an ended container wrote and what it was made from; absent is fine."""
    for name in ("upper", "work", "bundle", "runtime"):
        shutil.rmtree(directory / name, ignore_errors=True)


def open_pidfd(known: Process) -> int | None:
    """File descriptor of a remembered process; None when it has ended."""
    try:
        fd = process.pidfd_open(known.pid)
    except KernelError:
        return None
    # The number may belong to somebody else by now; the descriptor is of whoever has it, so check after opening.
    if process.alive(known.pid, known.started):
        return fd
    os.close(fd)
    return None
