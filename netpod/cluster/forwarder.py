"""Carries connections from this machine's 127.0.0.1 into the cluster, as a client outside the cluster.

The socket towards the cluster is opened in the outside's namespace, so a request walks the whole data path: edge,
load balancer, node port, ingress. Bytes are copied as they come; neither side is read faster than the other takes.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from netpod.api import meta
from netpod.api.node import Node, internal_ip
from netpod.api.service import Service
from netpod.client.informer import Informers
from netpod.cloud.edge import LABEL_EXCLUDE
from netpod.cluster import publish
from netpod.cluster.config import ClusterConfig
from netpod.cluster.publish import Publication, Published
from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import netns

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
CONNECTIONS = 1024
_CHUNK = 1 << 16

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Stream]]


async def run(config: ClusterConfig, informers: Informers) -> None:
    """Forward until cancelled. A port that somebody else has is left to him, and that is written down."""
    services = informers.of(Service)
    nodes = informers.of(Node)
    published = []
    async with contextlib.AsyncExitStack() as stack:
        for each in publish.parse(config.publish):
            dial = _dialer(
                config, partial(services.get, *each.service), each, lambda: _ready(nodes.values())
            )
            try:
                carrier = Carrier(dial)
                server = await asyncio.start_server(carrier.serve, publish.ADDRESS, each.listen)
            except OSError as error:
                # asyncio's own text repeats the address.
                cause = os.strerror(error.errno or 0).lower()
                published.append(Published(listen=each.listen, target=each.target, error=cause))
                log.warning("%s", published[-1].said)
                continue
            stack.push_async_callback(_stop, server)
            listen = server.sockets[0].getsockname()[1]
            published.append(Published(listen=listen, target=each.target))
        publish.save(config.paths, published)
        await asyncio.Event().wait()


def _ready(nodes: Iterable[Node]) -> list[str]:
    """Addresses of the nodes whose node ports are worth a try."""
    found = (
        internal_ip(node)
        for node in nodes
        if LABEL_EXCLUDE not in node.metadata.labels
        and (ready := meta.condition(node.status.conditions, "Ready")) is not None
        and ready.status == "True"
    )
    return [address for address in found if address]


async def _stop(server: asyncio.Server) -> None:
    server.close()


def _dialer(
    config: ClusterConfig,
    find: Callable[[], Service | None],
    what: Publication,
    nodes: Callable[[], list[str]],
) -> Dial:
    async def dial() -> Stream:
        for way in publish.ways(find(), what.port, nodes()):
            stand = config.paths.netns_node(config.nodes[0].name) if way.inside else ""
            try:
                return await connect(stand or config.paths.netns_outside, way.ip, way.port)
            except (OSError, KernelError) as error:
                log.info("cannot reach %s at %s:%d: %s", what.target, way.ip, way.port, error)
        raise ConnectionRefusedError(f"nothing answers for {what.target}")

    return dial


async def connect(namespace: str, ip: str, port: int) -> Stream:
    """Open a connection from a network namespace.

    Raises:
        OSError: nobody answers; TimeoutError is one.
        KernelError: there is no such namespace.
    """
    family = Family.IPV6 if ":" in ip else Family.IPV4
    sock = netns.socket_in(namespace, family.af, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (ip, port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


class Carrier:
    """Carries each connection that comes to one that `dial` opens."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._open = 0

    async def serve(self, near: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry one connection until both sides have ended; an error of one resets the other."""
        server: asyncio.StreamWriter | None = None
        self._open += 1
        try:
            if self._open > CONNECTIONS:
                return
            far, server = await self._dial()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(near, server), name="to the cluster")
                tasks.create_task(_copy(far, client), name="from the cluster")
        except* (OSError, KernelError) as group:
            log.debug("a connection ended: %s", group.exceptions[0])
            for writer in (client, server):
                if writer is not None:
                    _reset(writer)
        finally:
            self._open -= 1
            for writer in (client, server):
                if writer is not None:
                    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its peer cannot take it for the end of an answer. Source: socket(7), SO_LINGER."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end of one direction, and say that it has ended; the other one goes on."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if not writer.is_closing():
        writer.write_eof()
