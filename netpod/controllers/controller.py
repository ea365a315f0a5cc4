"""The loop every controller is: informers > queue > reconcile(key).

A controller subscribes to views and turns what changed into keys. `reconcile(key)` looks at the whole observed
state of that key and makes one step towards what is wanted; it never trusts that it saw every change, so it is
safe after a restart and when run twice. One key is worked on by one worker at a time.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from netpod.api import meta
from netpod.api.meta import Object, OwnerReference
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.queuemetrics import QueueMetrics
from netpod.client.rest import Client
from netpod.client.workqueue import WorkQueue
from netpod.controllers.metrics import Metrics
from netpod.controllers.view import View
from netpod.errors import BadRequest, NetpodError

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Object)


@dataclass(kw_only=True)
class Context:
    """What every controller works with; one per process.

    Attributes:
        client: The only way to write.
        informers: The only way to read, shared, through `view`.
        recorder: Events are said as this component.
        clock: Present moment, UTC; an argument so that tests own the time.
        counted: What there is to tell of the controllers.
    """

    client: Client
    informers: Informers
    recorder: EventRecorder
    clock: Callable[[], datetime] = meta.now
    counted: Metrics = field(default_factory=Metrics)
    _views: dict[type[Object], View[Any]] = field(default_factory=dict)
    _recorders: dict[str, EventRecorder] = field(default_factory=dict)

    def view(self, cls: type[T]) -> View[T]:
        """Return the process's one view of a kind."""
        if cls not in self._views:
            self._views[cls] = View(self.informers.of(cls))
        return self._views[cls]

    def forget(self, cls: type[Object]) -> None:
        """Follow a kind no more; whoever subscribed is told that its objects are gone."""
        self.informers.forget(cls)
        self._views.pop(cls, None)

    def named(self, component: str) -> "Context":
        """Return this context with events said as `component`; everything else is shared."""
        recorder = self._recorders.get(component)
        if recorder is None:
            recorder = self._recorders[component] = EventRecorder(self.client, component)
        return dataclasses.replace(self, recorder=recorder)

    def loop(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[None]],
        *,
        after: Sequence[View[Any]],
        workers: int = 5,
        again: float | None = None,
    ) -> "Controller[K]":
        """Return a Controller whose queue is counted; the arguments are its."""
        made = Controller(name, reconcile, after=after, workers=workers, again=again)
        self.counted.queue(name, made.counted)
        return made

    def recorders(self) -> list[EventRecorder]:
        """Return every recorder that was asked for; somebody has to run them."""
        return [self.recorder, *self._recorders.values()]


class Controller(Generic[K]):
    """One loop: keys in, `reconcile` until it agrees.

    Args:
        name: Upstream's name, for the log.
        reconcile: Makes one step for one key; a retryable NetpodError brings the key back with back-off.
        after: Views whose first list must be in before any key is worked on.
        workers: Keys worked on at the same time.
        again: Seconds until a key comes back that the API server refused for good (quota, admission); None for when
            something changes.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[None]],
        *,
        after: Sequence[View[Any]],
        workers: int = 5,
        again: float | None = None,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._after = tuple(after)
        self._workers = workers
        self._again = again
        self._queue: WorkQueue[K] = WorkQueue(name)

    @property
    def counted(self) -> QueueMetrics[K]:
        """What there is to tell of its queue."""
        return self._queue.counted

    def enqueue(self, key: K) -> None:
        """Have `key` looked at as soon as a worker is free."""
        self._queue.add(key)

    def enqueue_after(self, key: K, seconds: float) -> None:
        """Have `key` looked at again later."""
        self._queue.add_after(key, max(0.0, seconds))

    async def run(self) -> None:
        """Work until cancelled."""
        for view in self._after:
            await view.wait_synced()
        log.debug("%s: caches are synced", self.name)
        await self._queue.run(self._work, workers=self._workers)

    async def _work(self, key: K) -> None:
        try:
            await self._reconcile(key)
        except NetpodError as error:
            if self._again is not None and not error.retryable:
                self._queue.add_after(key, self._again)
            raise

    async def run_with_tick(self, seconds: float, tick: Callable[[], None]) -> None:
        """Work until cancelled, and call `tick` every so many seconds once the caches are synced."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.run(), name=self.name)
            for view in self._after:
                await view.wait_synced()
            while True:
                tick()
                await asyncio.sleep(seconds)


REFUSED_RETRY = 10.0
"""Seconds until pods are tried again that the API server refused for good."""

AT_ONCE = 50
"""Writes of one pass under way at the same time: enough to share commits, few enough for one server."""


async def all_of(writes: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Make several writes side by side, let all of them end, then raise the first failure, if any.

    Raises:
        NetpodError: what the first write that failed raised.
    """
    failures: list[NetpodError] = []
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(write: Coroutine[Any, Any, object]) -> None:
        try:
            async with slots:
                await write
        except NetpodError as error:
            failures.append(error)

    async with asyncio.TaskGroup() as tasks:
        for write in writes:
            tasks.create_task(one(write))
    if failures:
        raise failures[0]


@contextlib.contextmanager
def reading(obj: Object) -> Iterator[None]:
    """Decide about what an author wrote as JSON that nobody has checked: an affinity, a metric, a policy.

    Raises:
        BadRequest: it is not what it should be.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        name = f"{obj.kind.lower()} {meta.key_of(obj)}"
        raise BadRequest(f"cannot read {name}: {type(error).__name__}: {error}") from error


def controller_reference(owner: Object) -> OwnerReference:
    """Return the reference that makes `owner` the managing controller of an object."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def owner_uid(obj: Object) -> str:
    """Return the uid of the controlling owner, or ""."""
    owner = meta.controller_of(obj)
    return owner.uid if owner is not None else ""


def by_owner(obj: Object) -> list[str]:
    """Index function: the uid of the controlling owner, or "" for an orphan."""
    return [owner_uid(obj)]


def by_namespace(obj: Object) -> list[str]:
    """Index function: the namespace."""
    return [obj.metadata.namespace]


def by_label(obj: Object) -> list[tuple[str, str, str]]:
    """Index function: (namespace, label, value) for every label."""
    namespace = obj.metadata.namespace
    return [(namespace, name, value) for name, value in obj.metadata.labels.items()]


def orphans_by_namespace(obj: Object) -> list[str]:
    """Index function: the namespace, of objects that no controller owns."""
    return [] if owner_uid(obj) else [obj.metadata.namespace]
