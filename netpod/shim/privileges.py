"""What a container may do: the OCI default capabilities, and no more ever after.

Source: capabilities(7), prctl(2); containerd oci/spec.go defaultUnixCaps.
"""

import ctypes
import errno
import os
from collections.abc import Set

from netpod.linux import libc

PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# Numbers of include/uapi/linux/capability.h.
DEFAULT = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}
_VERSION_3 = 0x20080522
_HIGHEST = 63


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_capset = ctypes.CDLL(None, use_errno=True).capset


_bounded: Set[str] | None = None


def bound(also: Set[str] = frozenset()) -> None:
    """See to it that no exec, by this process or its children, gives more than the default capabilities.

    What the process has it keeps.

    Args:
        also: Names of default ones to do without.

    Raises:
        OSError: EPERM, the process may not.
    """
    global _bounded
    kept = _bits(also)
    for number in range(_HIGHEST + 1):
        if kept >> number & 1:
            continue
        try:
            libc.prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:  # beyond what this kernel knows
                break
            raise
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
    _bounded = also


def drop(also: Set[str] = frozenset()) -> None:
    """Keep only the default capabilities, in every set, and gain none by any exec. For a process with one thread.

    Args:
        also: Names of default ones to do without.

    Raises:
        OSError: EPERM, the process has not even these.
    """
    if also != _bounded:
        bound(also)
    kept = _bits(also)
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)(
        _Data(kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0), _Data(kept >> 32, kept >> 32, 0)
    )
    if _capset(ctypes.byref(header), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bits(without: Set[str]) -> int:
    return sum(1 << number for name, number in DEFAULT.items() if name not in without)
