"""Limits of containers, in cgroup v1, v2 or the hybrid of both.

    <controller>/netpod/CLUSTER/POD/CONTAINER     one directory per hierarchy that has the controller

`pod` is CLUSTER/UID in all of this file.

Every hierarchy is asked for what it can do: a controller is v2's when it is enabled there, else v1's when it is mounted
there. What neither has is not limited: the pod runs all the same, and `missing` says what the limits lack.

Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst of the kernel; runc libcontainer/cgroups for the conversion.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from netpod.api.cri import Resources

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000
"""Microseconds over which `Resources.cpu_quota` counts."""
CONTROLLERS = ("cpu", "memory")
_OURS = "netpod"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where a controller is: the directory that ours is made in."""

    base: Path
    unified: bool


def find(controller: str) -> Hierarchy | None:
    """Return where a controller can be used; None when it cannot be."""
    for base in (ROOT, ROOT / "unified"):
        with contextlib.suppress(OSError):
            if controller in (base / "cgroup.controllers").read_text().split():
                return Hierarchy(base, unified=True)
    base = ROOT / controller
    if os.path.ismount(base) and os.access(base, os.W_OK):
        return Hierarchy(base, unified=False)
    return None


def missing(wanted: Resources | None) -> list[str]:
    """Controllers that the limits need and that cannot be used here."""
    needed = _needed(wanted)
    return [name for name in needed if find(name) is None]


def add(pod: str, container: str, pid: int, wanted: Resources | None) -> None:
    """Put a process into its container's cgroups; without limits, or where there are none, into none."""
    for controller in _needed(wanted):
        found = find(controller)
        assert wanted is not None, "something needs a controller"
        if found is None:
            continue
        try:
            directory = _directory(found, controller, pod, container)
            for name, value in _settings(controller, wanted, unified=found.unified):
                (directory / name).write_text(value)
            (directory / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            if error.errno not in (
                errno.EACCES,
                errno.EPERM,
                errno.EROFS,
                errno.EBUSY,
                errno.ENOENT,
            ):
                raise


def oom_killed(pod: str, container: str) -> bool:
    """Whether the kernel killed one of the container's processes for lack of memory."""
    found = find("memory")
    if found is None:
        return False
    name = "memory.events" if found.unified else "memory.oom_control"
    with contextlib.suppress(OSError):
        return _counter(found.base / _OURS / pod / container / name, "oom_kill") > 0
    return False


def memory(pod: str, container: str) -> int | None:
    """Bytes that a container's cgroup is charged for, without file pages it would give back; None without a cgroup."""
    found = find("memory")
    if found is None:
        return None
    directory = found.base / _OURS / pod / container
    name, inactive = ("memory.current", "inactive_file")
    if not found.unified:
        name, inactive = ("memory.usage_in_bytes", "total_inactive_file")
    with contextlib.suppress(OSError, ValueError):
        used = int((directory / name).read_text())
        return max(0, used - _counter(directory / "memory.stat", inactive))
    return None


def cpu(pod: str, container: str) -> int | None:
    """Nanoseconds of processor time of a container's cgroup; None without one. Version 1 of cpu does not count any."""
    found = find("cpu")
    if found is None or not found.unified:
        return None
    with contextlib.suppress(OSError):
        return _counter(found.base / _OURS / pod / container / "cpu.stat", "usage_usec") * 1000
    return None


def remove(pod: str, container: str = "") -> None:
    """Remove the cgroups of a container, or with "" of its pod; absent is fine, and so is one still in use."""
    for controller in CONTROLLERS:
        found = find(controller)
        if found is not None:
            with contextlib.suppress(OSError):
                (found.base / _OURS / pod / container).rmdir()


def remove_cluster(cluster: str) -> None:
    """Remove all cgroups of a cluster, whose processes have ended; absent is fine."""
    for controller in CONTROLLERS:
        found = find(controller)
        if found is None:
            continue
        ours = found.base / _OURS
        for folder, _, _ in os.walk(ours / cluster, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        with contextlib.suppress(OSError):
            ours.rmdir()  # stays while other clusters have some


def _counter(path: Path, name: str) -> int:
    """A line `NAME NUMBER` of a file; 0 without such a line."""
    for line in path.read_text().splitlines():
        key, _, count = line.partition(" ")
        if key == name:
            return int(count)
    return 0


def _needed(wanted: Resources | None) -> list[str]:
    if wanted is None:
        return []
    cpu = ["cpu"] if wanted.cpu_shares or wanted.cpu_quota else []
    return [*cpu, *(["memory"] if wanted.memory else [])]


def _directory(found: Hierarchy, controller: str, pod: str, container: str) -> Path:
    directory = found.base / _OURS / pod / container
    directory.mkdir(parents=True, exist_ok=True)
    if found.unified:
        for above in reversed(directory.parents):
            if not above.is_relative_to(found.base):
                continue
            (above / "cgroup.subtree_control").write_text(f"+{controller}")
    return directory


def _settings(controller: str, wanted: Resources, *, unified: bool) -> list[tuple[str, str]]:
    if controller == "memory":
        return [("memory.max" if unified else "memory.limit_in_bytes", str(wanted.memory))]
    settings = []
    if wanted.cpu_shares:
        # 2..262144 shares are 1..10000 of weight. Source: KEP-2254.
        weight = 1 + (wanted.cpu_shares - 2) * 9999 // 262142
        settings.append(
            ("cpu.weight", str(weight)) if unified else ("cpu.shares", str(wanted.cpu_shares))
        )
    if wanted.cpu_quota and unified:
        settings.append(("cpu.max", f"{wanted.cpu_quota} {PERIOD}"))
    elif wanted.cpu_quota:
        settings.append(("cpu.cfs_period_us", str(PERIOD)))
        settings.append(("cpu.cfs_quota_us", str(wanted.cpu_quota)))
    return settings
