"""A resource's objects in memory, always the newest: for what every request needs to know.

Source: client-go's reflector, without the network.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from netpod import errors
from netpod.api import meta, registry
from netpod.api.meta import Key, Object
from netpod.apiserver import objects
from netpod.apiserver.storage import Storage
from netpod.store.store import EventType, KeyValue, Revision

T = TypeVar("T", bound=Object)


class Live(Generic[T]):
    """Follows one resource; `changed` is called after each change that was seen."""

    def __init__(
        self, storage: Storage, cls: type[T], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._storage = storage
        self._resource = registry.of(cls)
        self._changed = changed
        self._revision = Revision(0)
        self.objects: dict[Key, T] = {}

    async def load(self) -> None:
        """Read everything anew."""
        page = await self._storage.list(self._resource)
        found = [cast(T, objects.unpack(self._resource, kv)) for kv in page.items]
        self.objects = {meta.key_of(obj): obj for obj in found}
        self._revision = page.revision
        self._changed()

    async def run(self) -> None:
        """Follow for ever, from where `load` ended."""
        while True:
            try:
                watch = await self._storage.watch(self._resource, "", self._revision)
                try:
                    while True:
                        for event in await watch.batch():
                            self._apply(event.type, event.kv.key, event.kv)
                        self._revision = watch.revision
                        self._changed()
                finally:
                    watch.close()
            except errors.Expired:
                await self.load()
            except StopAsyncIteration:
                return
            except errors.ApiError:
                await asyncio.sleep(0.1)

    def _apply(self, type_: EventType, key: str, kv: KeyValue) -> None:
        rest = key.removeprefix(objects.folder(self._resource))
        namespace, _, name = rest.rpartition("/")
        if type_ is EventType.DELETE:
            self.objects.pop(Key(namespace, name), None)
        else:
            self.objects[Key(namespace, name)] = cast(T, objects.unpack(self._resource, kv))
