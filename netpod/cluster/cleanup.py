"""Remove everything of a cluster, whatever state a crash left it in.

Taking a cluster down is the same work as cleaning up after `kill -9` of everything, so it is the same code: it asks
the kernel what is there (processes by environment and network namespace, namespaces by name) and believes no file.
"""

import contextlib
import os
import select
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from netpod.cluster import attach, config
from netpod.errors import NetpodError
from netpod.linux import libc, netns, process
from netpod.paths import MARK, NETNS_DIR, Paths, is_cluster_name
from netpod.shim import cgroups

_KILL_SECONDS = 10.0
_EARLIER_MARK = "NETPOD_CLUSTER"
"""Mark of clusters that an earlier netpod started. Users' processes carry it too: it means ours on `_OURS` only."""
_OURS = {b"netpod.cluster.supervisor", b"netpod.shim.zygote"}


def clusters() -> list[str]:
    """Return the names of all clusters that have left anything in our folders, sorted."""
    found: set[str] = set()
    for root in (Path("/run/netpod"), Path("/var/lib/netpod")):
        with contextlib.suppress(FileNotFoundError):
            found |= {it.name for it in root.iterdir() if it.is_dir() and is_cluster_name(it.name)}
    return sorted(found)


def namespaces(name: str) -> list[str]:
    """Return the names of the cluster's network namespaces, not those of `name-something`."""
    others = [
        Paths(other).netns_prefix
        for other in clusters()
        if other != name and other.startswith(f"{name}-")
    ]
    return [
        item
        for item in netns.list_netns(Paths(name).netns_prefix)
        if not any(item.startswith(prefix) for prefix in others)
    ]


def remains(name: str) -> list[str]:
    """Return what there is of a cluster, one line each; empty when nothing is left."""
    paths = Paths(name)
    lines = [f"process {pid}" for pid in processes(name, namespaces(name))]
    lines += [f"link {attach.LINK}"] if attach.attached(paths) else []
    lines += [f"netns {item}" for item in namespaces(name)]
    lines += [f"folder {path}" for path in (paths.run, paths.state) if path.exists()]
    return lines


def cleanup(name: str) -> list[str]:
    """Remove all processes, namespaces and files of a cluster.

    Returns:
        What was removed, as `remains` lists it.

    Raises:
        UsageError: no cluster can have that name.
        NetpodError: something could not be removed; it says what.
    """
    config.check_name(name)
    paths = Paths(name)
    found = remains(name)
    # Without its configuration nothing of the cluster starts again while it is being killed.
    (paths.state / "config.json").unlink(missing_ok=True)
    halt(name)
    _remove(paths.state)
    return found


def halt(name: str) -> None:
    """End all processes of a cluster and remove its namespaces and what it keeps below /run; what is durable stays.

    Its configuration is gone before, or says that it shall not run: nothing starts again meanwhile.

    Raises:
        NetpodError: something could not be removed; it says what.
    """
    _kill_all(name)
    # The kernel would remove it with the namespace, but in its own time.
    attach.detach(Paths(name))
    for item in namespaces(name):
        netns.delete_netns(item)
    cgroups.remove_cluster(name)
    _remove(Paths(name).run)
    _leave_no_mount()


def processes(name: str, names: Iterable[str]) -> Iterator[int]:
    """Yield the pids that carry the cluster's mark or stand in one of its namespaces, but our own."""
    mark, earlier = f"{MARK}={name}".encode(), f"{_EARLIER_MARK}={name}".encode()
    inodes = set()
    for item in names:
        with contextlib.suppress(NetpodError):
            inodes.add(netns.inode(item))
    ours = {os.getpid(), os.getppid()}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) in ours:
            continue
        try:
            environ = Path(entry.path, "environ").read_bytes().split(b"\0")
            marked = mark in environ or (earlier in environ and _is_ours(Path(entry.path)))
            if marked or Path(entry.path, "ns/net").stat().st_ino in inodes:
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def _is_ours(entry: Path) -> bool:
    return not _OURS.isdisjoint((entry / "cmdline").read_bytes().split(b"\0"))


def _kill_all(name: str) -> None:
    """Kill until a look at /proc finds nobody; a process may fork while it is being looked for."""
    deadline = time.monotonic() + _KILL_SECONDS
    while True:
        pids = list(processes(name, namespaces(name)))
        if not pids:
            return
        if time.monotonic() > deadline:
            listed = ", ".join(map(str, pids))
            raise NetpodError(f"cannot clean up cluster {name}: processes {listed} do not end")
        fds = []
        for pid in pids:
            with contextlib.suppress(OSError):
                fds.append(os.pidfd_open(pid))
        for fd in fds:
            process.send_signal(fd, signal.SIGKILL)
        wait_all(fds, deadline)


def wait_all(fds: list[int], deadline: float) -> None:
    """Wait until these processes have ended, and close their descriptors."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = set(fds)
    while left and time.monotonic() < deadline:
        for fd, _ in poll.poll(100):
            poll.unregister(fd)
            left.discard(fd)
    for fd in fds:
        os.close(fd)


def _remove(path: Path) -> None:
    """Remove a cluster's folder, and the one it is in when that is empty now."""
    _remove_tree(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise NetpodError(f"cannot remove {path}: {error.strerror}") from error


def _leave_no_mount() -> None:
    """Undo the mount of an empty /run/netns; `ip netns add` makes it again when somebody needs it.

    Whether it is one only umount can tell: a directory mounted on itself is of its parent's file system.
    """
    try:
        if any(NETNS_DIR.iterdir()):
            return
        libc.umount(NETNS_DIR)
        NETNS_DIR.rmdir()
    except OSError:
        return
