"""Network namespaces by name: created, pinned below /run/netns where `ip netns` sees them, entered by a thread.

A named network namespace is a bind mount of its nsfs file; it lives as long as the mount, a process or a socket
holds it. Source: ip-netns(8), iproute2 ip/ipnetns.c.
"""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from netpod.errors import KernelError
from netpod.linux import libc
from netpod.paths import NETNS_DIR

P = ParamSpec("P")
T = TypeVar("T")


def path(name: str) -> Path:
    """Where the namespace is pinned; "" is the calling thread's own.

    Raises:
        KernelError: EINVAL or ENAMETOOLONG, the name cannot be a file name.
    """
    if not name:
        return Path("/proc/thread-self/ns/net")
    if len(os.fsencode(name)) > 255:
        raise KernelError(f"cannot use netns {name[:40]}...", errno=errno.ENAMETOOLONG)
    if "/" in name or "\0" in name or name in (".", ".."):
        raise KernelError(f"cannot use netns {name!r}", errno=errno.EINVAL)
    return NETNS_DIR / name


def create(name: str) -> None:
    """Make a new, empty network namespace.

    Raises:
        KernelError: EEXIST, the name is taken; EPERM, not root.
    """

    def make() -> None:
        libc.unshare(libc.CLONE_NEWNET)
        _pin(Path("/proc/thread-self/ns/net"), name)

    _prepare_directory()
    try:
        if _may_move():
            _there_and_back(make)
        else:
            _in_thread(make)
    except OSError as error:
        raise KernelError(f"cannot create netns {name}", errno=error.errno or 0) from error


def ensure_netns(name: str) -> None:
    """Make a network namespace of that name unless there is one; a file left by a crash is replaced."""
    if exists(name):
        return
    delete_netns(name)
    create(name)


def bind(pid: int, name: str) -> None:
    """Pin the network namespace of process `pid` under a name.

    Raises:
        KernelError: ENOENT, no such process; EEXIST, the name is taken.
    """
    _bind(Path(f"/proc/{pid}/ns/net"), name)


def bind_fd(fd: int, name: str) -> None:
    """Pin the network namespace that `fd` refers to under a name."""
    _bind(Path(f"/proc/thread-self/fd/{fd}"), name)


def delete_netns(name: str) -> None:
    """Take the name away; the namespace dies with its last process and socket. Absent: nothing to do."""
    target = path(name)
    assert name, "the own network namespace has no name to delete"
    try:
        while True:
            libc.umount(target)
    except OSError as error:
        # EINVAL: not (any more) a mount point.
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise KernelError(f"cannot delete netns {name}", errno=error.errno or 0) from error
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise KernelError(f"cannot delete netns {name}", errno=error.errno or 0) from error


def list_netns(prefix: str = "") -> list[str]:
    """Names below /run/netns that begin with `prefix`, sorted; also what a crash left half-made."""
    try:
        return sorted(name for name in os.listdir(NETNS_DIR) if name.startswith(prefix))
    except FileNotFoundError:
        return []


def exists(name: str) -> bool:
    """Whether the name is pinned to a network namespace (a plain file left by a crash is not)."""
    try:
        return path(name).stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def open_fd(name: str) -> int:
    """File descriptor of the namespace; the caller closes it.

    Raises:
        KernelError: ENOENT, there is no such namespace.
    """
    try:
        return os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"cannot open netns {name}", errno=error.errno or 0) from error


def inode(name: str) -> int:
    """Number by which the kernel tells namespaces apart, as in `lsns` and traces."""
    try:
        return path(name).stat().st_ino
    except OSError as error:
        raise KernelError(f"cannot open netns {name}", errno=error.errno or 0) from error


def call_in(name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` inside a network namespace and hand back what it returns or raises.

    Sockets, files and child processes it opens stay there. A worker thread goes there and back; the main thread, and
    one that runs an event loop, never move: for them a thread is made, which ends inside. With name "" the function
    is simply called.

    Raises:
        KernelError: ENOENT, there is no such namespace.
    """
    if not name:
        return function(*args, **kwargs)
    fd = open_fd(name)

    def inside() -> T:
        try:
            libc.setns(fd, libc.CLONE_NEWNET)
        except OSError as error:
            raise KernelError(f"cannot enter netns {name}", errno=error.errno or 0) from error
        return function(*args, **kwargs)

    try:
        return _there_and_back(inside) if _may_move() else _in_thread(inside)
    finally:
        os.close(fd)


def socket_in(name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Open a socket in a network namespace; usable from any thread, it stays there."""
    try:
        return call_in(name, socket.socket, family, kind, protocol)
    except OSError as error:
        raise KernelError("cannot open socket", errno=error.errno or 0, netns=name) from error


def _may_move() -> bool:
    """Whether this is a worker thread: others would miss it, were the main or the loop's thread elsewhere."""
    if threading.current_thread() is threading.main_thread():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def _there_and_back(function: Callable[[], T]) -> T:
    """Call a function that moves this thread, then return to where it was."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return function()
    finally:
        # Cannot fail for a namespace this thread was in; if it did, going on elsewhere would be far worse.
        libc.setns(home, libc.CLONE_NEWNET)
        os.close(home)


def _in_thread(function: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        try:
            raise failure[0]
        finally:
            failure.clear()  # else frame and traceback hold each other
    return result[0]


def _bind(source: Path, name: str) -> None:
    _prepare_directory()
    try:
        _pin(source, name)
    except OSError as error:
        raise KernelError(f"cannot bind netns {name}", errno=error.errno or 0) from error


def _pin(source: Path, name: str) -> None:
    target = path(name)
    os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        libc.mount(source, target, libc.MS_BIND)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _prepare_directory() -> None:
    """Make /run/netns a shared mount, as `ip netns add` does.

    Other mount namespaces then see namespaces come and, above all, go: a private copy of the mount would keep a
    deleted namespace alive.
    """
    try:
        NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            libc.mount("", NETNS_DIR, libc.MS_SHARED | libc.MS_REC)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: not a mount point yet
                raise
            libc.mount(NETNS_DIR, NETNS_DIR, libc.MS_BIND | libc.MS_REC)
            libc.mount("", NETNS_DIR, libc.MS_SHARED | libc.MS_REC)
    except OSError as error:
        raise KernelError(f"cannot prepare {NETNS_DIR}", errno=error.errno or 0) from error
