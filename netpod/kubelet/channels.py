"""Standard streams over a WebSocket: each message begins with the number of its channel.

    0 stdin   1 stdout   2 stderr   3 error   4 resize   255 close: the next byte says which (version 5)

In the base64 protocols a message is text, the channel one digit, the rest base64.

Source: k8s.io/apimachinery pkg/util/httpstream/wsstream/conn.go; KEP-4006.
"""

import base64
import binascii
import contextlib
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from netpod.kubelet.session import Outcome, Sizes
from netpod.kubelet.wire import CHUNK, Inbox

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


@dataclass(frozen=True, slots=True)
class Framing:
    """A subprotocol: its version, and whether it is the one for clients that can only do text."""

    version: int
    text: bool = False

    def pack(self, channel: int, data: bytes) -> bytes:
        """Return the message for some bytes of a channel."""
        if self.text:
            return b"%d" % channel + base64.b64encode(data)
        return bytes((channel,)) + data

    def unpack(self, message: bytes) -> tuple[int, bytes]:
        """Return (channel, bytes) of a message.

        Raises:
            ValueError: it has no channel, or is not base64 where it must be.
        """
        if not message:
            raise ValueError("message has no channel")
        if not self.text:
            return message[0], message[1:]
        try:
            return int(message[:1]), base64.b64decode(message[1:], validate=True)
        except binascii.Error as error:
            raise ValueError("message is not base64") from error


PROTOCOLS = {
    "v5.channel.k8s.io": Framing(5),
    "v4.channel.k8s.io": Framing(4),
    "v4.base64.channel.k8s.io": Framing(4, text=True),
    "channel.k8s.io": Framing(1),
    "base64.channel.k8s.io": Framing(1, text=True),
}
"""Framing by subprotocol; a client that names none gets channel.k8s.io without hearing so."""
DEFAULT = Framing(1)


class Channels:
    """The numbered channels of a WebSocket."""

    def __init__(self, websocket: web.WebSocketResponse, framing: Framing) -> None:
        self.framing = framing
        self._websocket = websocket

    async def receive(self) -> tuple[int, bytes] | None:
        """Return (channel, bytes) of the next message; None at the end, also when the client breaks the protocol."""
        message = await self._websocket.receive()
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            return None
        data = message.data.encode() if isinstance(message.data, str) else message.data
        try:
            return self.framing.unpack(data)
        except ValueError:
            return None

    async def send(self, channel: int, data: bytes) -> None:
        """Send some bytes of a channel; none at all is a message, too."""
        for start in range(0, len(data) or 1, CHUNK):
            message = self.framing.pack(channel, data[start : start + CHUNK])
            if self.framing.text:
                await self._websocket.send_str(message.decode())
            else:
                await self._websocket.send_bytes(message)


class ChannelSession:
    """The streams of one exec or attach."""

    def __init__(self, channels: Channels, *, first: int) -> None:
        self._channels = channels
        self._first = first
        self._stdin = Inbox()
        self._resize = Inbox()
        self._sizes = Sizes()
        self._pending: list[tuple[int, int]] = []

    async def run(self) -> None:
        """Read until the client leaves."""
        try:
            # Upstream's first message is empty: some clients wait for it to know that they are connected.
            await self._channels.send(self._first, b"")
            while (message := await self._channels.receive()) is not None:
                channel, data = message
                if channel == STDIN:
                    await self._stdin.put(data)
                elif channel == RESIZE:
                    await self._resize.put(data)
                elif (
                    channel == CLOSE
                    and data == bytes((STDIN,))
                    and self._channels.framing.version >= 5
                ):
                    await self._stdin.end()
        finally:
            await self._stdin.end()
            await self._resize.end()

    async def stdin(self) -> bytes:
        """Return what comes next; b"" at the end."""
        return await self._stdin.get()

    async def stdout(self, data: bytes) -> None:
        """Send output."""
        await self._channels.send(STDOUT, data)

    async def stderr(self, data: bytes) -> None:
        """Send output."""
        await self._channels.send(STDERR, data)

    async def size(self) -> tuple[int, int] | None:
        """Return the terminal's next (width, height); None when no more come."""
        while not self._pending:
            data = await self._resize.get()
            if not data:
                return None
            self._pending += self._sizes.feed(data)
        return self._pending.pop(0)

    async def finish(self, outcome: Outcome) -> None:
        """Say how it ended."""
        report = outcome.report(self._channels.framing.version)
        if report:
            with contextlib.suppress(ConnectionError):
                await self._channels.send(ERROR, report)
