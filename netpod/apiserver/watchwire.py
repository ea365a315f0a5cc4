"""How a watch reaches its client: chunks of lines over HTTP, or one text frame per event over a WebSocket.

Source: k8s.io/apiserver pkg/endpoints/handlers/watch.go ServeHTTP, HandleWS.
"""

import asyncio
import contextlib
import functools

from aiohttp import web

from netpod.apiserver import answers, forwarding, negotiation
from netpod.apiserver.watch import Stream

_HEADERS = {"Cache-Control": answers.CACHE, "Content-Type": negotiation.JSON}


async def send(request: web.BaseRequest, stream: Stream) -> web.StreamResponse:
    """Send all of a stream's events in the way the request asks; the caller closes the stream."""
    if forwarding.is_upgrade(request):
        return await _socket(request, stream)
    response = web.StreamResponse(headers=_HEADERS)
    response.enable_chunked_encoding()
    with contextlib.suppress(ConnectionResetError):  # the client left between two writes
        await response.prepare(request)
        stream.divert(functools.partial(_send, request))
        async for lines in stream.lines():
            await response.write(lines)
        await response.write_eof()
    return response


def _send(request: web.BaseRequest, lines: bytes) -> bool:
    """Write past the library, if the client is there and takes what it gets."""
    transport = request.transport
    if transport is None or transport.is_closing() or request.protocol.writing_paused:
        return False
    transport.write(_chunk(lines))
    return True


@functools.lru_cache(maxsize=16)
def _chunk(data: bytes) -> bytes:
    """As a chunk. Source: RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _socket(request: web.BaseRequest, stream: Stream) -> web.WebSocketResponse:
    response = web.WebSocketResponse(compress=False)
    await response.prepare(request)

    async def listen() -> None:
        async for _ in response:
            pass  # a watch has nothing to hear but the end
        stream.close()

    async with asyncio.TaskGroup() as tasks:
        listener = tasks.create_task(listen())
        with contextlib.suppress(ConnectionResetError):
            async for lines in stream.lines():
                for line in lines.splitlines():
                    await response.send_str(line.decode())
            await response.close()
        listener.cancel()
    return response
