"""attach, as a client: a container's streams over one WebSocket to the API server.

    binary message   one byte of channel, then its bytes: 0 stdin, 1 stdout, 2 stderr, 3 the end as a Status, 4 size,
                     255 closes a channel

Source: k8s.io/apimachinery pkg/util/remotecommand/constants.go; k8s.io/client-go tools/remotecommand/websocket.go.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import orjson

from netpod.client import status
from netpod.errors import ApiError, Unavailable

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, END, SIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Which of a container's streams are joined to which descriptors.

    Attributes:
        stdin: Read from here until its end; None for none.
        stdout: Written here.
        stderr: Written here; with `tty` there is none.
        tty: The container's streams are a terminal.
        size: Returns columns and rows of ours.
    """

    stdin: int | None
    stdout: int = 1
    stderr: int = 2
    tty: bool = False
    size: Callable[[], tuple[int, int]] = lambda: (80, 24)


async def attach(socket: Path, path: str, container: str, streams: Streams) -> int:
    """Join a container's streams until it ends or the connection does; return its exit code, if it told one.

    Args:
        socket: Of the API server.
        path: Of the pod's subresource `attach`.
        container: Its name.
        streams: Ours.

    Raises:
        ApiError: the container cannot be attached to; the message is the server's.
        Unavailable: nobody answers.
    """
    wanted = {
        "container": container,
        "stdin": streams.stdin is not None,
        "stdout": True,
        "stderr": not streams.tty,
        "tty": streams.tty,
    }
    query = urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in wanted.items()})
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            opening = session.ws_connect(
                f"http://apiserver{path}?{query}", protocols=(PROTOCOL,), max_msg_size=0
            )
            async with opening as websocket:
                return await _join(websocket, streams)
        except aiohttp.WSServerHandshakeError as error:
            # The server's words are in an answer that aiohttp does not hand out: ask for it once more, plainly.
            async with session.get(f"http://apiserver{path}?{query}") as answer:
                raise status.error_of(error.status, await answer.read()) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"cannot attach: {error}") from error


async def _join(websocket: aiohttp.ClientWebSocketResponse, streams: Streams) -> int:
    typed: asyncio.Queue[bytes] = asyncio.Queue(16)
    sending = asyncio.ensure_future(_send(websocket, typed, streams))
    if streams.stdin is not None:
        loop = asyncio.get_running_loop()
        reader = threading.Thread(
            target=_read, args=(streams.stdin, typed, loop), name="stdin", daemon=True
        )
        reader.start()
    try:
        async for message in websocket:
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            if data[:1] == bytes([END]):
                return _code(data[1:])
            if data[:1] in (bytes([STDOUT]), bytes([STDERR])):
                _write(streams.stdout if data[0] == STDOUT else streams.stderr, data[1:])
        return 0
    finally:
        sending.cancel()


async def _send(
    websocket: aiohttp.ClientWebSocketResponse, typed: asyncio.Queue[bytes], streams: Streams
) -> None:
    size: tuple[int, int] | None = None
    while True:
        if streams.tty and streams.size() != size:
            size = streams.size()
            body = orjson.dumps({"Width": size[0], "Height": size[1]})
            await websocket.send_bytes(bytes([SIZE]) + body)
        try:
            data = await asyncio.wait_for(typed.get(), 0.5 if streams.tty else None)
        except TimeoutError:
            continue
        await websocket.send_bytes(bytes([STDIN]) + data if data else bytes([CLOSE, STDIN]))


def _read(fd: int, typed: "asyncio.Queue[bytes]", loop: asyncio.AbstractEventLoop) -> None:
    """Pass on what is read, an empty piece at the end; a full queue holds the reader back."""
    while True:
        try:
            data = os.read(fd, _CHUNK)
        except OSError:
            data = b""
        try:
            asyncio.run_coroutine_threadsafe(typed.put(data), loop).result()
        except (RuntimeError, asyncio.CancelledError):
            return  # the loop has ended
        if not data:
            return


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _code(data: bytes) -> int:
    """Exit code of a metav1.Status: 0, the one it names, or an error of its own."""
    told = orjson.loads(data)
    if told.get("status") == "Success":
        return 0
    for cause in (told.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError(str(told.get("message") or "the stream ended"))
