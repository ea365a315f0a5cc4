"""Which metrics /metrics/kube-state has of pods and their containers.

Source: kube-state-metrics docs/metrics/workload/pod-metrics.md, internal/store/pod.go.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netpod.api import meta
from netpod.apiserver.kubestate import (
    Family,
    Make,
    Sample,
    amounts,
    conditions,
    info,
    labelled,
    moment,
    one_of,
    ordinary,
    owners,
    word,
)
from netpod.apiserver.tables_cells import Json, dig, items

PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
QOS_CLASSES = ("BestEffort", "Burstable", "Guaranteed")
REASONS = ("Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError")


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


def _when(name: str, help_: str, condition: str, only: str = "True") -> Family:
    """The Unix time at which a condition became so."""

    def make(pod: Json) -> Iterable[Sample]:
        for found in items(pod, "status.conditions"):
            since = found.get("lastTransitionTime")
            if found.get("type") == condition and found.get("status") == only and since:
                yield {}, meta.parse_timestamp(since).timestamp()

    return Family(name, help_, make)


def _unschedulable(pod: Json) -> Iterable[Sample]:
    for found in items(pod, "status.conditions"):
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            yield {}, 1.0


def _why(pod: Json) -> Iterable[Sample]:
    reason = dig(pod, "status.reason", "")
    return [({"reason": it}, float(it == reason)) for it in REASONS]


def _completed(pod: Json) -> Iterable[Sample]:
    """When the last container of a pod that ended did."""
    ends = [
        meta.parse_timestamp(end).timestamp()
        for status in items(pod, _CONTAINERS.statuses)
        if (end := dig(status, "state.terminated.finishedAt"))
    ]
    if ends and dig(pod, "status.phase") in ("Succeeded", "Failed"):
        yield {}, max(ends)


def _claims(value: Callable[[Json], float]) -> Make:
    """A sample of each volume that is a claim's."""

    def make(pod: Json) -> Iterable[Sample]:
        for volume in items(pod, "spec.volumes"):
            claim = volume.get("persistentVolumeClaim")
            if claim:
                labels = {
                    "volume": volume.get("name", ""),
                    "persistentvolumeclaim": claim.get("claimName", ""),
                }
                yield {name: word(it) for name, it in labels.items()}, value(claim)

    return make


def _tolerations(pod: Json) -> Iterable[Sample]:
    paths = {
        "key": "key",
        "operator": "operator",
        "value": "value",
        "effect": "effect",
        "toleration_seconds": "tolerationSeconds",
    }
    for found in items(pod, "spec.tolerations"):
        yield {name: it for name, it in labelled(found, paths).items() if it}, 1.0


@dataclass(frozen=True, slots=True)
class _Group:
    """Containers or init containers: where they are in a pod, and how their families' names begin."""

    prefix: str
    what: str
    specs: str
    statuses: str

    def families(self) -> tuple[Family, ...]:
        """What is said of each container."""
        what = self.what
        return (
            Family(f"{self.prefix}_info", f"Information about {what} in a pod.", self._info),
            self._each("status_ready", f"Describes whether the {what}s readiness check succeeded.", lambda it: [({}, float(it.get("ready", False)))]),
            self._state("running"),
            self._state("waiting"),
            self._reason("waiting", "state.waiting"),
            self._state("terminated"),
            self._reason("terminated", "state.terminated"),
            self._reason("last_terminated", "lastState.terminated"),
            self._each("status_restarts_total", f"The number of restarts per {what}.", lambda it: [({}, float(it.get("restartCount", 0)))], counter=True),
            self._resources("requests"),
            self._resources("limits"),
        )  # fmt: skip

    def each(self, name: str, help_: str, path: str) -> Family:
        """The number or Unix time at a path of each container's status."""

        def make(status: Json) -> Iterable[Sample]:
            value = dig(status, path)
            if value is not None:
                number = (
                    meta.parse_timestamp(value).timestamp() if isinstance(value, str) else value
                )
                yield {}, float(number)

        return self._each(name, help_, make)

    def _each(self, name: str, help_: str, make: Make, *, counter: bool = False) -> Family:
        """What `make` gives of each container's status."""
        return Family(
            f"{self.prefix}_{name}",
            help_,
            lambda pod: [
                ({"container": word(status.get("name", "")), **labels}, value)
                for status in items(pod, self.statuses)
                for labels, value in make(status)
            ],
            counter,
        )

    def _state(self, state: str) -> Family:
        said = f"Describes whether the {self.what} is currently in {state} state."
        return self._each(f"status_{state}", said, lambda it: [({}, float(dig(it, f"state.{state}") is not None))])  # fmt: skip

    def _reason(self, name: str, path: str) -> Family:
        """Why containers are in a state; no sample of those that are not."""

        def make(status: Json) -> Iterable[Sample]:
            state = dig(status, path)
            return [] if state is None else [({"reason": word(dig(state, "reason", ""))}, 1.0)]

        said = f"Describes the reason the {self.what} is in {name.replace('_', ' ')} state."
        return self._each(f"status_{name}_reason", said, make)

    def _resources(self, which: str) -> Family:
        def make(pod: Json) -> Iterable[Sample]:
            node = word(dig(pod, "spec.nodeName", ""))
            for container in items(pod, self.specs):
                for labels, value in amounts(dig(container, f"resources.{which}")):
                    yield (
                        {"container": word(container.get("name", "")), "node": node, **labels},
                        value,
                    )

        said = f"The number of {which.removesuffix('s')} resource by a {self.what}."
        return Family(f"{self.prefix}_resource_{which}", said, make)

    def _info(self, pod: Json) -> Iterable[Sample]:
        specs = {it.get("name"): word(it.get("image", "")) for it in items(pod, self.specs)}
        paths = {"image": "image", "image_id": "imageID", "container_id": "containerID"}
        for status in items(pod, self.statuses):
            named = {"container": word(status.get("name", ""))}
            spec = specs.get(status.get("name"), "")
            yield {**named, "image_spec": spec, **labelled(status, paths)}, 1.0


