"""An HTTP server that costs nothing until somebody connects.

Most nodes, name servers and schedulers are never asked how they are, and a library for HTTP is some megabytes of each
of their processes: it is imported, and TLS is made, when the first connection waits.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

BACKLOG = 128
Handler = Callable[["web.BaseRequest"], Awaitable["web.StreamResponse"]]
Tls = Callable[[], ssl.SSLContext]


async def serve(listening: socket.socket, handler: Handler, tls: Tls | None = None) -> None:
    """Answer every request with a handler until cancelled; then close the socket and all connections.

    Args:
        listening: TCP, bound, listening.
        handler: Cancelled when the client goes.
        tls: Makes what the server proves itself with; None for plain HTTP.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listening.close)
        listening.setblocking(False)
        await readable(listening.fileno())
        from aiohttp import web

        server = web.Server(handler, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        context = tls() if tls is not None else None
        await web.SockSite(runner, listening, ssl_context=context, backlog=BACKLOG).start()
        await asyncio.Event().wait()


async def readable(fd: int) -> None:
    """Wait until there is something to read, or to accept."""
    loop = asyncio.get_running_loop()
    await _ready(fd, loop.add_reader, loop.remove_reader)


async def writable(fd: int) -> None:
    """Wait until there is room to write."""
    loop = asyncio.get_running_loop()
    await _ready(fd, loop.add_writer, loop.remove_writer)


async def _ready(fd: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    try:
        await ready
    finally:
        remove(fd)
