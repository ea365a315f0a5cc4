"""One key at a time, in order, with back-off."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from netpod import metrics
from netpod.client import queuemetrics
from netpod.client.queuemetrics import QueueMetrics
from netpod.client.workqueue import WorkQueue
from netpod.errors import Conflict, NotFound


def drive(
    keys: list[str],
    reconcile: Callable[[WorkQueue[str], str], Awaitable[None]],
    *,
    workers: int = 4,
) -> None:
    """Run a queue over `keys` until it is empty."""

    async def body() -> None:
        queue: WorkQueue[str] = WorkQueue("test")
        for key in keys:
            queue.add(key)

        async def one(key: str) -> None:
            await reconcile(queue, key)

        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(queue.run(one, workers=workers))
            while len(queue) or queue._timers:
                await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(body())


def test_a_key_is_never_worked_on_twice_at_once() -> None:
    """A key that is added while in work runs again afterwards, not beside itself."""
    active: set[str] = set()
    runs: list[str] = []

    async def reconcile(queue: WorkQueue[str], key: str) -> None:
        assert key not in active, "two workers have one key"
        active.add(key)
        runs.append(key)
        if runs.count(key) == 1:
            queue.add(key)
            queue.add(key)
        await asyncio.sleep(0.002)
        active.discard(key)

    drive(["a", "b"], reconcile)
    assert sorted(runs) == ["a", "a", "b", "b"]


def test_a_retryable_failure_comes_again_and_others_do_not() -> None:
    """A conflict is retried until it succeeds; what cannot succeed is dropped."""
    runs: list[str] = []

    async def reconcile(queue: WorkQueue[str], key: str) -> None:
        runs.append(key)
        if key == "retry" and runs.count(key) < 3:
            raise Conflict("moved on")
        if key == "drop":
            raise NotFound("gone")

    drive(["retry", "drop"], reconcile)
    assert runs.count("retry") == 3
    assert runs.count("drop") == 1


def test_a_defect_ends_the_queue() -> None:
    """What is no NetpodError is a mistake of ours and must not be hidden."""

    async def reconcile(queue: WorkQueue[str], key: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        drive(["a"], reconcile)


def test_the_earlier_of_two_delays_wins() -> None:
    """add_after never postpones what is already due sooner."""
    runs: list[str] = []

    async def body() -> None:
        queue: WorkQueue[str] = WorkQueue("test")
        queue.add_after("a", 0.01)
        queue.add_after("a", 60)

        async def one(key: str) -> None:
            runs.append(key)

        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(queue.run(one))
            while not runs:
                await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(body())
    assert runs == ["a"]


def test_a_key_may_be_due_in_no_time_at_all_twice() -> None:
    """uvloop makes no timer of a delay below a millisecond; the queue must not need one."""

    async def body() -> list[str]:
        queue: WorkQueue[str] = WorkQueue("test")
        seen: list[str] = []

        async def one(key: str) -> None:
            seen.append(key)

        queue.add_after("a", 0.0001)
        queue.add_after("a", 0.0001)
        queue.add_after("a", 0.00001)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(queue.run(one))
            while not seen:
                await asyncio.sleep(0.001)
            running.cancel()
        return seen

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(body()) == ["a"]


def test_a_queue_tells_what_waits_and_what_takes_long() -> None:
    """Depth, adds, retries and the time of what is still worked on."""
    now = [0.0]
    counted: QueueMetrics[str] = QueueMetrics(lambda: now[0])
    for key in ("a", "b"):
        counted.added(key)
    now[0] = 3.0
    counted.taken("a")
    now[0] = 5.0
    assert (counted.adds, counted.depth, counted.unfinished()) == (2, 1, [2.0])
    counted.done("a")
    text = metrics.text(queuemetrics.families({"test": counted})).decode()
    for line in (
        'workqueue_depth{name="test"} 1.0',
        'workqueue_adds_total{name="test"} 2.0',
        'workqueue_queue_duration_seconds_sum{name="test"} 3.0',
        'workqueue_work_duration_seconds_sum{name="test"} 2.0',
        'workqueue_unfinished_work_seconds{name="test"} 0.0',
    ):
        assert line in text.splitlines(), line


def test_the_queue_counts_what_it_does() -> None:
    """Every key that comes, every one that comes again later."""
    seen: list[tuple[int, int, int]] = []

    async def reconcile(queue: WorkQueue[str], key: str) -> None:
        if not seen:
            queue.add_after(key, 0.001)
        seen.append((queue.counted.adds, queue.counted.retries, len(queue.counted.unfinished())))

    drive(["a"], reconcile)
    assert seen == [(1, 1, 1), (2, 1, 1)]
