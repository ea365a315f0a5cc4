"""What programs in a pod see of the file system.

One that `exec` runs beside a built-in container: the machine's, read-only, with the pod's resolver files.
One that an OCI runtime starts: an overlay of the machine's, or of an image's.

Only ever called in a process with a mount namespace of its own whose propagation is private: nothing of it is
visible outside. Source: mount(2), mount_setattr(2), ip-netns(8) for /sys.
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from netpod.linux import libc
from netpod.paths import NETNS_DIR

MS_PRIVATE = 1 << 18
MS_NOSUID = 2
MS_NODEV = 4
_OWN_IN_CONTAINERS = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/run",
    "/var/lib/netpod",
)
_NO_FILES = frozenset({"autofs", "binfmt_misc", "cgroup", "cgroup2", "nsfs", "proc", "sysfs"})
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")
    )


def prepare(etc: Path | None) -> None:
    """Give the calling process its own view; `etc` holds the pod's resolv.conf and hosts."""
    own_namespace()
    _read_only()
    for name in ("resolv.conf", "hosts"):
        # A link is followed, and the place it points to may be missing; a program then sees none, as on the host.
        target = Path("/etc") / name
        if etc is not None and (etc / name).exists() and target.exists():
            libc.mount(etc / name, target, libc.MS_BIND)
    _mount_new("sysfs", "/sys")  # it shows the links of the network namespace it was mounted in
    _mount_new("tmpfs", "/tmp")


def own_namespace() -> None:
    """Give the calling process a mount namespace of its own; what it mounts is seen nowhere else."""
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("", Path("/"), libc.MS_REC | MS_PRIVATE)
    _let_go_of_namespaces()


def detach(target: Path) -> None:
    """Take a mount out of the calling process's view."""
    libc.umount(target)


def overlay(lower: Path, directory: Path, target: Path) -> None:
    """Mount `lower` so that what is written to it lands in `directory`/upper.

    Raises:
        OSError: the kernel has no overlayfs, or `directory` is on a file system that cannot be written over.
    """
    for name in ("upper", "work"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "upper").chmod(0o755)
    data = f"lowerdir={lower},upperdir={directory / 'upper'},workdir={directory / 'work'}"
    kind = b"overlay"
    if _libc.mount(kind, os.fsencode(target), kind, MS_NODEV, os.fsencode(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount overlay of {lower}: {os.strerror(number).lower()}")


def make_plain(folder: Path, names: Sequence[str]) -> None:
    """Replace links among these files by empty files to mount on, which a link could lead elsewhere."""
    # A folder that is a link itself leads out of the root file system, to the machine's own files.
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in names:
        if (folder / name).is_symlink():
            (folder / name).unlink()
            (folder / name).touch()


def submounts(mountinfo: str) -> list[str]:
    """Mount points below / that are the machine's files, sorted; `mountinfo` as /proc/self/mountinfo.

    An overlay of / shows none of them. Not among them: what containers have of their own, and what is ours.
    """
    found = set()
    for line in mountinfo.splitlines():
        fields = line.split()
        target = fields[4]
        kind = fields[fields.index("-") + 1]
        hidden = any(target == it or target.startswith(f"{it}/") for it in _OWN_IN_CONTAINERS)
        if target != "/" and kind not in _NO_FILES and not hidden and "\\" not in target:
            found.add(target)
    return sorted(found)


def _let_go_of_namespaces() -> None:
    """Drop our copies of the named network namespaces, else they outlive their pods as long as we run."""
    try:
        names = os.listdir(NETNS_DIR)
    except FileNotFoundError:
        return
    for name in names:
        try:
            libc.umount(NETNS_DIR / name)
        except OSError:
            continue


def _read_only() -> None:
    attributes = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        _MOUNT_SETATTR,
        _AT_FDCWD,
        b"/",
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "/")


def _mount_new(kind: str, target: str) -> None:
    """Mount a new file system; where that is forbidden (a user namespace) the host's, read-only, must do."""
    _libc.mount(kind.encode(), target.encode(), kind.encode(), MS_NOSUID | MS_NODEV, None)
