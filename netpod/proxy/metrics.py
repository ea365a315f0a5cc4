"""What a node's proxy counted, under upstream's names: plain numbers here, words when somebody asks.

Counting costs a sync a few additions; the library that knows the exposition format is imported by the first scrape.

Source: kubernetes pkg/proxy/metrics/metrics.go.
"""

import bisect
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netpod.api import meta
from netpod.api.discovery import EndpointSlice
from netpod.proxy.model import Model

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LAST_CHANGE_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
SYNC_BUCKETS = tuple(0.001 * 2**power for power in range(15))
PROGRAMMING_BUCKETS = (
    0.25,
    0.5,
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 301, 30)),
)
_PREFIX = "kubeproxy_"
_SYNC = f"{_PREFIX}sync_proxy_rules_"


class Histogram:
    """How often values fell below each of some upper ends."""

    def __init__(self, ends: tuple[float, ...]) -> None:
        self._ends = ends
        self._counts = [0] * (len(ends) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect.bisect_left(self._ends, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper end and how many values are not above it."""
        found: list[tuple[str, float]] = []
        running = 0
        for end, count in zip((*self._ends, float("inf")), self._counts, strict=True):
            running += count
            found.append(("+Inf" if end == float("inf") else str(end), running))
        return found


class Metrics:
    """Numbers of one node's proxy.

    Args:
        now: Seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._started = now()
        self._sync = Histogram(SYNC_BUCKETS)
        self._full = Histogram(SYNC_BUCKETS)
        self._partial = Histogram(SYNC_BUCKETS)
        self._programming = Histogram(PROGRAMMING_BUCKETS)
        self._pending = Counter[str]()
        self._total = Counter[str]()
        self._failures = Counter[str]()
        self._answers = Counter[tuple[str, int]]()
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
        if moment > self._started:
            self._triggers.setdefault(meta.key_of(slice), set()).add(moment)

    def synced(self, seconds: float, *, full: bool) -> None:
        """A sync succeeded: whatever was pending is in the kernel."""
        now = self.last_sync = self._now()
        self._sync.observe(seconds)
        (self._full if full else self._partial).observe(seconds)
        for moments in self._triggers.values():
            for moment in moments:
                self._programming.observe(max(0.0, now - moment))
        self._triggers.clear()
        self._pending.clear()

    def failed(self, what: str) -> None:
        """A hand-over was refused: "iptables_restore", "iptables_partial_restore", "nftables_sync"."""
        self._failures[what] += 1

    def answered(self, path: str, code: int) -> None:
        """/healthz or /livez was asked."""
        self._answers[path, code] += 1

    def text(self, model: Model, written: Mapping[str, Mapping[str, int]]) -> bytes:
        """All metrics in Prometheus' text format.

        Args:
            model: Services and endpoints of now.
            written: Rules by table: "total" in the kernel, "last" by the last sync; empty outside iptables mode.
        """
        from prometheus_client import exposition
        from prometheus_client.registry import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given([*self._families(), *_of_model(model), *_of_rules(written)]))
        return exposition.generate_latest(registry)

    def _count(self, kind: str) -> None:
        self._pending[kind] += 1
        self._total[kind] += 1
        self.last_queued = self._now()

    def _families(self) -> "Iterator[Metric]":
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, found, said in (
            (f"{_SYNC}duration_seconds", self._sync, "SyncProxyRules latency in seconds"),
            (
                f"{_PREFIX}sync_full_proxy_rules_duration_seconds",
                self._full,
                "SyncProxyRules latency in seconds for full resyncs",
            ),
            (
                f"{_PREFIX}sync_partial_proxy_rules_duration_seconds",
                self._partial,
                "SyncProxyRules latency in seconds for partial resyncs",
            ),
            (
                f"{_PREFIX}network_programming_duration_seconds",
                self._programming,
                "In Cluster Network Programming Latency in seconds",
            ),
        ):
            histogram = HistogramMetricFamily(name, said)
            histogram.add_metric([], found.buckets(), found.sum)
            yield histogram
        yield GaugeMetricFamily(
            f"{_SYNC}last_timestamp_seconds",
            "The last time proxy rules were successfully synced",
            value=self.last_sync,
        )
        yield GaugeMetricFamily(
            f"{_SYNC}last_queued_timestamp_seconds",
            "The last time a sync of proxy rules was queued",
            value=self.last_queued,
        )
        for kind in ("endpoint", "service"):
            yield GaugeMetricFamily(
                f"{_SYNC}{kind}_changes_pending",
                f"Pending proxy rules {kind.title()} changes",
                value=self._pending[kind],
            )
            yield CounterMetricFamily(
                f"{_SYNC}{kind}_changes_total",
                f"Cumulative proxy rules {kind.title()} changes",
                value=self._total[kind],
            )
        for what in ("iptables_restore", "iptables_partial_restore", "nftables_sync"):
            yield CounterMetricFamily(
                f"{_SYNC}{what}_failures_total",
                f"Cumulative proxy {what.replace('_', ' ')} failures",
                value=self._failures[what],
            )
        for path in ("healthz", "livez"):
            family = CounterMetricFamily(
                f"{_PREFIX}proxy_{path}_total",
                f"Cumulative proxy {path} HTTP status",
                labels=["code"],
            )
            for (asked, code), count in sorted(self._answers.items()):
                if asked == path:
                    family.add_metric([str(code)], count)
            yield family


class _Given:
    def __init__(self, families: "Iterable[Metric]") -> None:
        self._families = list(families)

    def collect(self) -> "Iterable[Metric]":
        return self._families


def _of_model(model: Model) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        f"{_SYNC}no_local_endpoints_total",
        "Number of services with a Local traffic policy and no endpoints",
        labels=["traffic_policy"],
    )
    lacking = Counter[str]()
    for name, port in model.services.items():
        endpoints = model.endpoints.get(name, ())
        usable = [e for e in endpoints if e.ready or (e.serving and e.terminating)]
        if not usable or any(e.is_local for e in usable):
            continue
        lacking["internal"] += port.internal_policy_local
        lacking["external"] += port.external_policy_local and port.externally_accessible
    for policy in ("internal", "external"):
        family.add_metric([policy], lacking[policy])
    yield family


def _of_rules(written: Mapping[str, Mapping[str, int]]) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    for name, said in (
        ("total", "Total number of iptables rules owned by kube-proxy"),
        ("last", "Number of iptables rules written by kube-proxy in last sync"),
    ):
        family = GaugeMetricFamily(f"{_SYNC}iptables_{name}", said, labels=["table"])
        for table, count in sorted(written.get(name, {}).items()):
            family.add_metric([table], count)
        yield family
