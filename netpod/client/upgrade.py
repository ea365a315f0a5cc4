"""Take a connection over from the HTTP server after a protocol upgrade.

aiohttp speaks WebSocket itself; every other upgrade it would go on parsing as HTTP. So the transport gets another
protocol before the 101 is written: a client sends nothing in the new protocol before it has seen that. The end of the
connection is told to both, so that the server forgets it.
"""

import asyncio
from collections.abc import Iterable

from aiohttp import web

BUFFER = 1 << 16
"""Bytes read ahead; beyond twice that the peer has to wait."""


class _Taken(asyncio.StreamReaderProtocol):
    """A stream whose former owner hears of its end too."""

    def __init__(self, reader: asyncio.StreamReader, former: asyncio.BaseProtocol) -> None:
        super().__init__(reader, loop=asyncio.get_running_loop())
        self._former = former

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._former.connection_lost(exc)


def head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """First line and headers of an answer, e.g. `101 Switching Protocols`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def take(
    request: web.BaseRequest, answer: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Answer an upgrade and return the raw connection; finish with `done`.

    Args:
        request: Its connection is ours from now on.
        answer: The 101 with its headers, see `head`.

    Raises:
        ConnectionResetError: the client is gone already.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("cannot upgrade connection: the client left")
    former = request.protocol
    former.keep_alive(False)
    reader = asyncio.StreamReader(limit=BUFFER)
    taken = _Taken(reader, former)
    transport.set_protocol(taken)
    taken.connection_made(transport)
    writer = asyncio.StreamWriter(transport, taken, reader, asyncio.get_running_loop())
    writer.write(answer)
    return reader, writer


def done(writer: asyncio.StreamWriter) -> web.StreamResponse:
    """Close a taken connection once everything is written, and return what the handler must return."""
    writer.close()
    return web.Response(status=101)  # never sent: the connection is closing
