"""What a node's proxy counted, under upstream's names: plain numbers here, words in exposition.py when somebody asks.

Source: kubernetes pkg/proxy/metrics/metrics.go.
"""

import time
from collections import Counter
from collections.abc import Callable

from netpod import metrics
from netpod.api import meta
from netpod.api.discovery import EndpointSlice
from netpod.ip import Family

LAST_CHANGE_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
SYNC_BUCKETS = metrics.exponential(0.001, 2, 15)
PROGRAMMING_BUCKETS = (
    0.25,
    0.5,
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 301, 30)),
)


class Metrics:
    """Numbers of one node's proxy for one address family.

    Args:
        now: Seconds since the epoch.
        family: The value of label `ip_family`.

    Attributes:
        sync: Seconds of all syncs; `full` and `partial` of the two kinds.
        programming: Seconds from a change's cause to its rules in the kernel.
        pending: Changes since the last sync, by "service" and "endpoint"; `total` of all time.
        failures: Refused hand-overs by the words of `failed`.
        answers: Answers by path ("healthz", "livez") and HTTP status.
        started: When it began, seconds since the epoch.
        last_queued: When something last changed, seconds since the epoch; `last_sync` when that was in the kernel.
    """

    def __init__(self, now: Callable[[], float] = time.time, family: Family = Family.IPV4) -> None:
        self.family = family
        self._now = now
        self.started = now()
        self.sync = metrics.Histogram(SYNC_BUCKETS)
        self.full = metrics.Histogram(SYNC_BUCKETS)
        self.partial = metrics.Histogram(SYNC_BUCKETS)
        self.programming = metrics.Histogram(PROGRAMMING_BUCKETS)
        self.pending = Counter[str]()
        self.total = Counter[str]()
        self.failures = Counter[str]()
        self.answers = Counter[tuple[str, int]]()
        self._triggers: dict[meta.Key, set[float]] = {}
        self.last_queued = 0.0
        self.last_sync = 0.0

    def service_changed(self) -> None:
        """A Service came, changed or went."""
        self._count("service")

    def slice_changed(self, slice: EndpointSlice | None) -> None:
        """An EndpointSlice came, changed or went; its annotation says when the cause of that was."""
        self._count("endpoint")
        text = slice.metadata.annotations.get(LAST_CHANGE_TRIGGER_TIME, "") if slice else ""
        if slice is None or not text:
            return
        try:
            moment = meta.parse_timestamp(text).timestamp()
        except ValueError:
            return  # somebody else's words in a hand-made slice
        # What happened before this process began says nothing about its speed.
        if moment > self.started:
            self._triggers.setdefault(meta.key_of(slice), set()).add(moment)

    def synced(self, seconds: float, *, full: bool) -> None:
        """A sync succeeded: whatever was pending is in the kernel."""
        now = self.last_sync = self._now()
        self.sync.observe(seconds)
        (self.full if full else self.partial).observe(seconds)
        for moments in self._triggers.values():
            for moment in moments:
                self.programming.observe(max(0.0, now - moment))
        self._triggers.clear()
        self.pending.clear()

    def failed(self, what: str) -> None:
        """A hand-over was refused: "iptables_restore", "iptables_partial_restore", "nftables_sync"."""
        self.failures[what] += 1

    def answered(self, path: str, code: int) -> None:
        """/healthz or /livez was asked."""
        self.answers[path, code] += 1

    def _count(self, kind: str) -> None:
        self.pending[kind] += 1
        self.total[kind] += 1
        self.last_queued = self._now()
