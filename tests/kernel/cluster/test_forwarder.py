"""Connections carried from here to a namespace: whole, both ways, one direction at a time."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from netpod.cluster import forwarder
from netpod.cluster.forwarder import Carrier
from netpod.linux import link, netns

PLACE = "npdev-forwarder"


@pytest.fixture
def place() -> Iterator[str]:
    """A namespace of its own, in which something listens."""
    netns.ensure_netns(PLACE)
    link.set_link(PLACE, "lo", up=True)
    yield PLACE
    netns.delete_netns(PLACE)


@asynccontextmanager
async def _carried(port: int) -> AsyncIterator[int]:
    """Give a port here that leads to a port there."""
    carrier = Carrier(lambda: forwarder.connect(PLACE, "127.0.0.1", port))
    server = await asyncio.start_server(carrier.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _listening(name: str) -> socket.socket:
    sock = netns.socket_in(name, socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def test_bytes_pass_both_ways_and_each_end_by_itself(place: str) -> None:
    """A client that has sent all of its request and closed that direction still gets the whole answer."""

    async def check() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got = await reader.read()
            writer.write(got[::-1])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, sock=_listening(place))
        async with _carried(server.sockets[0].getsockname()[1]) as port, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = bytes(range(256)) * 8192
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent[::-1]
            writer.close()
        server.close()

    asyncio.run(check())


def test_a_slow_reader_slows_the_writer(place: str) -> None:
    """Nobody collects what the other side does not take: writing stops until it is read."""

    async def check() -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            try:
                while True:
                    writer.write(bytes(1 << 16))
                    await writer.drain()
                    written += 1 << 16
            except ConnectionError:
                ended.set()
            finally:
                writer.close()

        written, ended = 0, asyncio.Event()
        server = await asyncio.start_server(flood, sock=_listening(place))
        async with _carried(server.sockets[0].getsockname()[1]) as port, asyncio.timeout(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            before = -1
            while written != before:
                before = written
                await asyncio.sleep(0.2)
            assert written < 32 << 20
            # The client goes away; so does the connection behind.
            writer.transport.abort()
            await asyncio.sleep(0)
            await ended.wait()
        server.close()

    asyncio.run(check())


def test_nobody_there_resets_the_client(place: str) -> None:
    """When nothing answers in the cluster, the client is not left waiting."""

    async def check() -> None:
        async with _carried(9) as port, asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(ConnectionError):
                assert await reader.read() == b"never"
            writer.close()

    asyncio.run(check())
