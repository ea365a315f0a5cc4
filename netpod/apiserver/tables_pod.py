"""How `kubectl get pods` reads: READY, STATUS and RESTARTS from the container statuses.

Source: pkg/printers/internalversion/printers.go printPod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from netpod.api import meta
from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    human_duration,
    items,
    wide,
)

_COLUMNS = (
    NAME,
    Column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    Column("Status", "The aggregate status of the containers in this pod."),
    Column("Restarts", "How often the containers of this pod were restarted, and when last."),
    AGE,
    wide("IP", "The pod's address."),
    wide("Node", "The node the pod is bound to."),
    wide("Nominated Node", "The node that is being cleared for the pod."),
    wide("Readiness Gates", "Extra conditions of readiness that are met."),
)
_CONDITIONS = {
    "Succeeded": {
        "type": "Completed",
        "status": "True",
        "reason": "Succeeded",
        "message": "The pod has completed successfully.",
    },
    "Failed": {
        "type": "Completed",
        "status": "True",
        "reason": "Failed",
        "message": "The pod failed.",
    },
}


@dataclass(slots=True)
class _Restarts:
    """Restarts counted so far and when the last one happened."""

    count: int = 0
    last: datetime | None = None

    def add(self, status: Json) -> None:
        self.count += int(dig(status, "restartCount", 0))
        finished = dig(status, "lastState.terminated.finishedAt")
        try:
            moment = meta.parse_timestamp(finished) if finished else None
        except (TypeError, ValueError):
            return
        if moment is not None:
            self.last = moment if self.last is None else max(self.last, moment)

    def text(self, now: datetime) -> str:
        if self.count and self.last:
            return f"{self.count} ({human_duration(now - self.last)} ago)"
        return str(self.count)


def _row(pod: Json, now: datetime) -> Row:
    ready, status, restarts = summary(pod, now)
    gates = items(pod, "spec.readinessGates")
    true = {c.get("type") for c in items(pod, "status.conditions") if c.get("status") == "True"}
    met = sum(gate.get("conditionType") in true for gate in gates)
    addresses = items(pod, "status.podIPs")
    pod_ip = addresses[0].get("ip") if addresses else dig(pod, "status.podIP")
    condition = _CONDITIONS.get(dig(pod, "status.phase", ""))
    return Row(
        (
            dig(pod, "metadata.name", ""),
            ready,
            status,
            restarts,
            age(pod, now),
            pod_ip or NONE,
            dig(pod, "spec.nodeName") or NONE,
            dig(pod, "status.nominatedNodeName") or NONE,
            f"{met}/{len(gates)}" if gates else NONE,
        ),
        (condition,) if condition else (),
    )


def summary(pod: Json, now: datetime) -> tuple[str, str, str]:
    """Return READY, STATUS and RESTARTS of a pod."""
    phase = dig(pod, "status.phase", "")
    reason = dig(pod, "status.reason") or phase
    conditions = {c.get("type"): c for c in items(pod, "status.conditions")}
    if dig(conditions, "PodScheduled.reason") == "SchedulingGated":
        reason = "SchedulingGated"

    sidecars = {
        container.get("name")
        for container in items(pod, "spec.initContainers")
        if container.get("restartPolicy") == "Always"
    }
    total = len(items(pod, "spec.containers")) + len(sidecars)
    ready, restarts, sidecar_restarts = 0, _Restarts(), _Restarts()
    initializing = ""
    for index, status in enumerate(items(pod, "status.initContainerStatuses")):
        restarts.add(status)
        sidecar = status.get("name") in sidecars
        if sidecar:
            sidecar_restarts.add(status)
        if sidecar and status.get("started") and not dig(status, "state.terminated"):
            ready += bool(status.get("ready"))
            continue
        initializing = _init_reason(pod, index, status)
        if initializing:
            break

    if not initializing or dig(conditions, "Initialized.status") == "True":
        restarts = sidecar_restarts
        reason, running = _main_reason(pod, reason, restarts)
        ready += running
        if reason == "Completed" and running:
            reason = "Running" if dig(conditions, "Ready.status") == "True" else "NotReady"
    else:
        reason = initializing

    if dig(pod, "metadata.deletionTimestamp"):
        if dig(pod, "status.reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return f"{ready}/{total}", reason, restarts.text(now)


def _init_reason(pod: Json, index: int, status: Json) -> str:
    """Return why this init container holds the pod up, or "" when it is done."""
    terminated = dig(status, "state.terminated")
    if terminated is not None:
        if not terminated.get("exitCode"):
            return ""
        return "Init:" + _ended(terminated)
    waiting = dig(status, "state.waiting.reason", "")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{index}/{len(items(pod, 'spec.initContainers'))}"


def _main_reason(pod: Json, reason: str, restarts: _Restarts) -> tuple[str, int]:
    """Return the reason the first container with one gives, and how many run and are ready."""
    running = 0
    for status in reversed(items(pod, "status.containerStatuses")):
        restarts.add(status)
        terminated = dig(status, "state.terminated")
        if dig(status, "state.waiting.reason"):
            reason = dig(status, "state.waiting.reason")
        elif terminated is not None:
            reason = _ended(terminated)
        elif status.get("ready") and dig(status, "state.running") is not None:
            running += 1
    return reason, running


def _ended(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


LAYOUTS: Mapping[str, Layout] = {"Pod": Layout(_COLUMNS, _row)}
