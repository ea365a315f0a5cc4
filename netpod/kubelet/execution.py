"""exec and attach: a program in a pod, its streams joined to a client's.

The shim runs the program and kills it when the connection it was asked over ends, so that a client who vanishes takes
its program along, whichever process between them dies.
"""

import asyncio
import contextlib
import os
import pty
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from netpod.api import codec, cri
from netpod.api.cri import ExecConfig, Op
from netpod.errors import KernelError, Unavailable
from netpod.kubelet import podlogs
from netpod.kubelet.fdio import Descriptor
from netpod.kubelet.podlogs import LogOptions
from netpod.kubelet.session import Options, Outcome, Session

QUIET_SECONDS = 0.25
"""After its end, output is awaited that long: what it left running may hold the pipes open forever."""


async def run(shim_socket: Path, config: ExecConfig, options: Options, session: Session) -> Outcome:
    """Run a program inside a sandbox with a client's streams; when cancelled, it is killed.

    Args:
        shim_socket: Of this node.
        config: The program; its `tty` is that of `options`.
        options: The streams the client has.
        session: The streams.
    """
    near: list[Descriptor] = []
    far: list[int] = []
    try:
        pumps = (
            _terminal(near, far, session) if options.tty else _pipes(near, far, options, session)
        )
        async with _asked(shim_socket, config, far) as answer:
            return await _join(pumps, answer)
    except (OSError, KernelError) as error:
        return Outcome(error=f"error executing command in container: {error}")
    finally:
        for descriptor in near:
            descriptor.close()
        for fd in far:
            os.close(fd)


async def attach(
    log: Path,
    stdin: Path | None,
    running: Callable[[], bool],
    session: Session,
    *,
    sizes: Path | None = None,
) -> Outcome:
    """Show what a container writes from now on, until it ends, and pass on what the client types.

    Args:
        log: The container's; both its outputs go there, line by line.
        stdin: FIFO that is its standard input; one without such a file has none, and what is typed is dropped.
        running: Whether it still runs.
        session: The client's streams.
        sizes: FIFO that takes the sizes of the container's terminal, when the client has one.
    """
    into = _open_fifo(stdin) if stdin is not None else None
    async with asyncio.TaskGroup() as tasks:
        typing = tasks.create_task(_type(into, stdin, session)) if stdin is not None else None
        sizing = tasks.create_task(_size(sizes, session)) if sizes is not None else None
        try:
            with contextlib.suppress(ConnectionError):
                async for data in podlogs.stream(log, _FROM_NOW, running):
                    await session.stdout(data)
        finally:
            for task in filter(None, (typing, sizing)):
                task.cancel()
            if into is not None:
                into.close()
            if stdin is not None:
                _end(stdin)
    return Outcome()


_FROM_NOW = LogOptions(follow=True, tail=0)


