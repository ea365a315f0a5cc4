"""Which metrics /metrics/kube-state has of pods and their containers.

Source: kube-state-metrics docs/metrics/workload/pod-metrics.md, internal/store/pod.go.
"""

from collections.abc import Iterable

from netpod.apiserver.kubestate import (
    Family,
    Kind,
    Labels,
    Make,
    Sample,
    amounts,
    conditions,
    labelled,
    moment,
    one_of,
    owners,
    word,
)
from netpod.apiserver.tables_cells import Json, dig, items

PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
_STATUSES = "status.containerStatuses"


def _info(pod: Json) -> Iterable[Sample]:
    labels = labelled(
        pod,
        {
            "host_ip": "status.hostIP",
            "pod_ip": "status.podIP",
            "node": "spec.nodeName",
            "priority_class": "spec.priorityClassName",
        },
    )
    by = next((it for it in items(pod, "metadata.ownerReferences") if it.get("controller")), {})
    labels["created_by_kind"] = word(by.get("kind", ""))
    labels["created_by_name"] = word(by.get("name", ""))
    labels["host_network"] = word(bool(dig(pod, "spec.hostNetwork")))
    yield labels, 1.0


def _ips(pod: Json) -> Iterable[Sample]:
    for found in items(pod, "status.podIPs"):
        address = word(found.get("ip", ""))
        yield {"ip": address, "ip_family": "6" if ":" in address else "4"}, 1.0


def _container(status: Json, **more: str) -> Labels:
    return {"container": word(status.get("name", "")), **more}


def _containers(name: str, help_: str, make: Make, counter: bool = False) -> Family:
    """A family of what `make` gives of each container's status."""
    return Family(
        name,
        help_,
        lambda pod: [
            (_container(status, **labels), value)
            for status in items(pod, _STATUSES)
            for labels, value in make(status)
        ],
        counter,
    )


def _state(name: str, help_: str, state: str) -> Family:
    """Whether containers are in a state."""
    return _containers(name, help_, lambda it: [({}, float(dig(it, f"state.{state}") is not None))])


def _reason(name: str, help_: str, path: str) -> Family:
    """Why containers are in a state; no sample of those that are not."""

    def make(status: Json) -> Iterable[Sample]:
        state = dig(status, path)
        return [] if state is None else [({"reason": word(dig(state, "reason", ""))}, 1.0)]

    return _containers(name, help_, make)


def _resources(name: str, help_: str, which: str) -> Family:
    def make(pod: Json) -> Iterable[Sample]:
        node = word(dig(pod, "spec.nodeName", ""))
        for container in items(pod, "spec.containers"):
            for labels, value in amounts(dig(container, f"resources.{which}")):
                yield _container(container, node=node, **labels), value

    return Family(name, help_, make)


def _container_info(pod: Json) -> Iterable[Sample]:
    specs = {it.get("name"): word(it.get("image", "")) for it in items(pod, "spec.containers")}
    paths = {"image": "image", "image_id": "imageID", "container_id": "containerID"}
    for status in items(pod, _STATUSES):
        spec = specs.get(status.get("name"), "")
        yield _container(status, image_spec=spec, **labelled(status, paths)), 1.0


POD = Kind(
    "",
    "pods",
    {"namespace": "metadata.namespace", "pod": "metadata.name", "uid": "metadata.uid"},
    (
        Family("kube_pod_info", "Information about pod.", _info),
        Family("kube_pod_ips", "Pod IP addresses", _ips),
        moment("kube_pod_created", "Unix creation timestamp", "metadata.creationTimestamp"),
        moment("kube_pod_start_time", "Start time in unix timestamp for a pod.", "status.startTime"),
        owners("kube_pod_owner", "Information about the Pod's owner."),
        one_of("kube_pod_status_phase", "The pods current phase.", "status.phase", "phase", PHASES),
        conditions("kube_pod_status_ready", "Describes whether the pod is ready to serve requests.", "condition", "Ready"),
        conditions("kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod.", "condition", "PodScheduled"),
        Family("kube_pod_container_info", "Information about a container in a pod.", _container_info),
        _containers("kube_pod_container_status_ready", "Describes whether the containers readiness check succeeded.", lambda it: [({}, float(it.get("ready", False)))]),
        _state("kube_pod_container_status_running", "Describes whether the container is currently in running state.", "running"),
        _state("kube_pod_container_status_waiting", "Describes whether the container is currently in waiting state.", "waiting"),
        _reason("kube_pod_container_status_waiting_reason", "Describes the reason the container is currently in waiting state.", "state.waiting"),
        _state("kube_pod_container_status_terminated", "Describes whether the container is currently in terminated state.", "terminated"),
        _reason("kube_pod_container_status_terminated_reason", "Describes the reason the container is currently in terminated state.", "state.terminated"),
        _reason("kube_pod_container_status_last_terminated_reason", "Describes the last reason the container was in terminated state.", "lastState.terminated"),
        _containers("kube_pod_container_status_restarts_total", "The number of container restarts per container.", lambda it: [({}, float(it.get("restartCount", 0)))], True),
        _resources("kube_pod_container_resource_requests", "The number of requested request resource by a container.", "requests"),
        _resources("kube_pod_container_resource_limits", "The number of requested limit resource by a container.", "limits"),
    ),
)  # fmt: skip
