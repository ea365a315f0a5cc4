"""Pods that wait for a node: those to try now, and those for which nothing fits until something changes.

Higher priority first, then first come first served. A pod that fitted nowhere is tried again when nodes or pods
change, after a back-off that doubles from 50 ms to 10 s; and every five minutes in any case.

Source: kubernetes pkg/scheduler/backend/queue/scheduling_queue.go. Upstream's back-off begins at 1 s, but is cut short
while nothing else waits (KEP-5142), which is nearly always so in a small cluster.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from netpod.api.meta import Key
from netpod.scheduler.metrics import Metrics

FIRST_BACKOFF = 0.05
MAX_BACKOFF = 10.0
LEFTOVER = 300.0


@dataclass(slots=True)
class _Waiting:
    """A pod that fitted nowhere; `since` is when it was tried last."""

    priority: int
    since: float


class SchedulingQueue:
    """Keys of pods without a node. Use from the loop's thread only.

    Args:
        clock: Monotonic seconds.
        counted: Told what comes in.
    """

    def __init__(self, clock: Callable[[], float], counted: Metrics | None = None) -> None:
        self._clock = clock
        self._number = itertools.count()
        self._active: list[tuple[int, int, Key]] = []
        self._backing_off: list[tuple[float, int, int, Key]] = []
        self._entries: dict[Key, int] = {}
        self._waiting: dict[Key, _Waiting] = {}
        self._attempts: dict[Key, int] = {}
        self._counted = counted or Metrics("")
        self._changed = asyncio.Event()

    def add(self, key: Key, priority: int) -> None:
        """Try a pod as soon as possible."""
        self._waiting.pop(key, None)
        number = self._entries[key] = next(self._number)
        heapq.heappush(self._active, (-priority, number, key))
        self._counted.incoming("active", "PodAdd")
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The pod has a node, or is gone."""
        self._entries.pop(key, None)
        self._waiting.pop(key, None)
        self._attempts.pop(key, None)

    def park(self, key: Key, priority: int) -> None:
        """The pod fits nowhere now: keep it until `move`."""
        self._entries.pop(key, None)
        self._waiting[key] = _Waiting(priority, self._clock())
        self._counted.incoming("unschedulable", "ScheduleAttemptFailure")

    def retry(self, key: Key, priority: int) -> None:
        """Something went wrong with the pod: try it again after its back-off."""
        self._back_off(key, _Waiting(priority, self._clock()))

    def move(self) -> None:
        """Something changed: every parked pod may be tried again after its back-off."""
        waiting, self._waiting = self._waiting, {}
        for key, item in waiting.items():
            self._back_off(key, item)

    def move_leftovers(self) -> None:
        """Move what has been parked for five minutes, in case a change was missed."""
        long_ago = self._clock() - LEFTOVER
        for key in [key for key, item in self._waiting.items() if item.since <= long_ago]:
            self._back_off(key, self._waiting.pop(key))

    def _back_off(self, key: Key, item: _Waiting) -> None:
        attempts = max(1, self._attempts.get(key, 1))
        due = item.since + min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(attempts - 1, 20))
        number = self._entries[key] = next(self._number)
        self._counted.incoming("backoff", "ClusterEvent")
        heapq.heappush(self._backing_off, (due, -item.priority, number, key))
        self._changed.set()

    def pending(self) -> dict[str, int]:
        """How many pods wait, by upstream's names of its queues."""
        numbers = self._entries.values()
        backing_off = {number for _, _, number, _ in self._backing_off}.intersection(numbers)
        return {
            "active": len(numbers) - len(backing_off),
            "backoff": len(backing_off),
            "unschedulable": len(self._waiting),
            "gated": 0,
        }

    async def pop(self) -> Key:
        """Wait for the next pod to try."""
        while True:
            key = self._next()
            if key is not None:
                self._attempts[key] = self._attempts.get(key, 0) + 1
                self._counted.tried(key, self._clock())
                return key
            self._changed.clear()
            wait = self._backing_off[0][0] - self._clock() if self._backing_off else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _next(self) -> Key | None:
        now = self._clock()
        while self._backing_off and self._backing_off[0][0] <= now:
            _, rank, number, key = heapq.heappop(self._backing_off)
            heapq.heappush(self._active, (rank, number, key))
        while self._active:
            _, number, key = heapq.heappop(self._active)
            # An entry that was replaced or forgotten meanwhile is skipped.
            if self._entries.get(key) == number:
                del self._entries[key]
                return key
        return None
