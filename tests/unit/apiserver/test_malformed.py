"""Bytes that are no TLS, and frames that are no WebSocket's: they end their own connection, and nobody else's."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from netpod.api import meta
from netpod.apiserver import pki
from netpod.apiserver.server import Listener
from tests.unit.apiserver.support import Api, serving

HELLO = bytes.fromhex("16030100a10100009d0303") + bytes(range(32)) + b"\x00" * 30
RECORDS = (
    b"",
    b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x00" * 500,
    os.urandom(2000),
    HELLO,
    HELLO[:20],
    b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x05hello",
    b"\x80\x2e\x01\x00\x02" + b"\x00" * 50,
)
"""Nothing at all, plain HTTP, noise, a cut hello, a record that is too long, an alert, data first, SSL 2."""

FRAMES = (
    b"\x81\x05hello",
    b"\xf1\x80\x00\x00\x00\x00",
    b"\x83\x80\x00\x00\x00\x00",
    b"\x80\x80\x00\x00\x00\x00",
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
    b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
    b"\x09\x80\x00\x00\x00\x00",
    b"\x89\xfe\x01\x00\x00\x00\x00\x00" + b"x" * 256,
    b"\x88\x81\x00\x00\x00\x00x",
    b"\x88\x82\x00\x00\x00\x00\x00\x01",
    b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    b"\x01\x81\x00\x00\x00\x00a" * 3,
    os.urandom(300),
)
"""Unmasked, reserved bits and opcodes, a continuation of nothing, endless, pings in parts and too long, bent closes."""


@contextlib.asynccontextmanager
async def tls(api: Api, folder: Path) -> AsyncIterator[int]:
    """The port of a TLS listener of the server."""
    authority = pki.Authority(folder / "pki", meta.now())
    listening = socket.create_server(("127.0.0.1", 0))
    context = authority.server_context(pki.server_names([]))
    listener = Listener(socket=listening, tls=context)
    await api.server.open(listener)
    yield listening.getsockname()[1]


async def says(port: int, data: bytes) -> bytes:
    """What the server answers until it closes; "" when it says nothing for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
    writer.close()
    return answer


def test_what_is_no_tls_ends_its_own_connection_only(tmp_path: Path) -> None:
    """None of it gets an answer in HTTP; a client that speaks TLS is served before and after; no socket stays open."""

    async def body() -> None:
        async with asyncio.timeout(60), serving(tmp_path) as api, tls(api, tmp_path) as port:
            trusting = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))
            url = f"https://127.0.0.1:{port}/version"
            before = len(os.listdir("/proc/self/fd"))
            for record in RECORDS:
                assert b"HTTP/" not in await says(port, record)
                async with aiohttp.request("GET", url, ssl=trusting) as answer:
                    assert answer.status == 200
            # What the server still closes takes a moment.
            while len(os.listdir("/proc/self/fd")) > before:
                await asyncio.sleep(0.01)

    asyncio.run(body())


def test_old_tls_is_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the oldest that is spoken."""

    async def body() -> None:
        async with asyncio.timeout(30), serving(tmp_path) as api, tls(api, tmp_path) as port:
            context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))
            context.set_ciphers("ALL:@SECLEVEL=0")
            for version, spoken in (
                (ssl.TLSVersion.TLSv1_2, True),
                (ssl.TLSVersion.TLSv1_1, False),
            ):
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = version
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                except (ssl.SSLError, ConnectionError):
                    assert not spoken
                else:
                    assert spoken
                    writer.close()

    with pytest.warns(DeprecationWarning, match="TLSv1"):
        asyncio.run(body())


@pytest.mark.parametrize("frames", FRAMES, ids=range(len(FRAMES)))
def test_what_is_no_websocket_ends_its_own_watch_only(tmp_path: Path, frames: bytes) -> None:
    """A watch over a WebSocket that goes on with nonsense: it ends, another watch goes on, the server has none more."""

    async def body() -> None:
        async with asyncio.timeout(30), serving(tmp_path) as api:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
            key = base64.b64encode(bytes(16)).decode()
            writer.write(
                b"GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            async with api.watch("/api/v1/namespaces") as event:
                with contextlib.suppress(ConnectionError):
                    writer.write(frames)
                    await writer.drain()
                    writer.write_eof()
                    while await reader.read(65536):
                        pass
                writer.close()
                await api.create("/api/v1/namespaces", {"metadata": {"name": "after"}})
                while (await event())["object"]["metadata"]["name"] != "after":
                    pass

    asyncio.run(body())
