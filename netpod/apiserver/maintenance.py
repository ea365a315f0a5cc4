"""What keeps store and process small: compaction of history, Events that are past their hour, memory that is free.

Nothing happens in an interval without writes, so an idle cluster stays idle.

Source: k8s.io/apiserver pkg/storage/etcd3/compact.go (every 5 minutes); kube-apiserver --event-ttl (1 h).
"""

import asyncio
import ctypes
import logging
from datetime import datetime, timedelta

from netpod import errors
from netpod.api import meta, registry
from netpod.api.core import Event
from netpod.apiserver import objects
from netpod.apiserver.storage import Storage
from netpod.store.store import Store

log = logging.getLogger(__name__)


async def run(store: Store, storage: Storage, *, interval: float, event_seconds: float) -> None:
    """Every `interval` forget history older than one, and Events older than `event_seconds`, and give memory back."""
    before = store.revision
    while True:
        await asyncio.sleep(interval)
        if store.revision == before:
            continue
        try:
            await store.compact(before)
            await expire_events(storage, meta.now() - timedelta(seconds=event_seconds))
        except errors.ApiError as error:
            log.warning("cannot compact the store: %s", error)
        before = store.revision
        give_back()


def give_back() -> None:
    """Return pages to the machine that hold nothing any more.

    glibc keeps a free page between two blocks in use, and over some hundred thousand requests of all sizes these become
    megabytes (docs/api-server.md). Other C libraries have no such function, and need none.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def expire_events(storage: Storage, older_than: datetime) -> int:
    """Delete Events last seen before a moment.

    Returns:
        How many went.
    """
    resource = registry.of(Event)
    limit = meta.timestamp(older_than)
    expired = 0
    for kv in (await storage.list(resource)).items:
        data = objects.parsed(kv)
        seen = data.get("lastTimestamp") or data.get("eventTime")
        if str(seen or data["metadata"]["creationTimestamp"]) >= limit:
            continue
        try:
            await storage.delete(resource, kv)
        except errors.ApiError:
            continue
        expired += 1
    return expired
