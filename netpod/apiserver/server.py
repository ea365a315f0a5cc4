"""The API server: assemble, listen, stop.

It accepts nothing before its pools are rebuilt and the objects every cluster has are there. A client that leaves ends
its watch at once, but never a write half-way: writes run in tasks of the server's own.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from aiohttp import web

from netpod import errors
from netpod.api import meta, registry
from netpod.apiserver import (
    admission,
    answers,
    apply,
    audit,
    authorization,
    bodies,
    bootstrap,
    calls,
    connect,
    deletion,
    documents,
    eviction,
    handlers,
    limits,
    maintenance,
    negotiation,
    objects,
    reading,
    reviews,
    routes,
    selection,
    sharing,
    subresources,
    watch,
    watchwire,
    writeoptions,
)
from netpod.apiserver.access import Access
from netpod.apiserver.allocators import Allocators
from netpod.apiserver.audit import Audit
from netpod.apiserver.authentication import User
from netpod.apiserver.bootstrap import ControlPlane
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.componentstatus import ComponentStatuses
from netpod.apiserver.customkinds import CustomKinds
from netpod.apiserver.dialer import Connector, Dialer
from netpod.apiserver.documents import Documents
from netpod.apiserver.health import Health
from netpod.apiserver.limits import Limits
from netpod.apiserver.measures import Measures
from netpod.apiserver.metrics import Metrics
from netpod.apiserver.serviceaccounts import Tokens
from netpod.apiserver.signing import Signer
from netpod.apiserver.storage import Storage
from netpod.apiserver.writes import Writer
from netpod.ip import Network, host_port
from netpod.store.store import Store

log = logging.getLogger(__name__)

_http_log = logging.getLogger(f"{__name__}.http")
_http_log.setLevel(logging.CRITICAL)
"""aiohttp's words on requests that are no HTTP: one traceback each, which anybody could fill a disk with."""

BACKLOG = 4096
"""Connections that may wait; on a unix socket one more is refused at once, so a storm of clients needs room."""

SHUTDOWN_SECONDS = 2.0
"""How long answers on their way may take when the server stops."""

