"""One key at a time, in order, with back-off: the heart of every level-triggered loop.

A key that is added while it is being worked on is worked on once more afterwards, never by two workers at
the same time. Failures are retried with exponential back-off; a success forgets them.

Source: client-go util/workqueue (ItemExponentialFailureRateLimiter: 5 ms .. 1000 s).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from netpod.client.queuemetrics import QueueMetrics
from netpod.errors import Conflict, NetpodError

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
FIRST_RETRY_SECONDS = 0.005
MAX_RETRY_SECONDS = 1000.0


class WorkQueue(Generic[K]):
    """Keys to reconcile. Use from the loop's thread only.

    Attributes:
        counted: What there is to tell of it.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self.counted: QueueMetrics[K] = QueueMetrics()
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: set[K] = set()
        self._active: set[K] = set()
        self._failures: dict[K, int] = {}
        # When each is due, beside its timer: one so short that uvloop makes no timer of it cannot say.
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}

    def add(self, key: K) -> None:
        """Work on `key` as soon as a worker is free."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()
        if key in self._dirty:
            return
        self._dirty.add(key)
        self.counted.added(key)
        if key not in self._active:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Work on `key` in `seconds`, or earlier if it is added or already due earlier."""
        if seconds <= 0:
            self.add(key)
            return
        self.counted.retries += 1
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._timers[key] = (due, loop.call_later(seconds, self.add, key))

    def __len__(self) -> int:
        return len(self._dirty) + len(self._active - self._dirty)

    async def run(self, reconcile: Callable[[K], Awaitable[None]], *, workers: int = 1) -> None:
        """Call `reconcile(key)` for each key forever.

        NetpodError is logged; when `retryable`, the key comes again after a back-off. Any other exception
        is a defect and ends the queue, and with it the component.
        """
        async with asyncio.TaskGroup() as tasks:
            for number in range(workers):
                tasks.create_task(self._work(reconcile), name=f"{self._name} worker {number}")

    async def _work(self, reconcile: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self._ready.get()
            self._dirty.discard(key)
            self._active.add(key)
            self.counted.taken(key)
            try:
                await reconcile(key)
            except NetpodError as error:
                self._failed(key, error)
            else:
                self._failures.pop(key, None)
            finally:
                self.counted.done(key)
                self._active.discard(key)
                if key in self._dirty:
                    self._ready.put_nowait(key)

    def _failed(self, key: K, error: NetpodError) -> None:
        if not error.retryable:
            log.error("%s %s: %s", self._name, key, error)
            self._failures.pop(key, None)
            return
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        # A conflict is the ordinary way to learn that the cache was behind.
        level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
        log.log(level, "%s %s: %s; retrying", self._name, key, error)
        self.add_after(key, min(FIRST_RETRY_SECONDS * 2 ** min(count, 20), MAX_RETRY_SECONDS))
