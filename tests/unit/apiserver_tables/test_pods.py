"""READY, STATUS and RESTARTS of pods."""

from datetime import UTC, datetime
from typing import Any

import pytest

from netpod.api import registry
from netpod.apiserver import tables

NOW = datetime(2024, 1, 1, 12, 0, 0, tzinfo=UTC)
RUNNING: dict[str, Any] = {"state": {"running": {"startedAt": "x"}}, "ready": True}
DONE: dict[str, Any] = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}


def container(name: str = "c", **fields: Any) -> dict[str, Any]:
    """Return a container status."""
    return {"name": name, "restartCount": 0, **fields}


def pod(
    phase: str,
    statuses: list[dict[str, Any]],
    *,
    init: list[dict[str, Any]] | None = None,
    conditions: dict[str, str] | None = None,
    sidecars: tuple[str, ...] = (),
    **metadata: Any,
) -> dict[str, Any]:
    """Return a pod with as many containers as statuses."""
    names = [status["name"] for status in init or ()]
    return {
        "metadata": {"name": "p", "creationTimestamp": "2024-01-01T11:59:00Z", **metadata},
        "spec": {
            "containers": [{"name": status["name"]} for status in statuses],
            "initContainers": [
                {"name": n, **({"restartPolicy": "Always"} if n in sidecars else {})} for n in names
            ],
        },
        "status": {
            "phase": phase,
            "containerStatuses": statuses,
            "initContainerStatuses": init or [],
            "conditions": [{"type": t, "status": s} for t, s in (conditions or {}).items()],
        },
    }


def cells(obj: dict[str, Any]) -> list[Any]:
    """Return the cells of the pod's row."""
    made = tables.table(registry.lookup("pods"), [obj], now=NOW)
    found: list[Any] = made["rows"][0]["cells"]
    return found


CASES = {
    "running": (pod("Running", [container(**RUNNING)]), "1/1", "Running"),
    "pending": (pod("Pending", []), "0/0", "Pending"),
    "creating": (
        pod("Pending", [container(state={"waiting": {"reason": "ContainerCreating"}})]),
        "0/1",
        "ContainerCreating",
    ),
    "crash": (
        pod("Running", [container(state={"waiting": {"reason": "CrashLoopBackOff"}})]),
        "0/1",
        "CrashLoopBackOff",
    ),
    "not ready": (pod("Running", [container(state={"running": {}}, ready=False)]), "0/1", "Running"),
    "completed": (pod("Succeeded", [container(**DONE)]), "0/1", "Completed"),
    "error": (
        pod("Failed", [container(state={"terminated": {"exitCode": 1, "reason": "Error"}})]),
        "0/1",
        "Error",
    ),
    "exit code": (pod("Failed", [container(state={"terminated": {"exitCode": 3}})]), "0/1", "ExitCode:3"),
    "signal": (
        pod("Failed", [container(state={"terminated": {"exitCode": 137, "signal": 9}})]),
        "0/1",
        "Signal:9",
    ),
    "one of two done, ready": (
        pod("Running", [container("a", **DONE), container("b", **RUNNING)], conditions={"Ready": "True"}),
        "1/2",
        "Running",
    ),
    "one of two done, not ready": (
        pod("Running", [container("a", **DONE), container("b", **RUNNING)]),
        "1/2",
        "NotReady",
    ),
    "terminating": (
        pod("Running", [container(**RUNNING)], deletionTimestamp="2024-01-01T12:00:00Z"),
        "1/1",
        "Terminating",
    ),
    "deleted after it completed": (
        pod("Succeeded", [container(**DONE)], deletionTimestamp="2024-01-01T12:00:00Z"),
        "0/1",
        "Completed",
    ),
    "init waits": (
        pod("Pending", [container()], init=[container("i", state={"waiting": {"reason": "PodInitializing"}})]),
        "0/1",
        "Init:0/1",
    ),
    "second init runs": (
        pod("Pending", [container()], init=[container("i", **DONE), container("j", state={"running": {}})]),
        "0/1",
        "Init:1/2",
    ),
    "init failed": (
        pod("Pending", [container()], init=[container("i", state={"terminated": {"exitCode": 2}})]),
        "0/1",
        "Init:ExitCode:2",
    ),
    "init crashes": (
        pod("Pending", [container()], init=[container("i", state={"waiting": {"reason": "CrashLoopBackOff"}})]),
        "0/1",
        "Init:CrashLoopBackOff",
    ),
    "init done": (pod("Running", [container(**RUNNING)], init=[container("i", **DONE)]), "1/1", "Running"),
    "sidecar": (
        pod("Running", [container(**RUNNING)], init=[container("s", started=True, **RUNNING)], sidecars=("s",)),
        "2/2",
        "Running",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ready_and_status(name: str) -> None:
    """The columns say what upstream's printer says."""
    obj, ready, status = CASES[name]
    assert cells(obj)[:3] == ["p", ready, status]


def test_reason_of_the_pod_wins_over_its_phase() -> None:
    """An evicted pod reads Evicted; a deleted one on a lost node Unknown."""
    obj = pod("Failed", [])
    obj["status"]["reason"] = "Evicted"
    assert cells(obj)[2] == "Evicted"
    lost = pod("Running", [container(**RUNNING)], deletionTimestamp="2024-01-01T12:00:00Z")
    lost["status"]["reason"] = "NodeLost"
    assert cells(lost)[2] == "Unknown"


def test_restarts_say_when_the_last_one_was() -> None:
    """Restarts of all containers, and the age of the newest."""
    ended = {"lastState": {"terminated": {"finishedAt": "2024-01-01T11:55:00Z"}}}
    obj = pod("Running", [container("a", **RUNNING, **ended), container("b", **RUNNING)])
    obj["status"]["containerStatuses"][0]["restartCount"] = 2
    obj["status"]["containerStatuses"][1]["restartCount"] = 1
    assert cells(obj)[3] == "3 (5m ago)"
    obj["status"]["containerStatuses"][0].pop("lastState")
    assert cells(obj)[3] == "3"


def test_wide_cells() -> None:
    """Address, node, nominated node and readiness gates; `<none>` where there is nothing."""
    obj = pod("Running", [container(**RUNNING)], conditions={"x": "True"})
    assert cells(obj)[4:] == ["60s", "<none>", "<none>", "<none>", "<none>"]
    obj["status"]["podIPs"] = [{"ip": "10.244.1.2"}]
    obj["spec"]["nodeName"] = "worker"
    obj["spec"]["readinessGates"] = [{"conditionType": "x"}, {"conditionType": "y"}]
    assert cells(obj)[5:] == ["10.244.1.2", "worker", "<none>", "1/2"]


def test_a_finished_pod_carries_the_completed_condition() -> None:
    """Clients can filter finished pods by the row's condition."""
    made = tables.table(registry.lookup("pods"), [CASES["completed"][0]], now=NOW)
    assert made["rows"][0]["conditions"][0]["type"] == "Completed"
    assert (
        "conditions"
        not in tables.table(registry.lookup("pods"), [pod("Running", [])], now=NOW)["rows"][0]
    )
