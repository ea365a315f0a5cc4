"""A kubelet's metrics in Prometheus' text format: what its Summary says under the names that kubelet and cAdvisor use.

    /metrics            kubelet_*, process_*
    /metrics/cadvisor   container_*, machine_*: of containers, and network counters of pods
    /metrics/resource   what metrics-server reads

Imported when somebody first asks: prometheus_client costs memory
that a node process does not have otherwise.

Source: kubernetes pkg/kubelet/metrics/metrics.go, pkg/kubelet/metrics/collectors/resource_metrics.go; cAdvisor
metrics/prometheus.go.
"""

import os
from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from netpod.api import meta

Summary = Mapping[str, Any]
_CONTAINER = ("container", "id", "image", "name", "namespace", "pod")
_POD = ("namespace", "pod")
_LINK = ("id", "image", "interface", "name", "namespace", "pod")
_NETWORK = (
    ("receive_bytes", "rxBytes", "bytes received"),
    ("receive_packets", "rxPackets", "packets received"),
    ("receive_packets_dropped", "rxDropped", "packets dropped while receiving"),
    ("receive_errors", "rxErrors", "errors encountered while receiving"),
    ("transmit_bytes", "txBytes", "bytes transmitted"),
    ("transmit_packets", "txPackets", "packets transmitted"),
    ("transmit_packets_dropped", "txDropped", "packets dropped while transmitting"),
    ("transmit_errors", "txErrors", "errors encountered while transmitting"),
)


def kubelet(summary: Summary, version: str) -> list[Metric]:
    """What a kubelet says of itself."""
    name = GaugeMetricFamily(
        "kubelet_node_name", "The node's name. The count is always 1.", labels=["node"]
    )
    name.add_metric([summary["node"]["nodeName"]], 1)
    pods = GaugeMetricFamily(
        "kubelet_running_pods", "Number of pods that have a running pod sandbox"
    )
    pods.add_metric([], len(summary["pods"]))
    containers = GaugeMetricFamily(
        "kubelet_running_containers",
        "Number of containers currently running",
        labels=["container_state"],
    )
    containers.add_metric(["running"], sum(len(pod["containers"]) for pod in summary["pods"]))
    build = GaugeMetricFamily(
        "kubernetes_build_info", "The version that this kubelet reports", labels=["git_version"]
    )
    build.add_metric([version], 1)
    own = next(c for c in summary["node"]["systemContainers"] if c["name"] == "kubelet")
    return [name, pods, containers, build, *process(own)]


def process(own: Summary) -> list[Metric]:
    """The process's own figures, under the names of every Prometheus client."""
    cpu = CounterMetricFamily(
        "process_cpu_seconds", "Total user and system CPU time spent in seconds."
    )
    cpu.add_metric([], own["cpu"]["usageCoreNanoSeconds"] / 1e9)
    resident = GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.")
    resident.add_metric([], own["memory"]["rssBytes"])
    return [cpu, resident]


def resource(summary: Summary) -> list[Metric]:
    """What metrics-server reads: CPU and memory of node, pods and containers."""
    node = summary["node"]
    node_cpu = CounterMetricFamily(
        "node_cpu_usage_seconds", "Cumulative cpu time consumed by the node in core-seconds"
    )
    node_cpu.add_metric([], node["cpu"]["usageCoreNanoSeconds"] / 1e9)
    node_memory = GaugeMetricFamily(
        "node_memory_working_set_bytes", "Current working set of the node in bytes"
    )
    node_memory.add_metric([], node["memory"]["workingSetBytes"])
    labels = ["container", "namespace", "pod"]
    cpu = CounterMetricFamily(
        "container_cpu_usage_seconds",
        "Cumulative cpu time consumed by the container in core-seconds",
        labels=labels,
    )
    memory = GaugeMetricFamily(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
        labels=labels,
    )
    start = GaugeMetricFamily(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
        labels=labels,
    )
    pod_cpu = CounterMetricFamily(
        "pod_cpu_usage_seconds",
        "Cumulative cpu time consumed by the pod in core-seconds",
        labels=_POD,
    )
    pod_memory = GaugeMetricFamily(
        "pod_memory_working_set_bytes", "Current working set of the pod in bytes", labels=_POD
    )
    for pod in summary["pods"]:
        where = [pod["podRef"]["namespace"], pod["podRef"]["name"]]
        pod_cpu.add_metric(where, pod["cpu"]["usageCoreNanoSeconds"] / 1e9)
        pod_memory.add_metric(where, pod["memory"]["workingSetBytes"])
        for item in pod["containers"]:
            key = [item["name"], *where]
            cpu.add_metric(key, item["cpu"]["usageCoreNanoSeconds"] / 1e9)
            memory.add_metric(key, item["memory"]["workingSetBytes"])
            start.add_metric(key, meta.parse_timestamp(item["startTime"]).timestamp())
    failed = GaugeMetricFamily(
        "scrape_error", "1 if there was an error while getting container metrics, 0 otherwise"
    )
    failed.add_metric([], 0)
    return [node_cpu, node_memory, cpu, memory, start, pod_cpu, pod_memory, failed]


def cadvisor(summary: Summary) -> list[Metric]:
    """What cAdvisor says of containers and of pods' links. Series of links stand under container "", as upstream's."""
    cpu = CounterMetricFamily(
        "container_cpu_usage_seconds",
        "Cumulative cpu time consumed in seconds.",
        labels=[*_CONTAINER, "cpu"],
    )
    gauges = {
        field: GaugeMetricFamily(name, what, labels=_CONTAINER)
        for field, name, what in (
            (
                "workingSetBytes",
                "container_memory_working_set_bytes",
                "Current working set in bytes.",
            ),
            ("usageBytes", "container_memory_usage_bytes", "Current memory usage in bytes."),
            ("rssBytes", "container_memory_rss", "Size of RSS in bytes."),
        )
    }
    start = GaugeMetricFamily(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
        labels=_CONTAINER,
    )
    network = {
        field: CounterMetricFamily(
            f"container_network_{name}", f"Cumulative count of {what}", labels=_LINK
        )
        for name, field, what in _NETWORK
    }
    for pod in summary["pods"]:
        ref = pod["podRef"]
        for item in pod["containers"]:
            image, name = item["image"], item["id"]
            key = [item["name"], f"/netpod/{ref['uid']}/{name}", image, name]
            key += [ref["namespace"], ref["name"]]
            cpu.add_metric([*key, "total"], item["cpu"]["usageCoreNanoSeconds"] / 1e9)
            for field, family in gauges.items():
                family.add_metric(key, item["memory"][field])
            start.add_metric(key, meta.parse_timestamp(item["startTime"]).timestamp())
        for link in (pod.get("network") or {}).get("interfaces", ()):
            key = [f"/netpod/{ref['uid']}", "", link["name"], "", ref["namespace"], ref["name"]]
            for field, counter in network.items():
                counter.add_metric(key, link[field])
    cores = GaugeMetricFamily("machine_cpu_cores", "Number of logical CPU cores.")
    cores.add_metric([], os.cpu_count() or 1)
    memory = GaugeMetricFamily("machine_memory_bytes", "Amount of memory installed on the machine.")
    memory.add_metric([], os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return [cpu, *gauges.values(), start, *network.values(), cores, memory]
