"""What an author may get wrong must not stop a controller, for it would stop all of them."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from netpod.api import registry
from netpod.api.workloads import DaemonSet
from netpod.client.rest import Client
from netpod.errors import ApiError
from tests.unit.controllers import plane, workloads
from tests.unit.controllers.test_daemonset import AGENT, spread
from tests.unit.controllers.test_job import TEMPLATE

JOB: dict[str, Any] = {"template": TEMPLATE}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SELECTOR = {"matchLabels": {"app": "x"}}
POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
SET: dict[str, Any] = {"selector": SELECTOR, "template": POD}
TARGET = {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}

SCALE: dict[str, Any] = {"scaleTargetRef": TARGET, "maxReplicas": 3}


def rolling(**bounds: Any) -> dict[str, Any]:
    """Return an update strategy."""
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": bounds}}


def affine(affinity: Any) -> dict[str, Any]:
    """Return a pod template with a node affinity."""
    return {**POD, "spec": {**POD["spec"], "affinity": {"nodeAffinity": affinity}}}


def metric(target: Any) -> dict[str, Any]:
    """Return a metric of CPU."""
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


BAD: list[tuple[str, dict[str, Any]]] = [
    ("daemonsets", {**SET, **rolling(maxUnavailable="abc")}),
    ("daemonsets", {**SET, **rolling(maxUnavailable="-5%")}),
    ("daemonsets", {**SET, **rolling(maxSurge="x%", maxUnavailable=0)}),
    ("daemonsets", {**SET, "template": affine({REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [7]}]}})}),
    ("daemonsets", {**SET, "template": affine({REQUIRED: 7})}),
    ("daemonsets", {**SET, "template": affine([])}),
    ("daemonsets", {**SET, "template": affine(7)}),
    ("statefulsets", {**SET, **rolling(partition=-1)}),
    ("statefulsets", {**SET, "replicas": 1, "ordinals": {"start": -3}}),
    ("statefulsets", {**SET, "selector": {"matchExpressions": [{"key": "a", "operator": "Maybe"}]}}),
    ("jobs", {**JOB, "podFailurePolicy": {"rules": [3]}}),
    ("jobs", {**JOB, "podFailurePolicy": {"rules": "no"}}),
    ("jobs", {**JOB, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": []}]}}),
    ("jobs", {**JOB, "podFailurePolicy": {"rules": [{"onPodConditions": ["x"]}]}}),
    ("jobs", {**JOB, "completions": 3, "completionMode": "Indexed", "parallelism": 0}),
    ("cronjobs", {"schedule": "61 * * * *", "jobTemplate": {"spec": JOB}}),
    ("cronjobs", {"schedule": "* * * * *", "timeZone": "Nowhere/Land", "jobTemplate": {"spec": JOB}}),
    ("cronjobs", {"schedule": "* * * * *", "timeZone": "../../etc/passwd", "jobTemplate": {"spec": JOB}}),
    ("cronjobs", {"schedule": "*/7-3 * * * *", "jobTemplate": {"spec": JOB}}),
    ("poddisruptionbudgets", {"minAvailable": "x%", "selector": {}}),
    ("poddisruptionbudgets", {"maxUnavailable": "lots", "selector": {}}),
    ("poddisruptionbudgets", {"selector": {}}),
    ("horizontalpodautoscalers", {**SCALE, "metrics": [{}]}),
    ("horizontalpodautoscalers", {**SCALE, "metrics": [{"type": "Resource"}]}),
    ("horizontalpodautoscalers", {**SCALE, "metrics": [metric({"averageUtilization": "x"})]}),
    ("horizontalpodautoscalers", {**SCALE, "behavior": {"scaleDown": {"policies": 4}}}),
    ("horizontalpodautoscalers", {"scaleTargetRef": {"kind": "Nothing", "name": "x"}, "maxReplicas": 3}),
    ("replicationcontrollers", {"replicas": 2, "selector": {"a": "b"}}),
]  # fmt: skip


@pytest.mark.parametrize("play", ["run", "fail"])
def test_bad_manifests_are_refused_or_survived(tmp_path: Path, play: str) -> None:
    """All of them are tried; afterwards a good DaemonSet still gets its pods."""

    async def story(client: Client) -> None:
        for number, (plural, spec) in enumerate(BAD):
            resource = registry.lookup(plural)
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": f"bad-{number}"},
                "spec": spec,
            }
            try:
                await client.raw("POST", resource.path("shop"), orjson.dumps(body))
            except ApiError as error:
                assert error.code in (400, 404, 422), (plural, spec, error)  # noqa: PT017
        await client.create(workloads.made(AGENT))

        async def good() -> bool:
            state = (await client.get(DaemonSet, "agent", "shop")).status
            return state.desired_number_scheduled == 3 and (
                play == "fail" or len(await spread(client)) >= 3
            )

        await plane.until(good)

    workloads.tell(tmp_path, story, play=lambda _: play, autoscaling_period=0.05, job_backoff=0.05)
