"""A shim as a process, and a client that asks it."""

import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netpod.api import codec, cri
from netpod.api.cri import Container, ContainerConfig, Op, SandboxConfig, State
from netpod.api.pod import ContainerPort
from netpod.api.runtime import App
from netpod.apps import echo
from netpod.paths import MARK, Paths
from netpod.shim import cgroups, server

CLUSTER = "st"
PATHS = Paths(CLUSTER)
SOCKET = PATHS.shim_socket("n")
SECONDS = 5.0


@dataclass
class Lab:
    """One node's shim."""

    apps: dict[str, App] = field(default_factory=dict)
    pid: int = 0
    sock: socket.socket | None = None
    reports: list[dict[str, Any]] = field(default_factory=list)

    def start(self, before: Callable[[], None] = lambda: None) -> None:
        """Start a shim; `before` runs first in its process."""
        config = server.ShimConfig(
            cluster=CLUSTER,
            node="n",
            socket=SOCKET,
            state=PATHS.node("n"),
            stand_in=echo.main,
            apps=self.apps,
        )
        SOCKET.unlink(missing_ok=True)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                before()
                server.run(config)
                code = 0
            except BaseException:  # noqa: BLE001 - nothing of pytest may run in the child
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def connect(self) -> None:
        """Connect as soon as it listens."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        until(lambda: self._connected())

    def _connected(self) -> bool:
        assert self.sock is not None
        if self.pid:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            assert ended is None, "the shim is gone"
        try:
            self.sock.connect(str(SOCKET))
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End the shim as a crash would."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def restart(self) -> None:
        """Kill it and start the next one."""
        self.kill()
        self.start()
        self.connect()

    def call(self, op: Op, fds: Sequence[int] = (), **fields: Any) -> dict[str, Any]:
        """Ask and return the answer; reports are kept aside."""
        assert self.sock is not None
        frame = cri.pack({"op": op, "id": 1, **fields})
        if fds:
            socket.send_fds(self.sock, [frame], list(fds))
        else:
            self.sock.sendall(frame)
        buffer = bytearray()
        while True:
            data = self.sock.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            buffer += data
            answer = None
            for message in cri.unpack(buffer):
                if "id" in message:
                    answer = message
                else:
                    self.reports.append(message)
            if answer is not None:
                return answer

    def sandbox(self, name: str = "p") -> str:
        """Make a sandbox and return its id."""
        self.ok(Op.RUN_SANDBOX, config=codec.encode(sandbox_config(name)))
        return f"sandbox-{name}"

    def container(self, name: str = "c", sandbox: str = "sandbox-p", **more: Any) -> Container:
        """Start a container."""
        config = codec.encode(container_config(name, sandbox, **more))
        return codec.decode(Container, self.ok(Op.START_CONTAINER, config=config))

    def ok(self, op: Op, fds: Sequence[int] = (), **fields: Any) -> dict[str, Any]:
        """Ask and insist on success."""
        answer = self.call(op, fds, **fields)
        assert "ok" in answer, answer
        found = answer["ok"]
        assert isinstance(found, dict)
        return found

    def containers(self) -> dict[str, Container]:
        """All containers by id."""
        listed = self.ok(Op.LIST)["containers"]
        return {it.config.id: it for it in (codec.decode(Container, item) for item in listed)}

    def ended(self, name: str = "c") -> Container:
        """Wait for a container's end."""
        until(lambda: self.containers()[name].state == State.EXITED)
        return self.containers()[name]

    def ready(self, name: str = "c") -> Container:
        """Wait until a container is ready."""
        until(lambda: self.containers()[name].ready)
        return self.containers()[name]

    def log(self, name: str = "c") -> str:
        """Text of a container's log."""
        path = Path(container_config(name, "").log)
        return path.read_text() if path.exists() else ""

    def finish(self) -> None:
        """End everything; nothing may be left."""
        if self.pid:
            if self.sock is None:
                self.connect()
            self.ok(Op.SHUTDOWN)
            os.waitpid(self.pid, 0)
        self.pid = 0
        if self.sock is not None:
            self.sock.close()
        until(lambda: marked() == [])
        assert list((PATHS.node("n") / "sandboxes").iterdir()) == []
        assert list((PATHS.node("n") / "containers").iterdir()) == []
        shutil.rmtree(PATHS.run)
        cgroups.remove_cluster(CLUSTER)


def netns_name(name: str = "p") -> str:
    """Name of a sandbox's network namespace."""
    return PATHS.netns_pod("n", "d", name)


def sandbox_config(name: str) -> SandboxConfig:
    """A sandbox."""
    return SandboxConfig(
        id=f"sandbox-{name}",
        namespace="d",
        name=name,
        uid=f"uid-{name}",
        hostname=name,
        netns=netns_name(name),
    )


def container_config(name: str, sandbox: str, **more: Any) -> ContainerConfig:
    """A container that listens on port 80."""
    fields: dict[str, Any] = {
        "ports": (ContainerPort(container_port=80, protocol="TCP"),),
        "log": str(PATHS.pod_logs("d", "p", "u") / name / "0.log"),
        **more,
    }
    return ContainerConfig(id=name, sandbox_id=sandbox, name=name, image="x", **fields)


def marked() -> list[str]:
    """Processes that carry the cluster's mark in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"{MARK}={CLUSTER}".encode() in file.read().split(b"\0"):
                    found.append(entry)
        except OSError:
            continue
    return found


def until(fact: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait for a fact with a deadline."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came to be"
        select.select([], [], [], 0.002)
