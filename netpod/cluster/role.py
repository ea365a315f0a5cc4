"""Which processes a cluster consists of, and whether each is alive.

A process holds a POSIX record lock on its role's file for as long as it lives. The lock dies with the process and
is not inherited by its children, so the kernel answers "is it alive, and which pid is it?" without pid files that
lie; two processes can never hold one role.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netpod.cluster.config import ClusterConfig
from netpod.paths import Paths

# struct flock of Linux on 64-bit machines: type, whence, start, length, pid. Source: fcntl(2).
_FLOCK = struct.Struct("hhqqi4x")


@dataclass(frozen=True, slots=True)
class Role:
    """`kind` is controlplane, shim or node; `node` is "" for the control plane."""

    kind: str
    node: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.node}" if self.node else self.kind


SUPERVISOR = Role("supervisor")


def roles(config: ClusterConfig) -> Iterator[Role]:
    """Yield the roles of a cluster in the order they start."""
    yield Role("controlplane")
    for node in config.running:
        yield Role("shim", node.name)
        yield Role("node", node.name)


def _file(paths: Paths, role: Role) -> Path:
    return paths.pids / str(role)


def claim(paths: Paths, role: Role) -> bool:
    """Take a role for this process until it ends; False when another process has it.

    The descriptor stays open on purpose: closing any descriptor of the file would drop the lock.
    """
    paths.pids.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(_file(paths, role), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return True


def holder(paths: Paths, role: Role) -> int:
    """Return the pid of the process that has the role, or 0."""
    try:
        fd = os.open(_file(paths, role), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, question))
        return 0 if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(fd)
