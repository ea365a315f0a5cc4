"""The Summary of a node: what its pods, their containers and its links use. Pure; stats.py samples.

Rates are over the time since the sample before, of a container that is younger since its start. The node's own figures
are those of its pods, its node process and its shim: several nodes share this machine, so the machine's would be
nobody's.

Source: k8s.io/kubelet pkg/apis/stats/v1alpha1/types.go. Packets and drops of links, ids and images of containers are
netpod's addition.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from netpod.api import meta
from netpod.api.cri import ContainerStats
from netpod.linux.usage import Traffic

POD_LINK = "eth0"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Counters at one moment.

    Attributes:
        at: When.
        containers: Of each running container, by id; the shim's own under "".
        kubelet: Of the node process.
        traffic: Of the node's links by name; a pod's is that of its link's end on the node.
    """

    at: datetime
    containers: Mapping[str, ContainerStats] = field(default_factory=dict)
    kubelet: ContainerStats = field(default_factory=ContainerStats)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)

    @functools.cached_property
    def stamp(self) -> str:
        """The moment as the API writes it."""
        return meta.timestamp(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    """A container as far as its usage goes; `started_at` is RFC 3339, "" when nobody knows."""

    name: str
    id: str = ""
    image: str = ""
    started_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPod:
    """A pod as far as its usage goes.

    Attributes:
        link: Its link's end on the node; "" with the node's own network.
        containers: Those that run.
    """

    namespace: str
    name: str
    uid: str
    started_at: str
    link: str
    containers: Sequence[RunningContainer]


def compile(
    node: str,
    before: Sample | None,
    now: Sample,
    pods: Sequence[RunningPod],
    memory_available: int = 0,
) -> dict[str, Any]:
    """Return the Summary.

    Args:
        node: Its name.
        before: The sample that rates are counted from; without one since each container's start.
        now: What is told.
        pods: What runs.
        memory_available: Bytes that the machine has left.
    """
    before = before or Sample(at=now.at)
    told = [_pod(before, now, pod) for pod in sorted(pods, key=lambda p: (p.namespace, p.name))]
    system = [
        _container(RunningContainer(name="kubelet"), before.kubelet, now.kubelet, before, now),
        _container(
            RunningContainer(name="runtime"),
            before.containers.get(""),
            now.containers.get("", ContainerStats()),
            before,
            now,
        ),
    ]
    parts = [*told, *system]
    own = {name: t for name, t in now.traffic.items() if not name.startswith("veth")}
    memory = _sum_memory(parts, now)
    memory["availableBytes"] = memory_available
    return {
        "node": {
            "nodeName": node,
            "systemContainers": system,
            "startTime": now.stamp,
            "cpu": _sum_cpu(parts, now),
            "memory": memory,
            "network": _network(own, now) if own else None,
        },
        "pods": told,
    }


def _pod(before: Sample, now: Sample, pod: RunningPod) -> dict[str, Any]:
    running = [
        (item, now.containers[item.id]) for item in pod.containers if item.id in now.containers
    ]
    containers = [
        {
            **_container(item, before.containers.get(item.id), stats, before, now),
            "id": item.id,
            "image": item.image,
        }
        for item, stats in running
    ]
    told: dict[str, Any] = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": pod.started_at,
        "containers": containers,
        "cpu": _sum_cpu(containers, now),
        "memory": _sum_memory(containers, now),
    }
    traffic = now.traffic.get(pod.link)
    if traffic is not None:
        told["network"] = _network({POD_LINK: traffic.reversed}, now)
    told["process_stats"] = {"process_count": sum(stats.processes for _, stats in running)}
    return told


def _container(
    item: RunningContainer,
    old: ContainerStats | None,
    stats: ContainerStats,
    before: Sample,
    now: Sample,
) -> dict[str, Any]:
    since, used = None, stats.cpu
    if old is not None:
        since, used = before.at, stats.cpu - old.cpu
    elif item.started_at:
        since = meta.parse_timestamp(item.started_at)
    seconds = (now.at - since).total_seconds() if since is not None else 0.0
    cpu: dict[str, Any] = {"time": now.stamp, "usageCoreNanoSeconds": stats.cpu}
    if seconds > 0:
        # A process whose children somebody else waited for takes their time with it.
        cpu["usageNanoCores"] = max(0, int(used / seconds))
    return {
        "name": item.name,
        "startTime": item.started_at or now.stamp,
        "cpu": cpu,
        "memory": {
            "time": now.stamp,
            "usageBytes": stats.memory,
            "workingSetBytes": stats.memory,
            "rssBytes": stats.resident,
        },
    }


def _sum_cpu(parts: Sequence[Mapping[str, Any]], now: Sample) -> dict[str, Any]:
    return {
        "time": now.stamp,
        "usageNanoCores": sum(part["cpu"].get("usageNanoCores", 0) for part in parts),
        "usageCoreNanoSeconds": sum(part["cpu"]["usageCoreNanoSeconds"] for part in parts),
    }


def _sum_memory(parts: Sequence[Mapping[str, Any]], now: Sample) -> dict[str, Any]:
    names = ("usageBytes", "workingSetBytes", "rssBytes")
    sums = {name: sum(part["memory"][name] for part in parts) for name in names}
    return {"time": now.stamp, **sums}


def _network(links: Mapping[str, Traffic], now: Sample) -> dict[str, Any]:
    interfaces = [
        {
            "name": name,
            "rxBytes": traffic.rx_bytes,
            "rxErrors": traffic.rx_errors,
            "txBytes": traffic.tx_bytes,
            "txErrors": traffic.tx_errors,
            "rxPackets": traffic.rx_packets,
            "rxDropped": traffic.rx_dropped,
            "txPackets": traffic.tx_packets,
            "txDropped": traffic.tx_dropped,
        }
        for name, traffic in sorted(links.items())
    ]
    first = next((i for i in interfaces if i["name"] == POD_LINK), interfaces[0])
    return {"time": now.stamp, **first, "interfaces": interfaces}
