"""/metrics: what the API server did, counted in plain dictionaries and put into words when somebody asks.

Counting costs each request one dictionary entry; the library that knows the exposition format is imported by the
first scrape.

Source: k8s.io/apiserver pkg/endpoints/metrics/metrics.go, pkg/storage/etcd3/metrics; Prometheus text format 0.0.4.
"""

import bisect
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netpod.apiserver.routes import Route

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TEXT = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1,
    1.25,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
)
"""Upper ends in seconds."""

LONG = frozenset({"watch", "log", "exec", "attach", "portforward", "proxy"})
_VERBS = {"deletecollection": "DELETECOLLECTION", "update": "PUT", "create": "POST"}
Labels = tuple[str, ...]


class Metrics:
    """Counts answered requests.

    Args:
        inflight: Requests under way: reading, writing.
        watches: Watches under way.
    """

    def __init__(
        self,
        inflight: Callable[[], tuple[int, int]],
        watches: Callable[[], int],
    ) -> None:
        self._inflight = inflight
        self._watches = watches
        self._started = time.time()
        self._total: Counter[Labels] = Counter()
        self._seconds: dict[Labels, list[float]] = {}
        self._objects: Mapping[str, int] = {}

    def count(self, route: Route | None, method: str, code: int, seconds: float) -> None:
        """Note an answer; `route` is None for what is no resource."""
        if route is None:
            labels: Labels = (method, "", "", "", "", "")
            long = False
        else:
            asked = route.resource
            scope = "resource" if route.name else "namespace" if route.namespace else "cluster"
            verb = _VERBS.get(route.verb, route.verb.upper())
            labels = (verb, asked.group, asked.version, asked.plural, route.subresource, scope)
            long = route.verb in LONG or route.subresource in LONG
        self._total[(*labels, str(code))] += 1
        if long:
            return
        found = self._seconds.get(labels)
        if found is None:
            found = self._seconds[labels] = [0.0] * (len(BUCKETS) + 2)
        found[bisect.bisect_left(BUCKETS, seconds)] += 1
        found[-1] += seconds

    def text(self, objects: Mapping[str, int]) -> bytes:
        """All metrics in the text format, with the number of stored objects by resource."""
        from prometheus_client import exposition
        from prometheus_client.registry import CollectorRegistry

        self._objects = objects
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return exposition.generate_latest(registry)

    def collect(self) -> "Iterable[Metric]":
        """Metric families; what the library asks of a collector."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        names = ["verb", "group", "version", "resource", "subresource", "scope"]
        total = CounterMetricFamily(
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, resource, scope and code.",
            labels=[*names, "code"],
        )
        for labels, number in sorted(self._total.items()):
            total.add_metric(list(labels), number)
        yield total
        duration = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, resource and scope.",
            labels=names,
        )
        for labels, found in sorted(self._seconds.items()):
            duration.add_metric(list(labels), list(_cumulated(found)), found[-1])
        yield duration
        reading, writing = self._inflight()
        flight = GaugeMetricFamily(
            "apiserver_current_inflight_requests",
            "Number of requests being answered, by kind.",
            labels=["request_kind"],
        )
        flight.add_metric(["readOnly"], reading)
        flight.add_metric(["mutating"], writing)
        yield flight
        yield GaugeMetricFamily(
            "apiserver_registered_watchers", "Number of watches under way.", value=self._watches()
        )
        stored = GaugeMetricFamily(
            "apiserver_storage_objects", "Number of stored objects.", labels=["resource"]
        )
        for name, number in sorted(self._objects.items()):
            stored.add_metric([name], number)
        yield stored
        yield from self._process()

    def _process(self) -> "Iterator[Any]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        used = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily(
            "process_cpu_seconds_total",
            "User and system CPU time of the control plane's process.",
            value=used.ru_utime + used.ru_stime,
        )
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
        yield GaugeMetricFamily(
            "process_resident_memory_bytes",
            "Resident memory of the control plane's process.",
            value=pages * resource.getpagesize(),
        )
        yield GaugeMetricFamily(
            "process_start_time_seconds", "When it began to serve.", value=self._started
        )


def _cumulated(found: list[float]) -> Iterator[tuple[str, float]]:
    running = 0.0
    for end, number in zip((*map(float, BUCKETS), float("inf")), found, strict=False):
        running += number
        yield ("+Inf" if end == float("inf") else f"{end:g}"), running
