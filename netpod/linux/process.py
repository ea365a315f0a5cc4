"""Run, spawn, signal and wait for programs: the only user of subprocess.

A program starts in a network namespace by being started from a thread that entered it, so no `ip netns exec` and no
code between fork and exec. A process is told from a later one with the same number by its start time.

`run` and `arun` reap their own child: a process that reaps any child (`waitpid(-1)`) must not use them meanwhile.
"""

import asyncio
import os
import select
import shutil
import signal
import subprocess  # noqa: TID251 - the one place for it
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import (
    EBUSY,
    ECHILD,
    EEXIST,
    EINVAL,
    ENOBUFS,
    ENOENT,
    ENOMEM,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
    ETIMEDOUT,
)

from netpod.errors import CommandFailed, KernelError, Unsupported
from netpod.linux import fds, pids
from netpod.linux import netns as namespaces

PACKAGES = {
    "catatonit": "catatonit",
    "conntrack": "conntrack",
    "crun": "crun",
    "curl": "curl",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "nft": "nftables",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "runc": "runc",
    "skopeo": "skopeo",
    "tc": "iproute2",
    "umoci": "umoci",
    "unshare": "util-linux",
}
"""Debian and Ubuntu package by program."""

_TOLD = (ENOENT, EEXIST, EBUSY, EPERM, EINVAL, EOPNOTSUPP, ENOMEM, ENOBUFS)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that exited with 0 wrote."""

    stdout: bytes
    stderr: bytes


def find(program: str) -> str:
    """Path of a program: by PATH, then in the directories of administrators.

    Raises:
        Unsupported: it is not installed; the message names the package that has it.
    """
    search = os.environ.get("PATH", "") + ":" + SBIN
    found = shutil.which(program, path=search)
    if found is None:
        name = os.path.basename(program)
        package = PACKAGES.get(name)
        hint = f"; apt-get install {package}" if package else ""
        raise Unsupported(f"cannot run {name}: it is not installed{hint}", errno=0)
    return found


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    netns: str = "",
    timeout: float = 30,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: The program and its arguments; no shell reads them.
        stdin: What it reads; None is /dev/null.
        netns: Network namespace it runs in; "" is this process's own.
        timeout: Seconds after which it is killed.
        env: Its whole environment; None is this process's.

    Raises:
        CommandFailed: it exited with another status than 0; errno is ETIMEDOUT when it was killed for its time.
        Unsupported: the program is not installed.
        KernelError: there is no such network namespace.
    """
    return _Running(argv, netns).complete(stdin, timeout, env)


async def arun(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    netns: str = "",
    timeout: float = 30,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """`run` for the event loop; when cancelled, the program is killed and reaped before this returns."""
    running = _Running(argv, netns)
    work = asyncio.get_running_loop().run_in_executor(None, running.complete, stdin, timeout, env)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()
        raise


class _Running:
    """One run of a program, which another thread may cancel at any moment."""

    def __init__(self, argv: Sequence[str], netns: str) -> None:
        self._argv = list(argv)
        self._netns = netns
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Kill the program, now or as soon as it has started."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def complete(
        self, stdin: bytes | None, timeout: float, env: Mapping[str, str] | None
    ) -> Completed:
        argv = [find(self._argv[0]), *self._argv[1:]]
        process = self._start(argv, stdin is not None, env)
        with process:
            with self._lock:
                self._process = process
                if self._cancelled:
                    process.kill()
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise CommandFailed(
                    self._argv,
                    -signal.SIGKILL,
                    f"killed: not done after {timeout:g} s",
                    errno=ETIMEDOUT,
                    netns=self._netns,
                ) from error
        if process.returncode != 0:
            text = stderr.decode(errors="replace")
            raise CommandFailed(
                self._argv, process.returncode, text, netns=self._netns, stdout=stdout
            )
        return Completed(stdout, stderr)

    def _start(
        self, argv: list[str], feeds: bool, env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
            )

        try:
            return namespaces.call_in(self._netns, start)
        except OSError as error:
            name = self._argv[0]
            raise KernelError(
                f"cannot start {name}", errno=error.errno or 0, netns=self._netns
            ) from error


def errno_in(text: str) -> int:
    """The error number a program's words stand for, or 0: for programs that give only text."""
    for number in _TOLD:
        if os.strerror(number) in text:
            return number
    return ENOENT if "No chain/target/match by that name" in text else 0


