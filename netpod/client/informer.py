"""List + watch -> a local cache that handlers follow; one watch per kind and selector in a process.

A cache never waits for the API server: when that is down the cache stays as it was, and after it is back
the cache is brought up to date by the difference, so handlers see every change that remained.

Source: client-go tools/cache/reflector.go, shared_informer.go.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from netpod.api import registry
from netpod.api.meta import Key, Object, key_of
from netpod.client.rest import Client
from netpod.errors import ApiError, Expired

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Object)
_RETRY_SECONDS = (0.02, 1.0)


class Informer(Generic[T]):
    """Objects of one kind (and selector) as last seen. Read and subscribe from the loop's thread only."""

    def __init__(
        self,
        client: Client,
        cls: type[T],
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
    ) -> None:
        self._client = client
        self._cls = cls
        self._namespace = namespace
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._objects: dict[Key, T] = {}
        self._handlers: list[Callable[[T | None, T | None], None]] = []
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the first list has arrived."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until the first list has arrived."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object as last seen."""
        return self._objects.get(Key(namespace, name))

    def values(self) -> list[T]:
        """Return all objects as last seen."""
        return list(self._objects.values())

    def in_namespace(self, namespace: str) -> list[T]:
        """Return the objects of one namespace as last seen."""
        return [obj for key, obj in self._objects.items() if key.namespace == namespace]

    def subscribe(self, handler: Callable[[T | None, T | None], None]) -> None:
        """Call `handler(old, new)` for each change; at once with (None, new) for what is there."""
        self._handlers.append(handler)
        for obj in self.values():
            handler(None, obj)

    async def run(self) -> None:
        """Follow the API server forever; every failure but cancellation is retried."""
        pause = _RETRY_SECONDS[0]
        while True:
            try:
                version = await self._relist()
                pause = _RETRY_SECONDS[0]
                while True:
                    version = await self._follow(version)
            except Expired:
                continue
            except ApiError as error:
                log.debug("watch of %s: %s", registry.of(self._cls).plural, error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _RETRY_SECONDS[1])

    def empty(self) -> None:
        """Forget all objects, as if each had been deleted: nobody follows the kind any more."""
        for key in list(self._objects):
            self._set(key, None)

    async def _relist(self) -> str:
        listing = await self._client.list(
            self._cls,
            self._namespace,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
        )
        fresh = {key_of(obj): obj for obj in listing.items}
        for key in self._objects.keys() - fresh.keys():
            self._set(key, None)
        for key, obj in fresh.items():
            old = self._objects.get(key)
            if old is None or old.metadata.resource_version != obj.metadata.resource_version:
                self._set(key, obj)
        self._synced.set()
        return listing.resource_version

    async def _follow(self, version: str) -> str:
        """Watch from `version` until the stream ends in order; return the version reached."""
        async for event in self._client.watch(
            self._cls,
            self._namespace,
            resource_version=version,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
        ):
            version = event.object.metadata.resource_version
            if event.type != "BOOKMARK":
                gone = event.type == "DELETED"
                self._set(key_of(event.object), None if gone else event.object)
        return version

    def _set(self, key: Key, new: T | None) -> None:
        old = self._objects.pop(key, None)
        if new is not None:
            self._objects[key] = new
        elif old is None:
            return
        for handler in self._handlers:
            handler(old, new)


class Informers:
    """The informers of one process, each started once however many ask for it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[tuple[type[Object], str, str, str], Informer[Any]] = {}
        self._waiting: asyncio.Queue[Informer[Any]] = asyncio.Queue()
        self._tasks: dict[Informer[Any], asyncio.Task[None]] = {}

    def of(
        self,
        cls: type[T],
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
    ) -> Informer[T]:
        """Return the shared informer of a kind and selector."""
        key = (cls, namespace, field_selector, label_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = Informer(
                self._client,
                cls,
                namespace=namespace,
                field_selector=field_selector,
                label_selector=label_selector,
            )
            self._informers[key] = informer
            self._waiting.put_nowait(informer)
        return informer

    def forget(self, cls: type[Object]) -> None:
        """Follow a kind no more: it is not served any longer. Handlers are told that its objects are gone."""
        for key in [key for key in self._informers if key[0] is cls]:
            informer = self._informers[key]
            self.drop(informer)
            informer.empty()

    def drop(self, informer: Informer[Any]) -> None:
        """Run an informer no more; its handlers hear nothing of it. Nobody else may use it."""
        for key in [key for key, known in self._informers.items() if known is informer]:
            del self._informers[key]
        task = self._tasks.pop(informer, None)
        if task is not None:
            task.cancel()

    async def wait_synced(self) -> None:
        """Wait until every informer asked for so far has its first list."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    async def run(self) -> None:
        """Run all informers, also those asked for later, forever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                informer = await self._waiting.get()
                if informer not in self._informers.values():
                    continue  # forgotten before it began
                name = f"informer {registry.of(informer._cls).plural}"
                self._tasks[informer] = tasks.create_task(informer.run(), name=name)