Write = Callable[[Writer, Call], Awaitable[Reply]]
WRITES: Mapping[str, Write] = {
    "create": handlers.create,
    "update": handlers.update,
    "patch": apply.patched,
    "delete": deletion.delete,
    "deletecollection": deletion.delete_collection,
}
DEFINITIONS = "customresourcedefinitions"
POSTS: Mapping[str, Write] = {"binding": subresources.bind, "eviction": eviction.evict}
"""Subresources that are created and not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that already listens. Whoever reaches it is its `user`; without one, who can show it."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None
    user: User | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """What differs between clusters; `tokens` are bearer tokens and whom they stand for.

    `pki` is the folder of keys; without it the key of ServiceAccount tokens is lost at the end.
    `audit_log` gets a line per request. At most `max_reading` and `max_writing` requests are answered at once, and
    one user has at most `max_watches` watches. A pod that says nothing else stays `toleration_seconds` on a node that
    stopped answering. `running` says of each component beside the server whether it runs.
    """

    service_cidrs: tuple[Network, ...] = (IPv4Network("10.96.0.0/16"),)
    node_ports: range = range(30000, 32768)
    control_plane: ControlPlane = field(
        default_factory=lambda: ControlPlane(address=IPv4Address("172.18.0.2"))
    )
    tokens: Mapping[str, User] = field(default_factory=dict)
    pki: Path | None = None
    audit_log: Path | None = None
    max_reading: int = 400
    max_writing: int = 200
    max_watches: int = 1000
    dialer: Dialer = field(default_factory=Dialer)
    compaction_seconds: float = 300.0
    toleration_seconds: int = admission.TOLERATION_SECONDS
    event_seconds: float = 3600.0
    running: Callable[[], Mapping[str, bool]] = dict


class ApiServer:
    """The Kubernetes API over one store."""

    def __init__(self, store: Store, config: ApiServerConfig) -> None:
        self._store = store
        self._config = config
        self._storage = Storage(store, toleration_seconds=config.toleration_seconds)
        self._allocators = Allocators(config.service_cidrs, config.node_ports)
        self.writer = Writer(self._storage, self._allocators)
        self._access = Access(
            self._storage, config.tokens, Tokens(self._storage, Signer(config.pki))
        )
        self._ids = audit.RequestIds()
        self._audit = Audit(config.audit_log) if config.audit_log is not None else None
        self._limits = Limits(
            reading=config.max_reading, writing=config.max_writing, watches=config.max_watches
        )
        self._custom = CustomKinds(self._storage)
        self._measures = Measures(self._storage)
        self._posts: Mapping[str, Write] = {**POSTS, "token": self._access.tokens.request}
        self._streams: set[watch.Stream] = set()
        self._runners: dict[Listener, web.ServerRunner] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._connector = Connector(config.dialer)
        self._ready = False
        self._metrics = Metrics(lambda: self._limits.now, lambda: len(self._streams))
        control = config.control_plane
        health = Health(lambda: store.get(objects.ROOT), lambda: self._ready)
        self._components = ComponentStatuses(health.stored, config.running)
        self._documents = Documents(
            health,
            self._metrics,
            self._access.tokens,
            lambda: self._custom.resources,
            self._storage,
            f"https://{host_port(control.address, control.port)}",
        )

    async def serve(
        self, listeners: Sequence[Listener], ready: asyncio.Event | None = None
    ) -> None:
        """Serve until cancelled.

        Args:
            listeners: Where; connections made before wait in the sockets' queues.
            ready: Set once requests are answered.
        """
        shared = self._store.shared
        given = await sharing.load(self._storage, self._allocators, shared=shared)
        config = self._config
        await bootstrap.ensure(
            self.writer,
            config.service_cidrs,
            config.control_plane,
            client_ca=_certificate(config.pki, "ca"),
            front_proxy_ca=_certificate(config.pki, "front-proxy-ca"),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._access.start(tasks)
                await self._custom.start(tasks, self.writer)
                tasks.create_task(self._access.gather(self.writer))
                if shared:
                    tasks.create_task(sharing.follow(self._storage, self._allocators, given))
                tasks.create_task(
                    maintenance.run(
                        self._store,
                        self._storage,
                        interval=config.compaction_seconds,
                        event_seconds=config.event_seconds,
                    )
                )
                for listener in listeners:
                    await self.open(listener)
                self._ready = True
                log.info("serving at revision %d", self._store.revision)
                if ready is not None:
                    ready.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    await self._stop()
        finally:
            self._tasks = None

    async def open(self, listener: Listener) -> None:
        """Answer whoever comes through a listener, until it is shut or the server stops."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            seen = audit.Seen(self._ids.of(request.headers))
            answer = self._counted(request, listener, seen)
            if self._audit is not None:
                answer = self._audit.follow(request, seen, answer)
            return await answer

        server = web.Server(
            handle,
            handler_cancellation=True,
            access_log=None,
            logger=_http_log,
            max_line_size=limits.HEADER_LIMIT,
            max_field_size=limits.HEADER_LIMIT,
        )
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        self._runners[listener] = runner
        await runner.setup()
        await web.SockSite(
            runner, listener.socket, ssl_context=listener.tls, backlog=BACKLOG
        ).start()

    async def shut(self, listener: Listener) -> None:
        """Close a listener and what came through it."""
        await self._runners.pop(listener).cleanup()

    async def _stop(self) -> None:
        self._ready = False
        for stream in list(self._streams):
            stream.close()
        for listener in list(self._runners):
            await self.shut(listener)
        await self._connector.close()

    async def _counted(
        self, request: web.BaseRequest, listener: Listener, seen: audit.Seen
    ) -> web.StreamResponse:
        begun = time.monotonic()
        response = await self._handle(request, listener, seen)
        seconds = time.monotonic() - begun
        self._metrics.count(seen.route, request.method, response.status, seconds)
        return response

    async def _handle(
        self, request: web.BaseRequest, listener: Listener, seen: audit.Seen
    ) -> web.StreamResponse:
        try:
            found = await self._answer(request, listener, seen)
        except errors.ApiError as error:
            found = answers.failed(error)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception as error:  # one request's mistake must not end the others
            log.exception("cannot answer %s %s", request.method, request.path)
            found = answers.failed(errors.ApiError(f"Internal error occurred: {error!r}"))
        if isinstance(found, Reply):
            near = listener.user is not None
            return await answers.response(found, request, near=near, audit_id=seen.audit_id)
        return found

    async def _answer(
        self, request: web.BaseRequest, listener: Listener, seen: audit.Seen
    ) -> Reply | web.StreamResponse:
        path = request.path
        if authorization.is_open(path):
            return await self._documents.open(path, request.query)
        user = await self._access.user(
            local=listener.user,
            certificate=request.get_extra_info("peercert") if listener.tls else None,
            headers=request.headers,
        )
        seen.user = user
        local = user is listener.user
        if not routes.is_object(path):
            resourceful = path.startswith(("/api/", "/apis/"))
            if not resourceful:
                await self._access.authorize_path(user, request.method, path)
            reply = await self._documents.find(path, request.headers)
            if reply is not None:
                if resourceful:
                    await self._access.authorize_path(user, request.method, path)
                documents.only_get(request.method)
                return reply
        query = request.query
        try:
            route = routes.parse(request.method, path, query, self._custom.find)
        except errors.ApiError:
            watch = routes.is_true(query.get("watch"))
            await self._access.authorize_unknown(user, request.method, path, watch=watch)
            raise
        seen.route = route
        await self._access.authorize(user, route, selection.only_name(query))
        if route.subresource in connect.SUBRESOURCES:
            return await connect.serve(request, route, self._storage, self._connector)
        if route.verb == "watch":
            with self._limits.watching(user, exempt=local):
                return await self._watch(request, await bodies.call(request, user, route))
        with self._limits.flight(user, route.verb, exempt=local):
            reply = await self._dispatch(await bodies.call(request, user, route))
        if warning := route.resource.warning:
            reply = reply._replace(headers=(*reply.headers, calls.warning(warning)))
        return reply

    async def _dispatch(self, call: Call) -> Reply:
        route = call.route
        if route.resource in registry.MEASURES:
            await self._access.admit(call)
            return await self._measures.answer(call)
        if route.resource is registry.COMPONENT_STATUS:
            return await self._components.answer(call, self._storage.revision)
        if route.verb == "get":
            return await reading.get(self._storage, call, meta.now())
        if route.verb == "list":
            return await reading.list_objects(self._storage, call, meta.now())
        negotiation.wanted(call.accept)
        if route.resource.verbs:
            return await reviews.answer(self._access, call)
        if call.query and route.verb in writeoptions.OPTIONS:
            writeoptions.check_options(call)
        await self._access.admit(call)
        writer = self._access.writer(call.user, self.writer)
        write = self._posts.get(route.subresource) or WRITES[route.verb]
        if write is handlers.create:
            alike = await handlers.create_alike(writer, call)
            if alike is not None:
                return reading.written(call, alike, meta.now())
        assert self._tasks is not None, "requests come while serving"
        # The write outlives the client: it is whole or not at all, and its claims on the pools are settled.
        outcome: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._tasks.create_task(_settle(write(writer, call), outcome))
        reply = await outcome
        if route.resource.plural == DEFINITIONS:
            await self._custom.refresh()
        return reading.written(call, reply, meta.now())

    async def _watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        stream = await watch.Stream.open(self._storage, call)
        self._streams.add(stream)
        try:
            return await watchwire.send(request, stream)
        finally:
            stream.close()
            self._streams.discard(stream)


async def _settle(write: Awaitable[Reply], outcome: asyncio.Future[Reply]) -> None:
    """Tell a write's outcome, if its client still waits; a failure concerns nobody else in the task group."""
    try:
        reply = await write
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - raised again where the client waits
        if not outcome.done():
            outcome.set_exception(error)
    else:
        if not outcome.done():
            outcome.set_result(reply)


def _certificate(folder: Path | None, role: str) -> str:
    """An authority's certificate, PEM; "" where there is none."""
    file = folder / f"{role}.crt" if folder is not None else None
    return file.read_text() if file is not None and file.exists() else ""