def spawn(
    argv: Sequence[str],
    *,
    netns: str = "",
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    session: bool = False,
) -> int:
    """Start a program and let it run; the caller waits for it (`os.waitpid`, `reap`) or leaves it to its reaper.

    Args:
        argv: The program and its arguments.
        netns: Network namespace it runs in; "" is this process's own.
        stdin: File descriptor; None is /dev/null.
        stdout: File descriptor; None is this process's.
        stderr: File descriptor; None is this process's.
        env: Its whole environment; None is this process's.
        pass_fds: Further file descriptors it gets under the same numbers (all above 2).
        session: Make it leader of its own session and process group.

    Returns:
        Its process id.

    Raises:
        Unsupported: the program is not installed.
        KernelError: it could not be started, or there is no such network namespace.
    """
    assert all(fd > 2 for fd in pass_fds), "0, 1 and 2 are stdin, stdout and stderr"
    program = find(argv[0])
    # Sources are moved above every target first: dup2 in order would overwrite a source that is itself 0, 1 or 2.
    with fds.moved_up([stdin, stdout, stderr]) as (source_in, source_out, source_err):
        actions: list[tuple[int, int, int] | tuple[int, int]] = []
        opens: list[tuple[int, int, str, int, int]] = []
        if source_in is None:
            opens.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        for source, target in ((source_in, 0), (source_out, 1), (source_err, 2)):
            if source is not None:
                actions.append((os.POSIX_SPAWN_DUP2, source, target))
        # dup2 of a descriptor onto itself clears close-on-exec in the child. Source: POSIX posix_spawn.
        actions.extend((os.POSIX_SPAWN_DUP2, fd, fd) for fd in pass_fds)
        # Python's own close on exec; what this process inherited itself does not.
        actions.extend((os.POSIX_SPAWN_CLOSE, fd) for fd in fds.inheritable() if fd not in pass_fds)

        def start() -> int:
            return os.posix_spawn(
                program,
                list(argv),
                dict(os.environ if env is None else env),
                file_actions=[*opens, *actions],
                setsid=session,
                setsigmask=[],
                # Python ignores these; a program expects their default.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT],
            )

        try:
            return namespaces.call_in(netns, start)
        except OSError as error:
            raise KernelError(
                f"cannot start {argv[0]}", errno=error.errno or 0, netns=netns
            ) from error


def pidfd_open(pid: int) -> int:
    """File descriptor of a process, readable when it has ended; the caller closes it.

    Raises:
        KernelError: ESRCH, no such process.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise KernelError(f"cannot open process {pid}", errno=error.errno or 0) from error


def send_signal(pidfd: int, number: int) -> bool:
    """Send a signal; False when the process had ended already.

    Raises:
        KernelError: EPERM, it is not ours to signal.
    """
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise KernelError(f"cannot send signal {number}", errno=error.errno or 0) from error
    return True


def signal_process(pid: int, started: int, number: int) -> bool:
    """Send a signal to this very process, never to a later one of the same number; False when it has ended."""
    try:
        fd = pidfd_open(pid)
    except KernelError as error:
        if error.errno == ESRCH:
            return False
        raise
    try:
        # The descriptor is of whoever has the number now, and keeps meaning it; so check after opening.
        return pids.alive(pid, started) and send_signal(fd, number)
    finally:
        os.close(fd)


def wait(pidfd: int, timeout: float) -> bool:
    """Block until the process has ended, at most `timeout` seconds; False when it still runs. Does not reap."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, timeout) * 1000))


async def await_exit(pidfd: int, timeout: float | None = None) -> bool:
    """Wait in the event loop until the process has ended; False when it still runs after `timeout` seconds."""
    if wait(pidfd, 0):
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    # Not asyncio.timeout: in a task that was cancelled, and cleans up, Python 3.11.2 lets its CancelledError out.
    timer = loop.call_later(timeout, ended.set) if timeout is not None else None
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        if timer is not None:
            timer.cancel()
    return wait(pidfd, 0)


def reap(pid: int) -> int | None:
    """Collect an ended child: its exit code, negative the signal that ended it; None while it runs.

    Raises:
        KernelError: ECHILD, it is not a child of this process, or was reaped before.
    """
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError as error:
        raise KernelError(f"cannot wait for process {pid}", errno=ECHILD) from error
    return os.waitstatus_to_exitcode(status) if done else None
