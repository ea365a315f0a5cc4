"""Order and back-off of waiting pods."""

import asyncio

from netpod.api.meta import Key
from netpod.scheduler.queue import SchedulingQueue


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the present second."""
        return self.now


def key(name: str) -> Key:
    """Return a pod's key."""
    return Key("shop", name)


def test_higher_priority_first_then_first_come() -> None:
    """An important pod overtakes, equals do not."""

    async def story() -> None:
        queue = SchedulingQueue(Clock())
        queue.add(key("a"), 0)
        queue.add(key("b"), 0)
        queue.add(key("vip"), 1000)
        assert [await queue.pop() for _ in range(3)] == [key("vip"), key("a"), key("b")]

    asyncio.run(story())


def test_parked_pod_waits_for_a_change_and_its_back_off() -> None:
    """Nothing happens without a change; after one, each failure doubles the wait."""

    async def story() -> None:
        clock = Clock()
        queue = SchedulingQueue(clock)
        queue.add(key("a"), 0)
        waits = []
        for _ in range(3):
            assert await queue.pop() == key("a")
            queue.park(key("a"), 0)
            queue.move_leftovers()
            assert queue._next() is None
            queue.move()
            start = clock.now
            while queue._next() is None:
                clock.now += 0.01
            waits.append(round(clock.now - start, 2))
            queue.add(key("a"), 0)
        assert waits[0] <= 0.06
        assert waits[1] > waits[0]
        assert waits[2] > waits[1]

    asyncio.run(story())


def test_forgotten_pod_does_not_come_back() -> None:
    """A pod that was deleted or bound meanwhile is not tried."""

    async def story() -> None:
        queue = SchedulingQueue(Clock())
        queue.add(key("a"), 0)
        queue.add(key("b"), 0)
        queue.forget(key("a"))
        assert await queue.pop() == key("b")

    asyncio.run(story())


def test_parked_pod_is_tried_after_five_minutes_anyway() -> None:
    """A change that was missed costs five minutes, not forever."""

    async def story() -> None:
        clock = Clock()
        queue = SchedulingQueue(clock)
        queue.add(key("a"), 0)
        await queue.pop()
        queue.park(key("a"), 0)
        clock.now += 301
        queue.move_leftovers()
        assert await queue.pop() == key("a")

    asyncio.run(story())
