"""How scheduler and controller-manager do, on their ports of the control plane's node: /metrics and /healthz, by TLS.

    :10257   kube-controller-manager        :10259   kube-scheduler

Both are in the control plane's process; a cluster made by kubeadm has them there too, as pods of the node's network.
Health is for everybody, metrics are for whoever may `get` the path.

Source: kubernetes cmd/kube-scheduler/app, cmd/kube-controller-manager/app, pkg/cluster/ports.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpod import metrics
from netpod import web as server
from netpod.client import delegated
from netpod.client.rest import Client
from netpod.errors import ApiError, NetpodError
from netpod.web import Tls

if TYPE_CHECKING:
    import socket

    from aiohttp import web
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
_HEALTH = ("/healthz", "/livez", "/readyz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One of the two.

    Attributes:
        port: Where it is asked.
        client: Asks the API server, as the component, who may read.
        families: What it counts.
        running: Whether it works.
    """

    port: int
    client: Client
    families: "Callable[[], Iterable[Metric]]"
    running: Callable[[], bool]


async def run(
    components: Iterable[Component],
    listen: "Callable[[int], socket.socket]",
    tls: Tls,
) -> None:
    """Answer until cancelled; a port that is taken is said in the log, and the others answer.

    Args:
        components: Who is asked.
        listen: Makes a listening socket of a port.
        tls: What the server proves itself with.
    """
    async with asyncio.TaskGroup() as tasks:
        for component in components:
            try:
                listening = listen(component.port)
            except NetpodError as error:
                log.error("%s", error)
                continue
            page = _Page(component)
            tasks.create_task(server.serve(listening, page.answer, tls), name="monitoring")


class _Page:
    def __init__(self, component: Component) -> None:
        self._component = component
        self._started = time.time()

    async def answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        """Answer one request."""
        from aiohttp import web

        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        if request.path in _HEALTH:
            healthy = self._component.running()
            return web.Response(status=200 if healthy else 500, text="ok" if healthy else "stopped")
        try:
            await delegated.check(
                self._component.client, request, f"path={request.path}", {"path": request.path}
            )
        except ApiError as error:
            return web.Response(status=error.code, text=str(error))
        if request.path != "/metrics":
            return web.Response(status=404)
        own = metrics.process(self._started)
        body = metrics.text([*self._component.families(), *own])
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})
