"""What the controllers count about themselves, under the names of upstream's kube-controller-manager.

Source: client-go util/workqueue/metrics.go; kubernetes pkg/controller/nodelifecycle/metrics.go,
pkg/controller/tainteviction/metrics; k8s.io/component-base/metrics/prometheus/clientgo/leaderelection.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netpod import metrics
from netpod.client import queuemetrics
from netpod.client.queuemetrics import QueueMetrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

NAME = "kube-controller-manager"
_QUEUES: Mapping[str, str] = {
    "replicationcontroller": "replicationmanager",
    "endpointslice": "endpoint_slice",
    "endpoints": "endpoint",
    "endpointslicemirroring": "endpoint_slice_mirroring",
    "garbagecollector": "garbage_collector_attempt_to_delete",
    "nodelifecycle": "node_lifecycle_controller",
    "persistentvolume-binder": "claims",
    "pvc-protection": "pvcprotection",
    "resourcequota": "resourcequota_primary",
    "root-ca-cert-publisher": "root_ca_cert_publisher",
    "ttl-after-finished": "ttl_jobs_to_delete",
}
"""Upstream's names of queues, where they are not their controllers'."""


class Metrics:
    """Of all controllers of a process.

    Attributes:
        zones: Nodes, and those that are not ready, by zone; set by who watches over nodes.
    """

    def __init__(self) -> None:
        self._queues: dict[str, QueueMetrics[Any]] = {}
        self._health = metrics.Histogram(metrics.exponential(0.001, 4, 8))
        self._evictions = metrics.Counts()
        self._deleted = 0
        self.zones: Mapping[str, tuple[int, int]] = {}

    def queue(self, name: str, counted: QueueMetrics[Any]) -> None:
        """Tell of a queue, by its controller's name."""
        self._queues[_QUEUES.get(name, name)] = counted

    def judged(self, seconds: float) -> None:
        """A node's health was looked at."""
        self._health.observe(seconds)

    def evicting(self, zone: str) -> None:
        """A node's pods were told to go."""
        self._evictions[(zone,)] += 1

    def evicted(self) -> None:
        """A pod was deleted for its node's taint."""
        self._deleted += 1

    def families(self) -> "Iterator[Metric]":
        """What there is, for the text format."""
        yield from queuemetrics.families(self._queues)
        zone = ("zone",)
        yield metrics.gauge(
            "node_collector_zone_size",
            "Gauge measuring number of registered Nodes per zones.",
            {(it,): nodes for it, (nodes, _) in self.zones.items()},
            zone,
        )
        yield metrics.gauge(
            "node_collector_zone_health",
            "Gauge measuring percentage of healthy nodes per zone.",
            {(it,): 100 * (nodes - bad) / nodes for it, (nodes, bad) in self.zones.items()},
            zone,
        )
        yield metrics.gauge(
            "node_collector_unhealthy_nodes_in_zone",
            "Gauge measuring number of not Ready Nodes per zones.",
            {(it,): bad for it, (_, bad) in self.zones.items()},
            zone,
        )
        yield metrics.counter(
            "node_collector_evictions_total",
            "Number of Node evictions that happened since current instance of NodeController started.",
            {(it,): self._evictions[(it,)] for it in self.zones} | dict(self._evictions),
            zone,
        )
        yield metrics.histogram(
            "node_collector_update_node_health_duration_seconds",
            "Duration in seconds for NodeController to update the health of a single node.",
            self._health,
        )
        yield metrics.counter(
            "taint_eviction_controller_pod_deletions_total",
            "Total number of Pods deleted by TaintEvictionController since its start.",
            self._deleted,
        )
        yield metrics.gauge(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
            "'name' is the string used to identify the lease. Please make sure to group by name.",
            {(NAME,): 1},
            ("name",),
        )
