"""Numbers that a component counts about itself, under upstream's names.

Counting is an addition to a plain value; the library that knows Prometheus' words is imported by the first scrape.
Labels are tuples of values, in the order in which a family names them.

Source: Prometheus text format 0.0.4; k8s.io/component-base/metrics.
"""

import bisect
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[str, ...]
Counts = Counter[Labels]
Names = tuple[str, ...]


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Upper ends of buckets, each `factor` times the one before; without the last, which has no end."""
    return tuple(first * factor**power for power in range(count))


class Histogram:
    """How often values fell below each of some upper ends.

    Attributes:
        counts: Values by bucket, the last one without an end.
        sum: Of all values.
    """

    def __init__(self, ends: tuple[float, ...]) -> None:
        self.ends = ends
        self.counts = [0] * (len(ends) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self.ends, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper end and how many values are not above it."""
        found: list[tuple[str, float]] = []
        running = 0
        for end, count in zip((*self.ends, float("inf")), self.counts, strict=True):
            running += count
            found.append(("+Inf" if end == float("inf") else f"{end:.12g}", running))
        return found


class Histograms(dict[Labels, Histogram]):
    """Histograms with the same upper ends, by labels; one that is not there is made."""

    def __init__(self, ends: tuple[float, ...]) -> None:
        super().__init__()
        self._ends = ends

    def __missing__(self, labels: Labels) -> Histogram:
        made = self[labels] = Histogram(self._ends)
        return made


def counter(
    name: str, help_: str, values: Mapping[Labels, float] | float, labels: Names = ()
) -> "Metric":
    """A family of numbers that only grow, in the order of their labels; a number alone has no labels."""
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, help_, labels=labels), values)


def gauge(
    name: str, help_: str, values: Mapping[Labels, float] | float, labels: Names = ()
) -> "Metric":
    """A family of numbers that grow and shrink, in the order of their labels."""
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, help_, labels=labels), values)


def histogram(
    name: str, help_: str, values: Mapping[Labels, Histogram] | Histogram, labels: Names = ()
) -> "Metric":
    """A family of histograms, in the order of their labels."""
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help_, labels=labels)
    for found, value in [((), values)] if isinstance(values, Histogram) else sorted(values.items()):
        family.add_metric(found, value.buckets(), value.sum)
    return family


def process(started: float) -> "Iterator[Metric]":
    """What every Prometheus client says of its process; a component that shares one says the same as the others.

    Args:
        started: When the component began, in seconds since the epoch.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        used.ru_utime + used.ru_stime,
    )
    with open("/proc/self/statm") as statm:
        virtual, resident = statm.read().split()[:2]
    page = resource.getpagesize()
    yield gauge(
        "process_resident_memory_bytes", "Resident memory size in bytes.", int(resident) * page
    )
    yield gauge(
        "process_virtual_memory_bytes", "Virtual memory size in bytes.", int(virtual) * page
    )
    yield gauge(
        "process_open_fds", "Number of open file descriptors.", len(os.listdir("/proc/self/fd"))
    )
    yield gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
    yield gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        started,
    )


def text(families: "Iterable[Metric]") -> bytes:
    """Families in the text format."""
    from prometheus_client import exposition
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return exposition.generate_latest(registry)


class _Given:
    """Families that are made already, in the form in which the library asks for them."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "Iterable[Metric]":
        return self._families


def _filled(
    family: "CounterMetricFamily | GaugeMetricFamily", values: Mapping[Labels, float] | float
) -> "Metric":
    pairs = sorted(values.items()) if isinstance(values, Mapping) else [((), values)]
    for labels, value in pairs:
        family.add_metric(labels, value)
    return family
