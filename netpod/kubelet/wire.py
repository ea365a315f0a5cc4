"""The bytes below a multiplexed connection, and what waits in one of its streams.

A connection is a taken-over HTTP connection, or one tunnelled in a WebSocket.
"""

import asyncio
from collections import deque
from typing import Protocol

import aiohttp
from aiohttp import web

CHUNK = 1 << 15
LIMIT = 1 << 18
"""Bytes that may wait in a stream until somebody reads them; then the whole connection waits."""


class Wire(Protocol):
    """A connection as bytes. Writes keep their order and wait while the peer does not read."""

    async def read(self) -> bytes:
        """Return what comes next; b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send.

        Raises:
            ConnectionError: the peer is gone.
        """
        ...


class StreamWire:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Return what comes next; b"" at the end, also at an abrupt one."""
        try:
            return await self._reader.read(CHUNK)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send."""
        self._writer.write(data)
        await self._writer.drain()


class WebSocketWire:
    """The payload of a WebSocket's binary messages, in order.

    Source: Kubernetes KEP-4006, port-forward: SPDY/3.1 tunnelled in WebSocket messages.
    """

    def __init__(self, websocket: web.WebSocketResponse) -> None:
        self._websocket = websocket

    async def read(self) -> bytes:
        """Return the next message that is not empty; b"" at the end."""
        while True:
            message = await self._websocket.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type != aiohttp.WSMsgType.TEXT:
                return b""

    async def write(self, data: bytes) -> None:
        """Send."""
        await self._websocket.send_bytes(data)


class Inbox:
    """Bytes of one stream on their way from the connection's reader to whoever reads the stream."""

    def __init__(self) -> None:
        self.ended = False
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Queue, waiting while LIMIT bytes are queued; after the end, drop."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < LIMIT or self.ended)
            if data and not self.ended:
                self._chunks.append(data)
                self._size += len(data)
                self._changed.notify_all()

    async def get(self) -> bytes:
        """Return what comes next; b"" once everything was read and the end was said."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._chunks or self.ended)
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            self._size -= len(chunk)
            self._changed.notify_all()
            return chunk

    async def end(self) -> None:
        """Say that no more comes."""
        async with self._changed:
            self.ended = True
            self._changed.notify_all()
