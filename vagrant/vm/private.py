"""Mount and process namespaces in which a guest lives: it cannot write this machine's files, and dies with us."""

import contextlib
import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442  # the same on every architecture

_libc = ctypes.CDLL(None, use_errno=True)


def enter(job: Path) -> None:
    """Move this process into a mount namespace with a fresh /run, and its later children into a process namespace.

    /run and /dev/shm (where User Mode Linux keeps the guest's memory) are empty there, with the folder `job`;
    everything else is read-only. All of it is gone when the last process in it is.
    """
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID), "unshare")
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    _check(
        _libc.syscall(
            _SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes)
        ),
        "make the files read-only",
    )
    _mount("tmpfs", "/run", "mode=755")
    _mount("tmpfs", "/dev/shm", "mode=1777,size=90%")
    job.mkdir()


def fork(body: Callable[[], NoReturn], keep: Iterable[int]) -> int:
    """Run `body` in a process below the first of the process namespace; return the first's number.

    When this process dies, in whatever way, the kernel ends all of them.
    """
    alive, held = os.pipe()
    first = os.fork()
    if first:
        os.close(alive)
        _HELD.append(held)
        return first
    os.close(held)
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.set_blocking(alive, False)
    with contextlib.suppress(BlockingIOError):
        os.read(alive, 1)
        os._exit(125)  # it died before the kernel was asked to tell
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # A process of its own: to the first of a namespace, signals that it sends itself do nothing.
    if os.fork() == 0:
        try:
            for descriptor in keep:
                os.set_inheritable(descriptor, True)
            body()
        except OSError as error:
            print(f"vm.sh: cannot start the guest: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(125)
    for descriptor in keep:
        os.close(descriptor)
    for descriptor in (1, 2):
        os.close(descriptor)  # else our reader waits for an end that does not come
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def end(first: int) -> None:
    """End everything in the process namespace, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


def _mount(kind: str, where: str, options: str, flags: int = 0) -> None:
    result = _libc.mount(
        kind.encode(), where.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {where}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        sys.exit(f"vm.sh: cannot {what}: {os.strerror(number)}")


_HELD: list[int] = []
"""Ends of pipes that tell a child whether we are there; open as long as we live."""
