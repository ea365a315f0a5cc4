"""Client of the shim: what runs on this node, and requests to change it.

`Runtime` is the kubelet's: one connection, kept open, on which the shim reports every change. `exec_in_pod` blocks and
is anybody's; it needs no event loop.
"""

import asyncio
import fcntl
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from netpod.api import codec, cri
from netpod.api.cri import (
    Container,
    ContainerConfig,
    ContainerStats,
    ExecConfig,
    Op,
    Sandbox,
    SandboxConfig,
    State,
)
from netpod.errors import KernelError, NotFound, Unavailable

RECONNECT_SECONDS = 0.05
ANSWER_SECONDS = 30.0
OUTPUT_BYTES = 10 << 10
"""How much of what a probe's or hook's command wrote is kept. Source: kubelet's maxProbeMessageLength."""


class Runtime:
    """Sandboxes and containers of this node as the shim last reported them.

    Args:
        path: The shim's socket.
        changed: Told the uid of the pod whose sandbox or containers changed, or "" when the shim is back: then also
            pods that it knows nothing of have something to do.
    """

    def __init__(self, path: Path, changed: Callable[[str], None]) -> None:
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self._inside: dict[str, dict[str, None]] = {}
        """Ids of the sandboxes of a pod by its uid, and of the containers of a sandbox by its id."""
        self.connected = asyncio.Event()
        self._path = path
        self._changed = changed
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0

    async def run(self) -> None:
        """Stay connected forever; a shim that is gone comes back."""
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            try:
                await self._follow(reader)
            except (OSError, ValueError):
                pass
            finally:
                self.connected.clear()
                self._writer.close()
                self._writer = None
                self._fail_all()
            await asyncio.sleep(RECONNECT_SECONDS)

    def of_pod(self, uid: str) -> tuple[list[Sandbox], list[Container]]:
        """Return the pod's sandboxes and containers, oldest attempt first."""
        sandboxes = self._inside.get(uid, ())
        mine = [self.sandboxes[it] for it in sandboxes if it in self.sandboxes]
        inside = [seen for it in mine for seen in self._containers(it.config.id)]
        return (
            sorted(mine, key=lambda seen: seen.config.attempt),
            sorted(inside, key=lambda seen: seen.config.attempt),
        )

    async def run_sandbox(self, config: SandboxConfig) -> Sandbox:
        """Make a sandbox; repeating it with the same id returns the same one."""
        result = await self._call(Op.RUN_SANDBOX, config=codec.encode(config))
        return self._take_sandbox(codec.decode(Sandbox, result))

    async def stop_sandbox(self, sandbox: str) -> list[Container]:
        """Kill a sandbox and everything in it, forget both, and return how its containers ended. Absent is fine."""
        await self._call(Op.STOP_SANDBOX, sandbox=sandbox)
        gone = self.sandboxes.pop(sandbox, None)
        if gone is not None:
            others = self._inside.get(gone.config.uid, {})
            others.pop(sandbox, None)
            if not others:
                self._inside.pop(gone.config.uid, None)
        # The shim reports every end before it answers.
        inside = self._containers(sandbox)
        self._inside.pop(sandbox, None)
        return [self.containers.pop(seen.config.id) for seen in inside]

    async def start_container(self, config: ContainerConfig) -> Container:
        """Start a container; repeating it with the same id returns the same one."""
        result = await self._call(Op.START_CONTAINER, config=codec.encode(config))
        seen = codec.decode(Container, result)
        # A report may have overtaken the answer; it knows more.
        return self.containers.get(seen.config.id) or self._take_container(seen)

    async def signal(self, container: str, number: int) -> None:
        """Signal a container; one that has ended is fine."""
        await self._call(Op.SIGNAL, container=container, signal=number)

    async def remove_container(self, container: str) -> None:
        """Forget a container that has ended."""
        await self._call(Op.REMOVE_CONTAINER, container=container)
        gone = self.containers.pop(container, None)
        if gone is not None:
            self._inside.get(gone.config.sandbox_id, {}).pop(container, None)

    async def stats(self) -> dict[str, ContainerStats]:
        """What the running containers have used, by id; the shim's own stands under ""."""
        result = await self._call(Op.STATS)
        # A row each, not an object: this is asked for all containers, for ever.
        return {
            id_: ContainerStats(
                id=id_, cpu=cpu, memory=memory, resident=resident, processes=processes
            )
            for id_, cpu, memory, resident, processes in result["containers"]
        }

    async def exec_quietly(
        self, container: Container, argv: Sequence[str], seconds: float
    ) -> tuple[int, str]:
        """Run a program inside a container; return its exit code and the first 10 KiB it wrote.

        Raises:
            TimeoutError: it was not done in time, and was killed.
        """
        config = ExecConfig(
            container_id=container.config.id,
            sandbox_id=container.config.sandbox_id,
            argv=tuple(argv),
            env=container.config.env,
        )
        return await asyncio.get_running_loop().run_in_executor(
            None, _exec_quietly, self._path, config, seconds
        )

    async def _call(self, op: Op, **fields: Any) -> dict[str, Any]:
        writer = self._writer
        if writer is None:
            raise Unavailable(f"cannot ask shim {self._path}: it is not running")
        self._next += 1
        number = self._next
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            writer.write(cri.pack({"op": op, "id": number, **fields}))
            async with asyncio.timeout(ANSWER_SECONDS):
                message = await answer
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"cannot ask shim {self._path}: no answer") from error
        finally:
            self._answers.pop(number, None)
        return _result(message)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        assert self._writer is not None, "following a connection"
        self._writer.write(cri.pack({"op": Op.WATCH, "id": 0}))
        buffer = bytearray()
        while data := await reader.read(1 << 18):
            buffer += data
            for message in cri.unpack(buffer):
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "sandbox" in message:
            seen = self._take_sandbox(codec.decode(Sandbox, message["sandbox"]))
            self._changed(seen.config.uid)
        elif "container" in message:
            self._tell(self._take_container(codec.decode(Container, message["container"])))
        elif message.get("id") == 0:
            self._take_all(_result(message))
        elif (answer := self._answers.get(message.get("id", -1))) is not None and not answer.done():
            answer.set_result(message)

    def _take_sandbox(self, seen: Sandbox) -> Sandbox:
        known = self.sandboxes.get(seen.config.id)
        if known is not None and known.state == State.EXITED:
            return known
        self.sandboxes[seen.config.id] = seen
        self._inside.setdefault(seen.config.uid, {})[seen.config.id] = None
        return seen

    def _take_container(self, seen: Container) -> Container:
        self.containers[seen.config.id] = seen
        self._inside.setdefault(seen.config.sandbox_id, {})[seen.config.id] = None
        return seen

    def _containers(self, sandbox: str) -> list[Container]:
        names = self._inside.get(sandbox, ())
        return [self.containers[it] for it in names if it in self.containers]

    def _take_all(self, everything: Mapping[str, Any]) -> None:
        sandboxes = [codec.decode(Sandbox, item) for item in everything["sandboxes"]]
        containers = [codec.decode(Container, item) for item in everything["containers"]]
        self.sandboxes, self.containers, self._inside = {}, {}, {}
        for sandbox in sandboxes:
            self._take_sandbox(sandbox)
        for container in containers:
            self._take_container(container)
        self.connected.set()
        self._changed("")

    def _tell(self, container: Container) -> None:
        sandbox = self.sandboxes.get(container.config.sandbox_id)
        if sandbox is not None:
            self._changed(sandbox.config.uid)

    def _fail_all(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the shim is gone"))


def _result(message: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in message:
        raise KernelError(str(message["error"]))
    result = message["ok"]
    assert isinstance(result, dict), "every answer of a shim is an object"
    return result


def exec_in_pod(
    shim_socket: Path,
    namespace: str,
    pod: str,
    argv: Sequence[str],
    *,
    container: str = "",
    env: Mapping[str, str] | None = None,
    streams: tuple[int, int, int] = (0, 1, 2),
    tty: bool = False,
    timeout: float | None = None,
) -> int:
    """Run a host program inside a pod's namespaces and return its exit code (127: no such program).

    Blocks. The program sees the pod's network, host name, resolv.conf and hosts, and the host's files read-only. It is
    killed when the caller dies or the time is up.

    Args:
        shim_socket: Of the pod's node.
        namespace: The pod's.
        pod: Its name.
        argv: Program, found by PATH, and its arguments.
        container: One of the pod's containers, "" for any: they share all that can be seen here but environment.
        env: Added to the container's environment.
        streams: File descriptors for stdin, stdout, stderr.
        tty: They are the slave end of a terminal made for this program; it gets it as its controlling terminal.
        timeout: Seconds.

    Raises:
        NotFound: no such pod runs on that node.
        Unavailable: the shim is not running, or went away.
        TimeoutError: the program was not done in time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(shim_socket))
            sandbox, found = _find(_ask(sock, {"op": Op.LIST}, deadline), namespace, pod, container)
            config = ExecConfig(
                sandbox_id=sandbox.config.id,
                container_id=found.config.id if found else "",
                argv=tuple(argv),
                env={**(found.config.env if found else {}), **(env or {})},
                tty=tty,
            )
            request = {"op": Op.EXEC, "config": codec.encode(config)}
            return int(_ask(sock, request, deadline, streams)["exitCode"])
    except TimeoutError:
        raise
    except OSError as error:
        raise Unavailable(f"cannot exec in pod {namespace}/{pod}: the shim is gone") from error


def shutdown(shim_socket: Path, seconds: float = ANSWER_SECONDS) -> None:
    """Kill everything on a node and end its shim; a shim that is not running is fine. Blocks.

    Raises:
        TimeoutError: something would not end.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(shim_socket))
        except OSError:
            return
        _ask(sock, {"op": Op.SHUTDOWN}, time.monotonic() + seconds)


def _exec_quietly(path: Path, config: ExecConfig, seconds: float) -> tuple[int, str]:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    # The kernel does not lock a memfd's position: of two who write at once one would overwrite the other.
    fcntl.fcntl(output, fcntl.F_SETFL, os.O_APPEND)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            request = {"op": Op.EXEC, "config": codec.encode(config)}
            deadline = time.monotonic() + seconds
            code = int(_ask(sock, request, deadline, (null, output, output))["exitCode"])
        return code, os.pread(output, OUTPUT_BYTES, 0).decode(errors="replace")
    except TimeoutError:
        raise
    except OSError as error:
        raise Unavailable(f"cannot run {config.argv[0]} in a pod: the shim is gone") from error
    finally:
        os.close(null)
        os.close(output)


def _ask(
    sock: socket.socket,
    request: dict[str, Any],
    deadline: float | None,
    streams: Sequence[int] = (),
) -> dict[str, Any]:
    frame = cri.pack({"id": 1, **request})
    sent = socket.send_fds(sock, [frame], list(streams)) if streams else sock.send(frame)
    sock.sendall(frame[sent:])
    buffer = bytearray()
    while True:
        if deadline is not None:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the shim is gone")
        buffer += data
        for message in cri.unpack(buffer):
            return _result(message)


def _find(
    everything: Mapping[str, Any], namespace: str, pod: str, container: str
) -> tuple[Sandbox, Container | None]:
    sandboxes = [codec.decode(Sandbox, item) for item in everything["sandboxes"]]
    for sandbox in sandboxes:
        config = sandbox.config
        if (config.namespace, config.name) != (namespace, pod) or sandbox.state != State.RUNNING:
            continue
        inside = [codec.decode(Container, item) for item in everything["containers"]]
        mine = [
            seen
            for seen in inside
            if seen.config.sandbox_id == config.id
            and container in ("", seen.config.name)
            and seen.state == State.RUNNING
        ]
        if container and not mine:
            raise NotFound(f"cannot exec in container {container}: pod {pod} has none of that name")
        return sandbox, mine[0] if mine else None
    raise NotFound(f"cannot exec in pod {namespace}/{pod}: it is not running on this node")
