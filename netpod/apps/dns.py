"""The cluster DNS container: answers names of cluster.local on port 53, UDP and TCP.

Environment: KUBECONFIG, how to reach the API server; CLUSTER_DOMAIN, when it is not cluster.local;
DNS_RELAY, a unix socket for names outside the cluster, without which they do not exist.
"""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import uvloop

from netpod.api.runtime import AppContext, pod_ips
from netpod.client.rest import Client
from netpod.dns import source
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.server import Server
from netpod.dns.view import View
from netpod.errors import NetpodError

PORT = 53


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
            await stop.wait()
            waiting.cancel()
            following.cancel()
    finally:
        await client.close()


async def _announce(context: AppContext, synced: asyncio.Event) -> None:
    await synced.wait()
    context.ready()
