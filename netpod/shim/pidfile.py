"""The number of a process of ours, remembered in a file: `NUMBER START`.

A start time beside the number keeps a later process of the same number from being taken for ours.

Apart from records.py, because the process that forks stand-ins imports as little as it can.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from netpod.linux import pids


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is told from a later one of the same number by its start time in clock ticks."""

    pid: int
    started: int


def write(directory: Path | str, pid: int, name: str = "pid") -> Process:
    """Remember a process in its directory."""
    found = Process(pid, pids.start_time(pid))
    replace_file(f"{directory}/{name}", f"{found.pid} {found.started}\n".encode())
    return found


def read(directory: Path, name: str = "pid") -> Process | None:
    """Return the process remembered in a directory; None when none was."""
    try:
        pid, started = (directory / name).read_text().split()
        return Process(int(pid), int(started))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def open_pidfd(known: Process) -> int | None:
    """File descriptor of a remembered process; None when it has ended."""
    try:
        fd = os.pidfd_open(known.pid)
    except OSError:
        return None
    # The number may belong to somebody else by now; the descriptor is of whoever has it, so check after opening.
    if pids.alive(known.pid, known.started):
        return fd
    os.close(fd)
    return None


def replace_file(path: Path | str, data: bytes) -> None:
    """Replace a file's content at once: a reader sees the old or the new, never half of it."""
    folder, _, name = os.fspath(path).rpartition("/")
    beside = f"{folder}/.{name}.{os.getpid()}"
    # By system calls alone: each line of Python that a stand-in runs is memory it no longer shares.
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)
    os.rename(beside, path)
