"""Run a host program inside a pod's namespaces, as `kubectl exec` does inside a container."""

import fcntl
import os
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from netpod.shim import child, mounts, privileges

NOT_FOUND = 127
NOT_EXECUTABLE = 126
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    pause: int,
    etc: Path | None,
    streams: Sequence[int],
    tty: bool,
) -> int:
    """Fork, enter the sandbox, execute `argv`; return the pid. The program dies with the shim.

    Args:
        argv: Program, found by PATH, and its arguments.
        env: Its whole environment.
        pause: Pidfd of the sandbox's pause process.
        etc: Directory with the pod's resolv.conf and hosts.
        streams: File descriptors that become its stdin, stdout and stderr.
        tty: They are a terminal made for it, which becomes its controlling terminal.
    """

    def body() -> int:
        child.enter(pause)
        child.standard_streams(*streams[:3])
        mounts.prepare(etc)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        privileges.drop()
        try:
            os.execvpe(argv[0], list(argv), {"PATH": PATH, **env})
        except FileNotFoundError:
            return _refuse(argv[0], "not found", NOT_FOUND)
        except OSError as error:
            return _refuse(argv[0], (error.strerror or "failed").lower(), NOT_EXECUTABLE)

    return child.fork(body)


def _refuse(program: str, cause: str, code: int) -> int:
    sys.stderr.write(f"cannot run {program}: {cause}\n")
    return code
