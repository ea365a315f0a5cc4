"""port-forward: connections to 127.0.0.1 inside a pod's network namespace, carried over SPDY or WebSocket.

    SPDY       per connection two streams with the headers port and requestID: `error`, then `data`
    WebSocket  per port of the query two channels, 2i data and 2i+1 error, each begun by the port, little endian

Source: k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go, websocket.go.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from netpod.errors import KernelError
from netpod.kubelet.channels import Channels
from netpod.kubelet.spdy import Connection, Stream
from netpod.kubelet.wire import CHUNK, Inbox, Wire
from netpod.linux import netns

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"
"""WebSocket subprotocol of SPDY inside WebSocket messages, which kubectl uses since 1.31."""
PAIR_SECONDS = 30.0


@contextlib.asynccontextmanager
async def dialled(
    name: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a port of 127.0.0.1 in a network namespace, "" being this process's own.

    Raises:
        OSError: nobody listens there.
        KernelError: there is no such namespace.
    """
    loop = asyncio.get_running_loop()
    sock = netns.socket_in(name, socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.close()


async def carry(
    name: str,
    port: int,
    read: Callable[[], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
) -> str:
    """Join one connection inside a namespace to a client; return why that failed, "" when it did not.

    Args:
        name: The namespace.
        port: Where to connect.
        read: What the client sends; b"" at its end.
        write: Send to the client.
        end: Tell the client that the pod sends no more.
    """
    try:
        async with dialled(name, port) as (reader, writer):
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(_send(read, writer))
                with contextlib.suppress(ConnectionError):
                    while data := await reader.read(CHUNK):
                        await write(data)
                    await end()
                # Upstream, too, gives up what the client still sends once the pod has said all.
                sending.cancel()
    except KernelError as error:
        return str(error)
    except OSError as error:
        return (
            f'failed to connect to localhost:{port} inside namespace "{name}", '
            f"IPv4: {os.strerror(error.errno or 0).lower()}"
        )
    return ""


async def _send(read: Callable[[], Awaitable[bytes]], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()


class Forwarder:
    """The pairs of streams of one SPDY connection."""

    def __init__(self, name: str, pod: str, uid: str, tasks: asyncio.TaskGroup) -> None:
        self._name = name
        self._pod = pod
        self._uid = uid
        self._tasks = tasks
        self._errors: dict[str, Stream] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: set[asyncio.Task[None]] = set()

    def opened(self, stream: Stream) -> bool:
        """Take a stream; False when its headers are not a port-forward's."""
        kind = stream.headers.get("streamtype", "")
        try:
            port = int(stream.headers.get("port", ""))
        except ValueError:
            return False
        if not 0 < port < 1 << 16 or kind not in ("error", "data"):
            return False
        # Old clients have no request ids; their data stream is the one after the error stream.
        number = stream.number if kind == "error" else stream.number - 2
        request = stream.headers.get("requestid") or f"#{number}"
        if kind == "error":
            if request in self._errors:
                return False
            self._errors[request] = stream
            self._timers[request] = asyncio.get_running_loop().call_later(
                PAIR_SECONDS, self._give_up, request
            )
            return True
        error = self._errors.pop(request, None)
        if error is None:
            return False
        self._timers.pop(request).cancel()
        self._start(self._forward(port, stream, error))
        return True

    def close(self) -> None:
        """End what is carried, and stop waiting for streams."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._running:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _give_up(self, request: str) -> None:
        self._timers.pop(request, None)
        stream = self._errors.pop(request, None)
        if stream is not None:
            self._start(stream.reset())

    async def _forward(self, port: int, data: Stream, error: Stream) -> None:
        with contextlib.suppress(ConnectionError):
            cause = await carry(self._name, port, data.read, data.write, data.close)
            if cause:
                message = (
                    f"error forwarding port {port} to pod {self._pod}, uid {self._uid}: {cause}"
                )
                await error.write(message.encode())
            await error.close()
            if cause:
                await data.close()
            # The client's half is of no use any more; unread it would stop the others.
            await data.end()


async def serve_spdy(wire: Wire, name: str, pod: str, uid: str) -> None:
    """Serve a SPDY connection until the client leaves; its connections to the pod end with it."""
    async with asyncio.TaskGroup() as tasks:
        forwarder = Forwarder(name, pod, uid, tasks)
        try:
            await Connection(wire, forwarder.opened).run()
        finally:
            forwarder.close()


async def serve_channels(
    channels: Channels, ports: Sequence[int], name: str, pod: str, uid: str
) -> None:
    """Serve a WebSocket with two channels per port until the client leaves or the pod has closed all of them."""
    inboxes = [Inbox() for _ in ports]
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await channels.send(channel, port.to_bytes(2, "little"))
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_receive(channels, inboxes))
        running = [
            tasks.create_task(_serve_channel(channels, index, port, inboxes[index], name, pod, uid))
            for index, port in enumerate(ports)
        ]
        carried = tasks.create_task(_all(running))
        await asyncio.wait({reading, carried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, carried, *running):
            task.cancel()


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _receive(channels: Channels, inboxes: Sequence[Inbox]) -> None:
    with contextlib.suppress(ConnectionError):
        while (message := await channels.receive()) is not None:
            channel, data = message
            if channel % 2 == 0 and channel // 2 < len(inboxes):
                await inboxes[channel // 2].put(data)


async def _serve_channel(
    channels: Channels, index: int, port: int, inbox: Inbox, name: str, pod: str, uid: str
) -> None:
    async def write(data: bytes) -> None:
        await channels.send(2 * index, data)

    async def end() -> None:
        await inbox.end()

    with contextlib.suppress(ConnectionError):
        cause = await carry(name, port, inbox.get, write, end)
        if cause:
            message = f"error forwarding port {port} to pod {pod}, uid {uid}: {cause}"
            await channels.send(2 * index + 1, message.encode())
        await inbox.end()
