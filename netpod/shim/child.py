"""The child's side of a fork: what every container and every exec'd program goes through first.

The order matters. Until the child has written its record the kernel kills it together with the shim, so that at no
moment there is a process nobody knows of.
"""

import contextlib
import fcntl
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from netpod.linux import libc
from netpod.shim import pidfile

KINDS = libc.CLONE_NEWNET | libc.CLONE_NEWIPC | libc.CLONE_NEWUTS
"""The namespaces that all containers of a pod share."""
_RESET = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def fork(body: Callable[[], int], *, sibling: bool = False) -> int:
    """Fork; the child runs `body` and exits with what it returns. Returns the child's pid.

    Args:
        body: What the child does.
        sibling: The child is one of this process's own parent, the shim.
    """
    parent = os.getppid() if sibling else os.getpid()
    pid = libc.fork_sibling() if sibling else os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        gc.freeze()  # a collection would write to, and so copy, every page shared with the shim
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        # In another PID namespace the parent is out of sight.
        if os.getppid() in (parent, 0):
            code = body()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing of the shim's own may run in the child
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)


@contextlib.contextmanager
def children_in(pidfd: int) -> Iterator[None]:
    """What is forked meanwhile starts in the PID namespace of a process. Source: pid_namespaces(7), setns."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(pidfd, libc.CLONE_NEWPID)
        try:
            yield
        finally:
            libc.setns(own, libc.CLONE_NEWPID)
    finally:
        os.close(own)


def own(directory: Path | str, name: str = "pid") -> None:
    """Write this process's record; from now on it outlives the shim."""
    # Not getpid: /proc has the number the shim knows, also from within another PID namespace.
    pidfile.write(directory, int(os.readlink("/proc/self")), name)
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)


def enter(pidfd: int, *, files: bool = False) -> None:
    """Move into the pod's namespaces that the process behind a pidfd is in, and leave the shim's session.

    Args:
        pidfd: Of the pause process, or of a container.
        files: Enter the mount namespace too, its root and all.

    Source: setns(2), a pidfd with several CLONE_NEW* flags moves into all or none.
    """
    libc.setns(pidfd, KINDS | (libc.CLONE_NEWNS if files else 0))
    os.setsid()
    os.chdir("/")
    reset_signals()


def reset_signals() -> None:
    """Give every signal its default meaning."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)


def standard_streams(stdin: int | None, stdout: int, stderr: int, *keep: int) -> list[int]:
    """Make these the standard streams and close every other file descriptor but `keep`.

    Returns:
        The numbers under which `keep` live on: 3, 4, ...
    """
    if stdin is None:
        stdin = os.open(os.devnull, os.O_RDONLY)
    # Away from the low numbers first: a target may be another one's source.
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (stdin, stdout, stderr, *keep)]
    for number, fd in enumerate(sources):
        os.dup2(fd, number, inheritable=number < 3)
    os.closerange(len(sources), 1 << 20)
    if sys.__stdout__ is None or sys.stdout is not sys.__stdout__ or sys.stdout.errors != "replace":
        sys.stdin = open(0, closefd=False)
        sys.stdout = open(1, "w", buffering=1, closefd=False, errors="replace")
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="replace")
    if "logging" in sys.modules:  # the shim's own file is closed now
        logging = sys.modules["logging"]
        logging.getLogger().handlers = [logging.StreamHandler(sys.stderr)]
    return list(range(3, len(sources)))


def environment(env: Mapping[str, str]) -> None:
    """Make this the whole environment."""
    os.environ.clear()
    os.environ.update(env)
