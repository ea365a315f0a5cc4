"""The shim's end of zygote.py: starts it when it is first of use, and has it fork.

Until it is there, and whenever it fails, the shim forks stand-ins itself.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from netpod.api.runtime import App
from netpod.errors import KernelError
from netpod.linux import libc
from netpod.shim import child, ends, zygote
from netpod.shim.container import Place

log = logging.getLogger(__name__)
ANSWER_SECONDS = 10.0


class StandIns:
    """Forks stand-ins by a zygote.

    Args:
        app: The stand-in.
        env: The zygote's whole environment, and what /proc shows of the containers' one.
        watch: Calls a function whenever a descriptor is readable.
        unwatch: Stops that.
    """

    def __init__(
        self,
        app: App,
        env: Mapping[str, str],
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._name = zygote.name_of(app) if libc.can_fork_sibling() else ""
        self._env = env
        self._watch = watch
        self._unwatch = unwatch
        self._sock: socket.socket | None = None
        self._ready = False
        self.pid = 0

    def start(
        self, facts: Mapping[str, Any], place: Place, known: Callable[[], Set[int]]
    ) -> int | None:
        """Fork a container and return its pid; None when there is no zygote, or it is no more.

        Args:
            facts: Fields of the container's AppContext, all but `ready`; JSON.
            place: Where.
            known: Returns the processes that others have started; what a failing zygote forked is none, and killed.

        Raises:
            KernelError: the kernel refused the fork.
        """
        if self._sock is None and self._name:
            self._spawn()
        if self._sock is None or not self._ready:
            return None
        message = json.dumps({"directory": place.directory, "facts": facts}).encode()
        fds = [place.pause, *place.outputs, place.wake]
        try:
            socket.send_fds(self._sock, [zygote.HEADER.pack(len(message))], fds)
            self._sock.sendall(message)
            answer = self._sock.recv(zygote.ANSWER.size, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        if len(answer) < zygote.ANSWER.size:
            log.warning("the process that forks stand-ins is gone")
            self.close()
            _kill_strays(known())
            Path(place.directory, "ready").unlink(missing_ok=True)
            return None
        pid, number = zygote.ANSWER.unpack(answer)
        if not pid:
            raise KernelError(f"cannot start container: {os.strerror(number)}", errno=number)
        return int(pid)

    def close(self) -> None:
        """End the zygote; the next stand-in gets another."""
        if self._sock is None:
            return
        self._unwatch(self._sock.fileno())
        self._sock.close()
        self._sock, self._ready = None, False
        # Reaped somewhere else if not here: whoever sweeps up children takes this one, too.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.pid = 0

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(ANSWER_SECONDS)
        path = os.pathsep.join(os.path.abspath(entry or ".") for entry in sys.path)
        argv = [sys.executable, "-S", "-P", "-m", zygote.__name__, self._name]
        # One arena: stand-ins have few threads, and each arena is memory of its own.
        env = {**self._env, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"}

        def become() -> int:
            os.dup2(theirs.fileno(), zygote.CHANNEL, inheritable=True)
            os.closerange(zygote.CHANNEL + 1, 1 << 20)
            os.execve(sys.executable, argv, env)

        # Forked, not spawned: from its first moment on it dies with the shim.
        self.pid = child.fork(become)
        theirs.close()
        self._sock = ours
        self._watch(ours.fileno(), self._heard)

    def _heard(self) -> None:
        """It is ready, or gone."""
        assert self._sock is not None, "watched while it is there"
        try:
            said = self._sock.recv(1)
        except OSError:
            said = b""
        if said == zygote.READY:
            self._ready = True
            return
        if not self._ready:
            self._name = ""  # the next one would fail as well
        log.warning("the process that forks stand-ins ended")
        self.close()


def _kill_strays(known: Set[int]) -> None:
    """Kill what was forked by a zygote that could not tell of it: its children are ours."""
    for pid in ends.children() - known:
        try:
            stray = zygote.__name__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if stray:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
