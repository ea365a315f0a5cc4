"""Keeps a View up to date from the API server."""

import asyncio
import logging
from pathlib import Path

from netpod.api.core import ConfigMap, Namespace
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import key_of
from netpod.api.service import Service
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.dns import forward
from netpod.dns.handler import Handler
from netpod.dns.view import View

CONFIG = ("kube-system", "dns")
"""The ConfigMap with stub domains and hosts."""
log = logging.getLogger(__name__)


async def run(
    client: Client, view: View, handler: Handler, synced: asyncio.Event, relay: Path | None = None
) -> None:
    """Follow the cluster forever; the handler answers, and `synced` is set, when all is in the view once.

    While the API server is away the view stays as it was, so names go on resolving.
    """
    informers = Informers(client)
    namespaces = informers.of(Namespace)
    services = informers.of(Service)
    slices = informers.of(EndpointSlice)
    # Not waited for: names of the cluster need no configuration.
    settings = Informers(client)
    handler.rules = forward.rules({}, relay)
    configs = settings.of(
        ConfigMap, namespace=CONFIG[0], field_selector=f"metadata.name={CONFIG[1]}"
    )
    configs.subscribe(lambda old, new: _configure(handler, new, relay))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run(), name="dns informers")
        tasks.create_task(settings.run(), name="dns configuration")
        await informers.wait_synced()
        namespaces.subscribe(lambda old, new: _namespace(view, old, new))
        services.subscribe(lambda old, new: _service(view, old, new))
        slices.subscribe(view.set_slice)
        handler.synced = True
        synced.set()
        log.info("serving %d Services", len(services.values()))


def _namespace(view: View, old: Namespace | None, new: Namespace | None) -> None:
    present = new or old
    if present is not None:
        view.set_namespace(present.metadata.name, new is not None)


def _configure(handler: Handler, new: ConfigMap | None, relay: Path | None) -> None:
    handler.rules = forward.rules(new.data if new is not None else {}, relay)
    for problem in handler.rules.problems:
        log.warning("ConfigMap %s/%s: %s", *CONFIG, problem)


def _service(view: View, old: Service | None, new: Service | None) -> None:
    present = new or old
    if present is not None:
        view.set_service(key_of(present), new)
