"""What probes a node's kubelet asked, with which answer, how fast: its /metrics/probes. Pods that went are forgotten.

Source: kubernetes pkg/kubelet/prober/prober.go, prober_manager.go (ProberResults, ProberDuration).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netpod import metrics
from netpod.api.pod import Pod
from netpod.kubelet.probe import Outcome

if TYPE_CHECKING:
    from prometheus_client.core import Metric

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends: those of every Prometheus client."""
_RESULTS = {
    Outcome.SUCCESS: "successful",
    Outcome.FAILURE: "failed",
    Outcome.UNKNOWN: "unknown",
}
_PLACE = ("probe_type", "container", "pod", "namespace")


class ProbeMetrics:
    """Of one node."""

    def __init__(self) -> None:
        self._total = metrics.Counts()
        self._seconds = metrics.Histograms(SECONDS)

    def note(self, pod: Pod, container: str, kind: str, outcome: Outcome, seconds: float) -> None:
        """Count an answer; `kind` is Readiness, Liveness or Startup."""
        about = pod.metadata
        place = (container, about.name, about.namespace)
        self._total[(kind, _RESULTS[outcome], *place, about.uid)] += 1
        self._seconds[(kind, *place)].observe(seconds)

    def forget(self, pod: Pod) -> None:
        """The pod is gone."""
        about = pod.metadata
        for labels in [it for it in self._total if it[-1] == about.uid]:
            del self._total[labels]
        for labels in [it for it in self._seconds if it[2:] == (about.name, about.namespace)]:
            del self._seconds[labels]

    def families(self) -> "Iterator[Metric]":
        """What there is, for the text format."""
        yield metrics.counter(
            "prober_probe_total",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            self._total,
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"),
        )
        yield metrics.histogram(
            "prober_probe_duration_seconds",
            "Duration in seconds for a probe response.",
            self._seconds,
            _PLACE,
        )
