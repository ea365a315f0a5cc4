"""UDP and TCP sockets of the name server.

Source: RFC 1035, section 4.2; RFC 7766 (several queries on one TCP connection).
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from netpod.dns import forward
from netpod.dns.handler import Elsewhere, Handler
from netpod.dns.querylog import QueryLog
from netpod.errors import NetpodError
from netpod.ip import host_port

log = logging.getLogger(__name__)
TCP_IDLE_SECONDS = 10.0
TCP_CONNECTIONS = 256


class CannotListen(NetpodError):
    """The address is taken, or not ours."""


class Server:
    """Listens on one address or several, UDP and TCP on the same port; use as `async with`.

    Args:
        handler: Who answers.
        hosts: Addresses to listen on.
        port: 0 takes a free one, see the attribute of the same name.
    """

    def __init__(self, handler: Handler, hosts: Sequence[str], port: int) -> None:
        self._handler = handler
        self._log = QueryLog()
        self._hosts = hosts
        self.port = port
        self._udp: list[asyncio.DatagramTransport] = []
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks = asyncio.TaskGroup()
        self._pending = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._stop: asyncio.Future[None]

    async def __aenter__(self) -> "Server":
        loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        self._stop = loop.create_future()
        self._tasks.create_task(self._stopped(), name="dns server")
        try:
            self._tcp = await asyncio.start_server(self._stream, self._hosts, self.port)
            self.port = self._tcp.sockets[0].getsockname()[1]
            for host in self._hosts:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), sock=_datagram_socket(host, self.port)
                )
                self._udp.append(transport)
        except OSError as error:
            await self.__aexit__()
            where = [host_port(host, self.port) for host in self._hosts]
            raise CannotListen(f"cannot listen on {', '.join(where)}: {error.strerror}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._udp:
            transport.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in list(self._connections):
            writer.close()
        if not self._stop.done():
            self._stop.set_result(None)
        for task in list(self._asking):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _stopped(self) -> None:
        await self._stop

    def answer_datagram(self, data: bytes, send: Callable[[bytes], None]) -> None:
        """Answer a query at once, or later when somebody else has to be asked."""
        response = self._handler.respond(data, tcp=False)
        if isinstance(response, bytes):
            send(response)
            return
        task = self._tasks.create_task(self._later(data, response, send), name="dns forward")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def note(
        self, client: Any, query: bytes, response: bytes, began_ns: int, *, tcp: bool = False
    ) -> None:
        """Count an answer, and write it into the query log, if there is one."""
        family, proto = "2" if ":" in client[0] else "1", "tcp" if tcp else "udp"
        took = time.perf_counter_ns() - began_ns
        self._handler.counted.answered(family, proto, query, response, took)
        if self._handler.rules.log:
            self._log.note(client, query, response, began_ns, tcp=tcp)

    async def _later(
        self, data: bytes, elsewhere: Elsewhere, send: Callable[[bytes], None]
    ) -> None:
        send(await self._ask(data, elsewhere, tcp=False))

    async def _ask(self, data: bytes, elsewhere: Elsewhere, *, tcp: bool) -> bytes:
        """Ask somebody else; when nobody answers that is SERVFAIL."""
        if self._pending >= forward.PENDING:
            self._handler.counted.refused += 1
            return elsewhere.failed
        self._pending += 1
        told = self._handler.counted.forwarded
        try:
            return await forward.ask(self._handler.rules, elsewhere.name, data, tcp=tcp, told=told)
        except OSError as error:
            log.info("cannot forward a query for %s: %s", elsewhere.name, error)
            return elsewhere.failed
        finally:
            self._pending -= 1

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
                began = time.perf_counter_ns()
                response = self._handler.respond(query, tcp=True)
                if not isinstance(response, bytes):
                    response = await self._ask(query, response, tcp=True)
                if not response:
                    return
                client = writer.get_extra_info("peername")
                self.note(client, query, response, began, tcp=True)
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return
        finally:
            self._connections.discard(writer)
            writer.close()


def _datagram_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        began = time.perf_counter_ns()

        def send(response: bytes) -> None:
            if response and self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(response, addr)
                self._server.note(addr, data, response, began)

        self._server.answer_datagram(data, send)

    def error_received(self, exc: Exception) -> None:
        # An ICMP error about an answer that nobody waits for any more.
        log.debug("cannot send an answer: %s", exc)
