"""HTTP answers for load balancers: has this node ready endpoints of that Service, and is its proxy well.

    :healthCheckNodePort   one per Service of type LoadBalancer with externalTrafficPolicy Local; any path
    :10256 /healthz        503 also while the node is being taken away; /livez: the proxy alone
    127.0.0.1:10249        /metrics, /proxyMode

Source: kubernetes pkg/proxy/healthcheck/service_health.go, proxy_health.go.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from netpod.api import meta
from netpod.api.meta import Key
from netpod.ip import Family
from netpod.linux import netns
from netpod.metrics import CONTENT_TYPE
from netpod.proxy.metrics import Metrics
from netpod.proxy.model import Model

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Text = Callable[[], bytes]
_CLOSE_SECONDS = 0.5
"""What answers on their way get to finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """What one healthCheckNodePort tells: whose it is, and how many distinct ready endpoints are here."""

    service: Key
    local_endpoints: int


def observe(model: Model) -> dict[int, ServiceHealth]:
    """Answers by healthCheckNodePort. Terminating endpoints do not count, so that balancers drain in time."""
    ports: dict[int, Key] = {}
    ready: dict[Key, set[str]] = {}
    for name, port in model.services.items():
        if not port.health_check_node_port:
            continue
        ports[port.health_check_node_port] = name.service
        here = ready.setdefault(name.service, set())
        here.update(str(e.ip) for e in model.endpoints[name] if e.ready and e.is_local)
    return {
        number: ServiceHealth(service=service, local_endpoints=len(ready[service]))
        for number, service in ports.items()
    }


class HealthServers:
    """The HTTP servers of one node's proxy.

    Args:
        namespace: Network namespace to listen in; "" is this process's own.
        healthy: Whether the proxy keeps up.
        eligible: Whether the node should get traffic at all.
        metrics: Where answers are counted, and when the last sync was.
        family: Of the addresses to listen on.
    """

    def __init__(
        self,
        namespace: str,
        healthy: Callable[[], bool],
        eligible: Callable[[], bool] = lambda: True,
        metrics: Metrics | None = None,
        family: Family = Family.IPV4,
    ) -> None:
        self._netns = namespace
        self._healthy = healthy
        self._eligible = eligible
        self._metrics = metrics or Metrics()
        self._anywhere = "::" if family is Family.IPV6 else "0.0.0.0"
        self._answers: Mapping[int, ServiceHealth] = {}
        self._servers: dict[int, _Listening] = {}

    async def update(self, answers: Mapping[int, ServiceHealth]) -> None:
        """Listen on exactly these ports. A port that cannot be opened is logged and tried at the next update."""
        self._answers = answers
        for number in self._servers.keys() - answers.keys():
            await self._servers.pop(number).close()
        for number in answers.keys() - self._servers.keys():
            try:
                self._servers[number] = await self._listen(number, self._service)
            except OSError as error:
                log.warning("cannot listen on health check node port %d: %s", number, error)

    async def serve_healthz(self, number: int) -> None:
        """Answer /healthz and /livez on every address until cancelled."""
        await self._serve("healthz", number, self._proxy)

    async def serve_metrics(
        self, address: str, number: int, mode: Callable[[], str], text: Text
    ) -> None:
        """Answer /metrics, /proxyMode and /healthz until cancelled.

        Args:
            address: Of this node, or of all of it: 0.0.0.0, ::.
            number: TCP port.
            mode: The mode of now.
            text: All metrics in Prometheus' text format.
        """

        async def answer(request: web.BaseRequest) -> web.Response:
            if request.path == "/metrics":
                return web.Response(body=text(), headers={"Content-Type": CONTENT_TYPE})
            known: dict[str, Callable[[], str]] = {"/proxyMode": mode, "/healthz": lambda: "ok"}
            said = known.get(request.path)
            if said is None:
                return web.Response(status=404)
            return web.Response(text=said(), headers={"X-Content-Type-Options": "nosniff"})

        await self._serve("metrics", number, answer, address)

    async def _serve(self, what: str, number: int, handler: Handler, address: str = "") -> None:
        """Serve until cancelled; a port that is taken is tried again every few seconds."""
        while True:
            try:
                server = await self._listen(number, handler, address)
                break
            except OSError as error:
                log.warning("cannot listen on %s port %d: %s", what, number, error)
                await asyncio.sleep(5)
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        while self._servers:
            await self._servers.popitem()[1].close()

    async def _listen(self, number: int, handler: Handler, address: str = "") -> "_Listening":
        sock = await asyncio.to_thread(
            netns.call_in, self._netns, _bound, number, address or self._anywhere
        )
        http = web.Server(handler)
        server = await asyncio.get_running_loop().create_server(http, sock=sock)
        return _Listening(server, http)

    async def _service(self, request: web.BaseRequest) -> web.Response:
        number = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        answer = self._answers.get(number)
        if answer is None:
            return web.Response(status=404)
        healthy = self._healthy()
        body = {
            "service": {"namespace": answer.service.namespace, "name": answer.service.name},
            "localEndpoints": answer.local_endpoints,
            "serviceProxyHealthy": healthy,
        }
        return _json(200 if healthy and answer.local_endpoints else 503, body)

    async def _proxy(self, request: web.BaseRequest) -> web.Response:
        if request.path not in ("/healthz", "/livez"):
            return web.Response(status=404)
        healthy = self._healthy()
        now = meta.now()
        last = datetime.fromtimestamp(self._metrics.last_sync, UTC)
        # As upstream: whoever keeps up was updated just now, even if nothing has changed for long.
        body: dict[str, object] = {
            "lastUpdated": _time(now if healthy else last),
            "currentTime": _time(now),
        }
        if request.path == "/healthz":
            body["nodeEligible"] = self._eligible()
            healthy = healthy and self._eligible()
        code = 200 if healthy else 503
        self._metrics.answered(request.path.removeprefix("/"), code)
        return _json(code, body)


@dataclass(frozen=True, slots=True)
class _Listening:
    """A port that is listened on, and the connections made to it."""

    server: asyncio.Server
    http: web.Server

    async def close(self) -> None:
        self.server.close()
        # Closing a server leaves its connections open; balancers keep theirs alive between two questions.
        await self.http.shutdown(_CLOSE_SECONDS)


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/json",
        headers={"X-Content-Type-Options": "nosniff"},
    )


def _time(moment: datetime) -> str:
    """As Go prints a time."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")


def _bound(number: int, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            # The other family's proxy listens on the same number.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((address, number))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock
