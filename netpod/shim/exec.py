"""Run a program inside a pod, as `kubectl exec` does: in a container's own namespaces and files, or beside a built-in
one in the sandbox's, with the machine's files read-only.
"""

import contextlib
import fcntl
import os
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netpod.api.cri import NO_SUCH_EXEC, Program
from netpod.shim import child, mounts, privileges

NOT_FOUND = 127
NOT_EXECUTABLE = 126
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a program runs.

    Attributes:
        pidfd: Of the process whose namespaces are entered: a container's, or the sandbox's pause process.
        program: The container's, when an OCI runtime started it; it has files of its own.
        etc: Else, the directory with the pod's resolv.conf and hosts.
        other_pids: Its PID namespace is another one than ours.
    """

    pidfd: int
    program: Program | None = None
    etc: Path | None = None
    other_pids: bool = False


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    place: Place,
    streams: Sequence[int],
    tty: bool,
) -> int:
    """Fork, enter the pod, execute `argv`; return the pid. The program dies with the shim.

    Args:
        argv: Program, found by PATH, and its arguments.
        env: Its whole environment.
        place: Where it runs.
        streams: File descriptors that become its stdin, stdout and stderr.
        tty: They are a terminal made for it, which becomes its controlling terminal.
    """

    def body() -> int:
        child.enter(place.pidfd, files=place.program is not None)
        child.standard_streams(*streams[:3])
        if place.program is None:
            mounts.prepare(place.etc)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        drop = place.program.drop if place.program is not None else ()
        # Not even what the default allows: here no filter keeps device nodes from being made.
        privileges.drop({*drop, "CAP_MKNOD"})
        try:
            if place.program is not None:
                _become(place.program)
            os.execvpe(argv[0], list(argv), {"PATH": PATH, **env})
        except FileNotFoundError:
            missing = f"stat {argv[0]}: no such file or directory"
            cause = missing if "/" in argv[0] else "executable file not found in $PATH"
            return _refuse(argv[0], cause, NOT_FOUND)
        except OSError as error:
            return _refuse(argv[0], (error.strerror or "failed").lower(), NOT_EXECUTABLE)

    if not place.other_pids:
        return child.fork(body)
    with child.children_in(place.pidfd):
        return child.fork(body)


def _become(program: Program) -> None:
    """Take the container's working directory and user."""
    with contextlib.suppress(FileNotFoundError):
        os.chdir(program.working_dir or "/")
    os.setgroups(program.groups)
    os.setgid(program.gid)
    os.setuid(program.uid)


def _refuse(program: str, cause: str, code: int) -> int:
    sys.stderr.write(f'{NO_SUCH_EXEC}exec: "{program}": {cause}\n')
    return code
