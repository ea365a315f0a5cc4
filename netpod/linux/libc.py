"""The few system calls that Python 3.11 does not offer: namespaces, mounts, news of files.

A failing call raises OSError with the kernel's errno; callers add what they were doing.
"""

import ctypes
import errno
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_PARENT = 0x00008000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_SHARED = 1 << 20
MNT_DETACH = 2

IN_MOVED_TO = 0x80

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
"""Number of clone(2) by machine; all of these take the flags first and do without the other arguments."""


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace `fd` refers to; `kind` is CLONE_NEW*. Source: setns(2)."""
    _checked(_libc.setns(fd, kind))


def unshare(kinds: int) -> None:
    """Give the calling thread new namespaces; `kinds` is an OR of CLONE_NEW*. Source: unshare(2)."""
    _checked(_libc.unshare(kinds))


def mount(source: Path | str, target: Path, flags: int) -> None:
    """Mount without a file system type: bind mounts and changes of propagation. Source: mount(2)."""
    _checked(_libc.mount(os.fsencode(source), os.fsencode(target), b"none", flags, None))


def umount(target: Path) -> None:
    """Unmount now, or as soon as nobody uses it any more. Source: umount2(2), MNT_DETACH."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH))


def prctl(option: int, value: int) -> None:
    """Set one property of the calling process or thread. Source: prctl(2)."""
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def inotify(directory: Path, mask: int) -> int:
    """Return a descriptor that is readable once what `mask` (IN_*) says happened in a directory. Source: inotify(7)."""
    fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    _checked(min(fd, 0))
    try:
        _checked(min(0, _libc.inotify_add_watch(fd, os.fsencode(directory), mask)))
    except OSError:
        os.close(fd)
        raise
    return fd


def can_fork_sibling() -> bool:
    """Whether `fork_sibling` knows this machine."""
    return os.uname().machine in _CLONE


def fork_sibling() -> int:
    """As os.fork, but the child is one of the caller's parent, which waits for it. For a process with one thread.

    Source: clone(2), CLONE_PARENT; CPython Modules/posixmodule.c, os_fork_impl.
    """
    # Through pythonapi the interpreter's lock is held over the call, as os.fork holds it.
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid: int = python.syscall(_CLONE[os.uname().machine], CLONE_PARENT, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return pid
