"""What the scheduler counts about itself, under upstream's names.

Source: kubernetes pkg/scheduler/metrics/metrics.go.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from netpod import metrics
from netpod.api.meta import Key

if TYPE_CHECKING:
    from prometheus_client.core import Metric

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
_ATTEMPT = metrics.exponential(0.001, 2, 15)


class Metrics:
    """Of one scheduler.

    Attributes:
        pending: Pods that wait, by queue.
        cached: Objects in the cache, by type.

    Args:
        profile: Its name.
    """

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self.pending: Callable[[], Mapping[str, int]] = dict
        self.cached: Callable[[], Mapping[str, int]] = dict
        self._attempts = metrics.Histograms(_ATTEMPT)
        self._algorithm = metrics.Histogram(_ATTEMPT)
        self._until = metrics.Histograms(metrics.exponential(0.01, 2, 20))
        self._tries = metrics.Histogram(metrics.exponential(1, 2, 5))
        self._victims = metrics.Histogram(metrics.exponential(1, 2, 7))
        self._preemptions = 0
        self._incoming = metrics.Counts()
        self._pods: dict[Key, tuple[float, int]] = {}

    def incoming(self, queue: str, event: str) -> None:
        """A pod came into a queue, because of an event."""
        self._incoming[(event, queue)] += 1

    def tried(self, key: Key, now: float) -> None:
        """An attempt at a pod begins; the first one begins its way to a node."""
        since, tries = self._pods.get(key, (now, 0))
        self._pods[key] = (since, tries + 1)

    def decided(self, seconds: float) -> None:
        """Filters and scores have said where a pod fits, or that it fits nowhere."""
        self._algorithm.observe(seconds)

    def ended(self, result: str, seconds: float) -> None:
        """An attempt ended, with its binding."""
        self._attempts[(self._profile, result)].observe(seconds)

    def bound(self, key: Key, now: float) -> None:
        """A pod has its node."""
        since, tries = self._pods.pop(key, (now, 1))
        self._tries.observe(tries)
        self._until[(str(tries) if tries < 16 else "16+",)].observe(now - since)

    def forget(self, key: Key) -> None:
        """A pod needs no node any more."""
        self._pods.pop(key, None)

    def preempted(self, victims: int) -> None:
        """Room was made for a pod, or nobody could go."""
        self._preemptions += 1
        if victims:
            self._victims.observe(victims)

    def families(self) -> "Iterator[Metric]":
        """What there is, for the text format."""
        named = ("profile", "result")
        total = {labels: float(sum(it.counts)) for labels, it in self._attempts.items()}
        yield metrics.counter(
            "scheduler_schedule_attempts_total",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, "
            "while 'error' means an internal scheduler problem.",
            total,
            named,
        )
        yield metrics.histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            self._attempts,
            named,
        )
        yield metrics.histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds",
            self._algorithm,
        )
        yield metrics.gauge(
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means "
            "number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods.",
            {(queue,): number for queue, number in self.pending().items()},
            ("queue",),
        )
        yield metrics.counter(
            "scheduler_queue_incoming_pods_total",
            "Number of pods added to scheduling queues by event and queue type.",
            self._incoming,
            ("event", "queue"),
        )
        yield metrics.histogram(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod.",
            self._tries,
        )
        yield metrics.histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
            self._until,
            ("attempts",),
        )
        yield metrics.counter(
            "scheduler_preemption_attempts_total",
            "Total preemption attempts in the cluster till now",
            self._preemptions,
        )
        yield metrics.histogram(
            "scheduler_preemption_victims", "Number of selected preemption victims", self._victims
        )
        yield metrics.gauge(
            "scheduler_scheduler_cache_size",
            "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.",
            {(kind,): number for kind, number in self.cached().items()},
            ("type",),
        )
