"""UDP and TCP sockets of the name server.

Source: RFC 1035, section 4.2; RFC 7766 (several queries on one TCP connection).
"""

import asyncio
import logging
from typing import Any

from netpod.dns.handler import Handler
from netpod.errors import NetpodError

log = logging.getLogger(__name__)
TCP_IDLE_SECONDS = 10.0
TCP_CONNECTIONS = 256


class CannotListen(NetpodError):
    """The address is taken, or not ours."""


class Server:
    """Listens on one address, UDP and TCP on the same port; use as `async with`.

    Args:
        handler: Who answers.
        host: Address to listen on.
        port: 0 takes a free one, see the attribute of the same name.
    """

    def __init__(self, handler: Handler, host: str, port: int) -> None:
        self._handler = handler
        self._host = host
        self.port = port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Server":
        loop = asyncio.get_running_loop()
        try:
            self._tcp = await asyncio.start_server(self._stream, self._host, self.port)
            self.port = self._tcp.sockets[0].getsockname()[1]
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._handler), local_addr=(self._host, self.port)
            )
        except OSError as error:
            await self.__aexit__()
            raise CannotListen(
                f"cannot listen on {self._host}:{self.port}: {error.strerror}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in list(self._connections):
            writer.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the queries of one connection, each after its length in two bytes."""
        if len(self._connections) >= TCP_CONNECTIONS:
            writer.close()
            return
        self._connections.add(writer)
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    query = await reader.readexactly(size)
                response = self._handler.respond(query, tcp=True)
                if not response:
                    return
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return
        finally:
            self._connections.discard(writer)
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        response = self._handler.respond(data, tcp=False)
        if response and self._transport is not None:
            self._transport.sendto(response, addr)

    def error_received(self, exc: Exception) -> None:
        # An ICMP error about an answer that nobody waits for any more.
        log.debug("cannot send an answer: %s", exc)
