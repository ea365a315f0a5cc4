"""What a program that `exec` runs sees of the file system: the host's, read-only, with the pod's resolver files.

Only ever called in a process with a mount namespace of its own whose propagation is private: nothing of it is
visible outside. Source: mount(2), mount_setattr(2), ip-netns(8) for /sys.
"""

import ctypes
import os
from pathlib import Path

from netpod.linux import libc
from netpod.paths import NETNS_DIR

MS_PRIVATE = 1 << 18
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
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("", Path("/"), libc.MS_REC | MS_PRIVATE)
    _let_go_of_namespaces()
    _read_only()
    for name in ("resolv.conf", "hosts"):
        # A link is followed, and the place it points to may be missing; a program then sees none, as on the host.
        target = Path("/etc") / name
        if etc is not None and (etc / name).exists() and target.exists():
            libc.mount(etc / name, target, libc.MS_BIND)
    _mount_new("sysfs", "/sys")  # it shows the links of the network namespace it was mounted in
    _mount_new("tmpfs", "/tmp")


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
    _libc.mount(kind.encode(), target.encode(), kind.encode(), 0, None)