_CONTAINERS = _Group(
    "kube_pod_container", "container", "spec.containers", "status.containerStatuses"
)
_INIT = _Group("kube_pod_init_container", "init container", "spec.initContainers", "status.initContainerStatuses")  # fmt: skip

POD = ordinary(
    "",
    "pods",
    "pod",
    Family("kube_pod_info", "Information about pod.", _info),
    Family("kube_pod_ips", "Pod IP addresses", _ips),
    moment("kube_pod_start_time", "Start time in unix timestamp for a pod.", "status.startTime"),
    Family("kube_pod_completion_time", "Completion time in unix timestamp for a pod.", _completed),
    owners("kube_pod_owner", "Information about the Pod's owner."),
    info("kube_pod_restart_policy", "Describes the restart policy in use by this pod.", type="spec.restartPolicy"),
    info("kube_pod_service_account", "The service account for a pod.", service_account="spec.serviceAccountName"),
    info("kube_pod_scheduler", "The scheduler for a pod.", name="spec.schedulerName"),
    Family("kube_pod_tolerations", "Information about the pod tolerations", _tolerations),
    one_of("kube_pod_status_phase", "The pods current phase.", "status.phase", "phase", PHASES),
    one_of("kube_pod_status_qos_class", "The pods current qosClass.", "status.qosClass", "qos_class", QOS_CLASSES),
    Family("kube_pod_status_reason", "The pod status reasons", _why),
    conditions("kube_pod_status_ready", "Describes whether the pod is ready to serve requests.", "condition", "Ready"),
    conditions("kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod.", "condition", "PodScheduled"),
    Family("kube_pod_status_unschedulable", "Describes the unschedulable status for the pod.", _unschedulable),
    _when("kube_pod_status_scheduled_time", "Unix timestamp when pod moved into scheduled status", "PodScheduled"),
    _when("kube_pod_status_initialized_time", "Initialized time in unix timestamp for a pod.", "Initialized"),
    _when("kube_pod_status_container_ready_time", "Readiness achieved time in unix timestamp for a pod containers.", "ContainersReady"),
    _when("kube_pod_status_ready_time", "Readiness achieved time in unix timestamp for a pod.", "Ready"),
    Family("kube_pod_spec_volumes_persistentvolumeclaims_info", "Information about persistentvolumeclaim volumes in a pod.", _claims(lambda claim: 1.0)),
    Family("kube_pod_spec_volumes_persistentvolumeclaims_readonly", "Describes whether a persistentvolumeclaim is mounted read only.", _claims(lambda claim: float(claim.get("readOnly", False)))),
    *_CONTAINERS.families(),
    _CONTAINERS.each("state_started", "Start time in unix timestamp for a pod container.", "state.running.startedAt"),
    _CONTAINERS.each("status_last_terminated_exitcode", "Describes the exit code for the last container in terminated state.", "lastState.terminated.exitCode"),
    _CONTAINERS.each("status_last_terminated_timestamp", "Last terminated time for a pod container in unix timestamp.", "lastState.terminated.finishedAt"),
    *_INIT.families(),
    uid="metadata.uid",
)  # fmt: skip
