"""What a work queue counts: how much waits, for how long, and how long it takes; client-go's names.

Source: client-go util/workqueue/metrics.go; k8s.io/component-base/metrics/prometheus/workqueue.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from netpod import metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

K = TypeVar("K", bound=Hashable)
_ENDS = metrics.exponential(1e-8, 10, 10)


class QueueMetrics(Generic[K]):
    """Of one queue.

    Attributes:
        adds: Keys that came.
        retries: Keys that were to come later.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.adds = 0
        self.retries = 0
        self.queued = metrics.Histogram(_ENDS)
        self.worked = metrics.Histogram(_ENDS)
        self._came: dict[K, float] = {}
        self._began: dict[K, float] = {}

    def added(self, key: K) -> None:
        """A key came that did not wait already."""
        self.adds += 1
        self._came[key] = self._clock()

    def taken(self, key: K) -> None:
        """Work on a key begins."""
        now = self._began[key] = self._clock()
        self.queued.observe(now - self._came.pop(key, now))

    def done(self, key: K) -> None:
        """Work on a key ended."""
        now = self._clock()
        self.worked.observe(now - self._began.pop(key, now))

    @property
    def depth(self) -> int:
        """Keys that wait."""
        return len(self._came)

    def unfinished(self) -> list[float]:
        """How long each key has been worked on that still is, in seconds."""
        now = self._clock()
        return [now - began for began in self._began.values()]


def families(queues: Mapping[str, QueueMetrics[K]]) -> "Iterator[Metric]":
    """What several queues count, by name, for the text format."""

    def of(value: Callable[[QueueMetrics[K]], float]) -> dict[metrics.Labels, float]:
        return {(name,): value(queue) for name, queue in queues.items()}

    name = ("name",)
    yield metrics.gauge(
        "workqueue_depth", "Current depth of workqueue", of(lambda q: q.depth), name
    )
    yield metrics.counter(
        "workqueue_adds_total",
        "Total number of adds handled by workqueue",
        of(lambda q: q.adds),
        name,
    )
    yield metrics.histogram(
        "workqueue_queue_duration_seconds",
        "How long in seconds an item stays in workqueue before being requested.",
        {(it,): queue.queued for it, queue in queues.items()},
        name,
    )
    yield metrics.histogram(
        "workqueue_work_duration_seconds",
        "How long in seconds processing an item from workqueue takes.",
        {(it,): queue.worked for it, queue in queues.items()},
        name,
    )
    yield metrics.gauge(
        "workqueue_unfinished_work_seconds",
        "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values "
        "indicate stuck threads.",
        of(lambda q: sum(q.unfinished())),
        name,
    )
    yield metrics.gauge(
        "workqueue_longest_running_processor_seconds",
        "How many seconds has the longest running processor for workqueue been running.",
        of(lambda q: max(q.unfinished(), default=0.0)),
        name,
    )
    yield metrics.counter(
        "workqueue_retries_total",
        "Total number of retries handled by workqueue",
        of(lambda q: q.retries),
        name,
    )
