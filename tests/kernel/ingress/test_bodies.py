"""Large bodies, chunked ones and clients that take their time pass through the ingress unchanged."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.kernel.ingress.test_tls import CLASS, DEFAULT, Start
from tests.unit.ingress.builders import make_ingress, make_service

SIZE = 24 << 20
PIECE = bytes(range(256)) * 256


async def _digest(request: web.Request) -> web.Response:
    """Say what came: how it was framed, how much, and its hash."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.content.iter_chunked(1 << 16):
        digest.update(piece)
        size += len(piece)
    framing = request.headers.get("Transfer-Encoding") or request.headers.get("Content-Length")
    return web.Response(text=f"{framing} {size} {digest.hexdigest()}")


async def _large(request: web.Request) -> web.StreamResponse:
    """SIZE bytes, with their length known or in chunks."""
    response = web.StreamResponse()
    if request.query_string == "length":
        response.content_length = SIZE
    await response.prepare(request)
    for _ in range(SIZE // len(PIECE)):
        await response.write(PIECE)
    return response


def _expected() -> str:
    return hashlib.sha256(PIECE * (SIZE // len(PIECE))).hexdigest()


def _run(proxy: Start, check: Callable[[Any], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        app = web.Application(client_max_size=SIZE)
        app.router.add_post("/", _digest)
        app.router.add_get("/", _large)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        web_service = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
        try:
            async with proxy(certificate=DEFAULT) as running, asyncio.timeout(60):
                site = make_ingress(("a.com", "Prefix", "/", "web"), port=port)
                await running.serve([site], CLASS, [web_service], [])
                await check(running.haproxy)
        finally:
            await runner.cleanup()

    asyncio.run(all_of_it())


async def _curl(
    port: int, scheme: str, *options: str, stdin: bytes = b"", query: str = ""
) -> bytes:
    argv = ["curl", "-sk", "--fail", "--connect-to", f"a.com::127.0.0.1:{port}", *options]
    curl = await asyncio.create_subprocess_exec(
        *argv,
        f"{scheme}://a.com/{query}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await curl.communicate(stdin)
    assert curl.returncode == 0, options
    return out


def test_large_bodies_in_both_directions(proxy: Start) -> None:
    """24 MiB up, with a length and in chunks, and down, over HTTP/1.1, and over TLS by HTTP/2: every byte arrives."""

    async def check(haproxy: Any) -> None:
        body, expected = PIECE * (SIZE // len(PIECE)), _expected()
        up = ("--data-binary", "@-", "-H", "Expect:")
        chunked = (*up, "-H", "Transfer-Encoding: chunked")
        for port, scheme, version, ways in (
            (haproxy.port, "http", "--http1.1", ((up, str(SIZE)), (chunked, "chunked"))),
            (haproxy.tls_port, "https", "--http2", ((up, str(SIZE)),)),
        ):
            for options, framing in ways:
                said = await _curl(port, scheme, version, *options, stdin=body)
                assert said.decode() == f"{framing} {SIZE} {expected}"
            for query in ("", "?length"):
                got = await _curl(port, scheme, version, query=query)
                assert (len(got), hashlib.sha256(got).hexdigest()) == (SIZE, expected)

    _run(proxy, check)


def test_chunked_bodies_piece_by_piece(proxy: Start) -> None:
    """A chunked body that comes a few bytes at a time, extensions and trailers among them, reaches the server whole."""

    async def check(haproxy: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", haproxy.port)
        head = b"POST / HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        chunks = (
            b"5\r\nhello\r\n1;name=value\r\n \r\n00b\r\nslow client\r\n0\r\nX-Trailer: yes\r\n\r\n"
        )
        await _slowly(writer, head + chunks)
        answer = await reader.read()
        writer.close()
        digest = hashlib.sha256(b"hello slow client").hexdigest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(f"chunked 17 {digest}".encode())

    _run(proxy, check)


def test_slow_clients_stop_nobody(proxy: Start) -> None:
    """While some send a head by single bytes and some do not read their answer, others get theirs; the slow do, too."""

    async def check(haproxy: Any) -> None:
        idle = [
            await asyncio.open_connection("127.0.0.1", haproxy.port, limit=1024) for _ in range(4)
        ]
        for _, writer in idle:
            writer.write(b"GET / HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\n\r\n")
        slow = [await asyncio.open_connection("127.0.0.1", haproxy.port) for _ in range(4)]
        body = b"POST / HTTP/1.1\r\nHost: a.com\r\nContent-Length: 6\r\nConnection: close\r\n\r\nslowly"
        for _, writer in slow:
            await _slowly(writer, body[:-2])
        said = await _curl(haproxy.port, "http", "--data-binary", "quick")
        assert said.startswith(b"5 5 ")
        for reader, writer in slow:
            writer.write(body[-2:])
            answer = await reader.read()
            assert answer.endswith(f"6 6 {hashlib.sha256(b'slowly').hexdigest()}".encode())
            writer.close()
        for reader, writer in idle:
            await reader.readuntil(b"\r\n\r\n")
            got = await reader.read()
            # In chunks: more than the body itself.
            assert len(got) > SIZE
            assert got.endswith(b"0\r\n\r\n")
            writer.close()

    _run(proxy, check)


async def _slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send three bytes at a time, each in a segment of its own."""
    for first in range(0, len(data), 3):
        writer.write(data[first : first + 3])
        await writer.drain()
        await asyncio.sleep(0.002)