def _open_fifo(path: Path) -> Descriptor | None:
    try:
        return Descriptor(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return None


async def _type(into: Descriptor | None, stdin: Path | None, session: Session) -> None:
    while data := await session.stdin():
        if into is not None:
            with contextlib.suppress(OSError):
                await into.write(data)
    if into is not None:
        into.close()
    if stdin is not None:
        _end(stdin)


async def _size(sizes: Path, session: Session) -> None:
    """Pass on how large the client's terminal is."""
    into = _open_fifo(sizes)
    try:
        while (size := await session.size()) is not None:
            if into is not None:
                with contextlib.suppress(OSError):
                    await into.write(cri.SIZE.pack(*size))
    finally:
        if into is not None:
            into.close()


def _end(stdin: Path) -> None:
    """End a standard input that is there for one client only; any other goes on."""
    with contextlib.suppress(OSError):
        fd = os.open(stdin.with_name("eof"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"x")
        finally:
            os.close(fd)


Pump = Callable[["Progress"], Awaitable[None]]


class Progress:
    """When output last moved, and whether it waits for the client now."""

    def __init__(self) -> None:
        self.moves = 0
        self.waiting = 0


@contextlib.asynccontextmanager
async def _asked(path: Path, config: ExecConfig, far: list[int]) -> AsyncIterator[Awaitable[int]]:
    """Ask the shim to run a program; gives the exit code to wait for."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise Unavailable("the shim is not running") from None
    frame = cri.pack({"id": 1, "op": Op.EXEC, "config": codec.encode(config)})
    sent = socket.send_fds(sock, [frame], far)
    sock.sendall(frame[sent:])
    while far:  # the program's ends are the program's now: ours would keep its pipes open
        os.close(far.pop())
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    try:
        yield _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    buffer = bytearray()
    while data := await reader.read(1 << 16):
        buffer += data
        for message in cri.unpack(buffer):
            if "error" in message:
                raise KernelError(str(message["error"]))
            return int(message["ok"]["exitCode"])
    raise KernelError("the shim is gone")


async def _join(pumps: tuple[list[Pump], list[Pump]], answer: Awaitable[int]) -> Outcome:
    """Run all pumps until the program has ended and its output was delivered."""
    inward, outward = pumps
    progress = Progress()
    async with asyncio.TaskGroup() as tasks:
        feeding = [tasks.create_task(_run(pump, progress)) for pump in inward]
        draining = [tasks.create_task(_run(pump, progress)) for pump in outward]
        try:
            try:
                code = await answer
            except (OSError, KernelError) as error:
                return Outcome(error=f"error executing command in container: {error}")
            left = set(draining)
            while left:
                moves = progress.moves
                left = (await asyncio.wait(left, timeout=QUIET_SECONDS))[1]
                if progress.moves == moves and not progress.waiting:
                    break
        finally:
            for task in (*feeding, *draining):
                task.cancel()
    return Outcome(code)


async def _run(pump: Pump, progress: Progress) -> None:
    # A client that is gone is noticed where its connection is read.
    with contextlib.suppress(ConnectionError):
        await pump(progress)


def _pipes(
    near: list[Descriptor], far: list[int], options: Options, session: Session
) -> tuple[list[Pump], list[Pump]]:
    """Make three pipes, or /dev/null where the client has no stream."""
    inward: list[Pump] = []
    outward: list[Pump] = []
    if options.stdin:
        reader, writer = os.pipe()
        far.append(reader)
        near.append(Descriptor(writer))
        inward.append(_stdin(near[-1], session, hang_up=True))
    else:
        far.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    for wanted, send in ((options.stdout, session.stdout), (options.stderr, session.stderr)):
        if wanted:
            reader, writer = os.pipe()
            far.append(writer)
            near.append(Descriptor(reader))
            outward.append(_output(near[-1], send))
        else:
            far.append(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    return inward, outward


def _terminal(
    near: list[Descriptor], far: list[int], session: Session
) -> tuple[list[Pump], list[Pump]]:
    """Make a terminal."""
    ours, its = pty.openpty()
    terminal = Descriptor(ours)
    near.append(terminal)
    far += [its, os.dup(its), os.dup(its)]
    inward = [_stdin(terminal, session, hang_up=False), _sizes(terminal, session)]
    return inward, [_output(terminal, session.stdout)]


def _stdin(into: Descriptor, session: Session, *, hang_up: bool) -> Pump:
    async def pump(progress: Progress) -> None:
        listening = True
        while data := await session.stdin():
            if listening:
                try:
                    await into.write(data)
                except (
                    OSError
                ):  # it closed its input; the rest is dropped, so that we hear the client leave
                    listening = False
        if hang_up:
            into.close()

    return pump


def _sizes(terminal: Descriptor, session: Session) -> Pump:
    async def pump(progress: Progress) -> None:
        while (size := await session.size()) is not None:
            terminal.resize(*size)

    return pump


def _output(source: Descriptor, send: Callable[[bytes], Awaitable[None]]) -> Pump:
    async def pump(progress: Progress) -> None:
        while data := await source.read():
            progress.moves += 1
            progress.waiting += 1
            try:
                await send(data)
            finally:
                progress.waiting -= 1

    return pump
