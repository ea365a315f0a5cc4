"""What other API servers on the same store give out: cluster IPs and node ports that this one must not give out again.

Each server has pools of its own (allocators.py) and follows all Services. It begins somewhere else in its pools than
the others, so that two which allocate in the milliseconds before they hear of each other do not choose the same.
"""

import asyncio
import random
from typing import cast

from netpod import errors
from netpod.api import registry
from netpod.api.service import Service
from netpod.apiserver import objects
from netpod.apiserver.allocators import Allocators
from netpod.apiserver.storage import Storage
from netpod.store.store import Event, EventType, Revision

SERVICES = registry.of(Service)
_PAUSE_SECONDS = 0.1


async def load(storage: Storage, allocators: Allocators, *, shared: bool) -> Revision:
    """Mark what stored Services use, and begin somewhere where others may use the store.

    Returns:
        The revision of these Services.
    """
    if shared:
        allocators.scatter(random.SystemRandom())
    page = await storage.list(SERVICES)
    allocators.adopt(cast(Service, objects.unpack(SERVICES, kv)) for kv in page.items)
    return page.revision


async def follow(storage: Storage, allocators: Allocators, since: Revision) -> None:
    """Keep the pools up with all that happens to Services after a revision, for ever."""
    while True:
        try:
            watch = await storage.watch(SERVICES, "", since)
            try:
                while True:
                    for event in await watch.batch():
                        _apply(allocators, event)
                    since = watch.revision
            finally:
                watch.close()
        except (errors.Expired, StopAsyncIteration):
            # What went meanwhile stays taken until a restart, which costs a number, not a mistake.
            await asyncio.sleep(_PAUSE_SECONDS)
            since = await load(storage, allocators, shared=False)
        except errors.ApiError:
            await asyncio.sleep(_PAUSE_SECONDS)


def _apply(allocators: Allocators, event: Event) -> None:
    if event.type is EventType.DELETE:
        allocators.forget(cast(Service, objects.unpack(SERVICES, event.previous or event.kv)))
    else:
        allocators.adopt([cast(Service, objects.unpack(SERVICES, event.kv))])
