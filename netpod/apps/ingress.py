"""The ingress container: HAProxy and its controller, as an ordinary pod.

Environment: KUBECONFIG, how to reach the API server; DEFAULT_CERTIFICATE, a PEM file for hosts without one of their
own. HTTP listens on the declared port named `http`, else on 80; HTTPS on the one named `https`, if there is one.
GET /healthz and, for Prometheus, /metrics answer on the declared port named `health`, if there is one.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from netpod.api.runtime import AppContext, pod_ips
from netpod.client.rest import Client
from netpod.errors import NetpodError
from netpod.ingress.controller import Controller
from netpod.ingress.reload import Haproxy
from netpod.paths import Paths

HTTP_PORT = 80


def main(context: AppContext) -> int:
    """Serve until SIGTERM; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(context))
    except BaseExceptionGroup as group:
        known, defects = group.split(NetpodError)
        if known is None or defects is not None:
            raise
        _complain(known)
        return 1
    except NetpodError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def _complain(group: BaseExceptionGroup[NetpodError]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(error)
        else:
            logging.getLogger(__name__).error("%s", error)


async def _serve(context: AppContext) -> None:
    ports = {port.name: port.container_port for port in context.ports}
    health = ports.get("health")
    https = ports.get("https")
    certificate = context.env.get("DEFAULT_CERTIFICATE", "")
    addresses = pod_ips(context)
    client = Client.kubeconfig(Path(context.env["KUBECONFIG"]))
    haproxy = Haproxy(
        Paths(context.cluster).run / "ingress" / f"{context.uid[:8]}-{os.getpid()}",
        listen=("0.0.0.0", ports.get("http", HTTP_PORT)),
        tls=("0.0.0.0", https) if https and certificate else None,
        certificate=Path(certificate).read_text() if certificate else "",
        six=any(":" in it for it in addresses),
        sources=addresses,
        health=f"0.0.0.0:{health}" if health else "",
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    controller = Controller(client, haproxy, ready=context.ready)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(haproxy.run(), name="haproxy"),
                tasks.create_task(controller.run(), name="ingress controller"),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
    finally:
        await client.close()
