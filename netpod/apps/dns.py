"""The cluster DNS container: answers names of cluster.local on port 53, UDP and TCP; on port `metrics` how it does.

Environment: KUBECONFIG, how to reach the API server; CLUSTER_DOMAIN, when it is not cluster.local;
DNS_RELAY, a unix socket for names outside the cluster, without which they do not exist.
"""

import asyncio
import logging
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from netpod import web
from netpod.api.runtime import AppContext, pod_ips
from netpod.client.rest import Client
from netpod.dns import source
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.server import Server
from netpod.dns.view import View
from netpod.errors import NetpodError
from netpod.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from aiohttp import web as http

PORT = 53
METRICS = "metrics"


def main(context: AppContext) -> int:
    """Serve until SIGTERM; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(context))
    except NetpodError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


async def _serve(context: AppContext) -> None:
    ports = {port.protocol or "TCP": port.container_port for port in context.ports}
    view = View()
    domain = context.env.get("CLUSTER_DOMAIN", "cluster.local")
    path = context.env.get("DNS_RELAY", "")
    relay = Path(path) if path else None
    handler = Handler(Zone(view, domain, serial=int(time.time())))
    stop, synced = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = Client.kubeconfig(Path(context.env["KUBECONFIG"]))
    try:
        hosts = ["0.0.0.0", *(["::"] if any(":" in it for it in pod_ips(context)) else [])]
        async with Server(handler, hosts, ports.get("UDP", PORT)), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(
                source.run(client, view, handler, synced, relay), name="dns source"
            )
            waiting = tasks.create_task(_announce(context, synced), name="dns ready")
            telling = tasks.create_task(_tell(context, hosts[-1], handler), name="dns metrics")
            await stop.wait()
            for task in (waiting, following, telling):
                task.cancel()
    finally:
        await client.close()


async def _tell(context: AppContext, host: str, handler: Handler) -> None:
    """Answer /metrics on the port of that name, if there is one."""
    number = next((port.container_port for port in context.ports if port.name == METRICS), 0)
    if not number:
        return

    async def answer(request: "http.BaseRequest") -> "http.StreamResponse":
        from aiohttp.web import Response

        if request.path != "/metrics":
            return Response(status=404)
        text = handler.counted.text(*handler.cached())
        return Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server(
            (host, number), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        # Names are answered without it.
        logging.getLogger(__name__).error("cannot listen on port %d: %s", number, error)
        return
    await web.serve(listening, answer)


async def _announce(context: AppContext, synced: asyncio.Event) -> None:
    await synced.wait()
    context.ready()
