"""/metrics: what the API server did, counted in plain dictionaries and put into words when somebody asks.

Source: k8s.io/apiserver pkg/endpoints/metrics/metrics.go, pkg/storage/etcd3/metrics; Prometheus text format 0.0.4.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from netpod import metrics
from netpod.apiserver.routes import Route

if TYPE_CHECKING:
    from prometheus_client.core import Metric

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
_NAMES = ("verb", "group", "version", "resource", "subresource", "scope")
_VERBS = {"deletecollection": "DELETECOLLECTION", "update": "PUT", "create": "POST"}


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
        self._total = metrics.Counts()
        self._seconds = metrics.Histograms(BUCKETS)

    def count(self, route: Route | None, method: str, code: int, seconds: float) -> None:
        """Note an answer; `route` is None for what is no resource."""
        if route is None:
            labels: metrics.Labels = (method, "", "", "", "", "")
            long = False
        else:
            asked = route.resource
            scope = "resource" if route.name else "namespace" if route.namespace else "cluster"
            verb = _VERBS.get(route.verb, route.verb.upper())
            labels = (verb, asked.group, asked.version, asked.plural, route.subresource, scope)
            long = route.verb in LONG or route.subresource in LONG
        self._total[(*labels, str(code))] += 1
        if not long:
            self._seconds[labels].observe(seconds)

    def text(self, objects: Mapping[str, int]) -> bytes:
        """All metrics in the text format, with the number of stored objects by resource."""
        return metrics.text([*self._families(objects), *metrics.process(self._started)])

    def _families(self, objects: Mapping[str, int]) -> "Iterator[Metric]":
        yield metrics.counter(
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, resource, scope and code.",
            self._total,
            (*_NAMES, "code"),
        )
        yield metrics.histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, resource and scope.",
            self._seconds,
            _NAMES,
        )
        reading, writing = self._inflight()
        yield metrics.gauge(
            "apiserver_current_inflight_requests",
            "Number of requests being answered, by kind.",
            {("readOnly",): reading, ("mutating",): writing},
            ("request_kind",),
        )
        yield metrics.gauge(
            "apiserver_registered_watchers", "Number of watches under way.", self._watches()
        )
        yield metrics.gauge(
            "apiserver_storage_objects",
            "Number of stored objects.",
            {(name,): number for name, number in objects.items()},
            ("resource",),
        )
