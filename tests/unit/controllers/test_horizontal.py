"""HorizontalPodAutoscalers against the real API server; what kubelets tell is played."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import orjson
import pytest

from netpod.api import meta
from netpod.api.apps import Deployment
from netpod.api.autoscaling import HorizontalPodAutoscaler
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod, ResourceRequirements
from netpod.client.rest import Client
from netpod.controllers import autoscaling
from netpod.controllers.autoscaling import Change
from tests.unit.controllers import builders, plane, workloads

SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
"""


def web(replicas: int) -> Deployment:
    """Return a Deployment whose pods ask for 100m CPU."""
    full = builders.deployment(replicas)
    (container,) = full.spec.template.spec.containers
    asking = dataclasses.replace(
        container, resources=ResourceRequirements(requests={"cpu": "100m"})
    )
    pod_spec = dataclasses.replace(full.spec.template.spec, containers=(asking,))
    template = dataclasses.replace(full.spec.template, spec=pod_spec)
    return dataclasses.replace(
        full,
        metadata=ObjectMeta(name="web", namespace="shop"),
        spec=dataclasses.replace(full.spec, template=template),
    )


async def condition(client: Client, type_: str, reason: str) -> bool:
    """Tell whether the autoscaler has a condition for that reason."""
    status = (await client.get(HorizontalPodAutoscaler, "web", "shop")).status
    found = meta.condition(status.conditions, type_)
    return found is not None and found.reason == reason


async def report(client: Client, pods: list[Pod], nanocores: int) -> None:
    """Tell what each pod uses, as the kubelets of their nodes would."""
    usage = {"cpu": {"usageNanoCores": nanocores, "usageCoreNanoSeconds": 0}}
    usage |= {"memory": {"workingSetBytes": 1 << 20}}
    for node in {pod.spec.node_name for pod in pods}:
        stats = [
            {
                "podRef": {"namespace": "shop", "name": p.metadata.name, "uid": p.metadata.uid},
                "containers": [{"name": "c", **usage}],
                **usage,
            }
            for p in pods
            if p.spec.node_name == node
        ]
        body = {"node": usage, "pods": stats}
        path = f"/apis/stats.netpod.dev/v1/nodestats/{node}"
        await client.raw("PUT", path, orjson.dumps(body), "application/json")


def test_without_a_metrics_api_nothing_is_scaled_and_the_condition_says_why(tmp_path: Path) -> None:
    """ScalingActive is False for FailedGetResourceMetric; bounds hold nevertheless."""

    async def story(client: Client) -> None:
        await client.create(web(1))
        await client.create(workloads.made(SCALER))

        async def at_least_two() -> bool:
            return (await client.get(Deployment, "web", "shop")).spec.replicas == 2

        await plane.until(at_least_two)
        await plane.until(lambda: condition(client, "ScalingActive", "FailedGetResourceMetric"))

    workloads.tell(tmp_path, story, autoscaling_period=0.1)


def test_load_scales_up_to_the_target_share(tmp_path: Path) -> None:
    """Two pods at 100 % of their request with a target of 50 % become four."""

    async def story(client: Client) -> None:
        await client.create(web(2))

        async def ready() -> bool:
            found = await plane.pods(client)
            return len(found) == 2 and all(p.status.phase == "Running" for p in found)

        await plane.until(ready)
        await report(client, await plane.pods(client), 100_000_000)
        await client.create(workloads.made(SCALER))

        async def four() -> bool:
            return (await client.get(Deployment, "web", "shop")).spec.replicas == 4

        await plane.until(four)
        await plane.until(lambda: condition(client, "ScalingActive", "ValidMetricFound"))
        found = await client.get(HorizontalPodAutoscaler, "web", "shop")
        current = found.status.current_metrics[0]["resource"]["current"]
        assert current["averageUtilization"] == 100

    workloads.tell(tmp_path, story, autoscaling_period=0.1)


def test_a_new_autoscaler_does_not_scale_down_at_once(tmp_path: Path) -> None:
    """What it finds is as good as advice of that moment: it is held for the five minutes of stabilization."""

    async def story(client: Client) -> None:
        await client.create(web(3))

        async def ready() -> bool:
            found = await plane.pods(client)
            return len(found) == 3 and all(p.status.phase == "Running" for p in found)

        await plane.until(ready)
        await report(client, await plane.pods(client), 1_000_000)
        await client.create(workloads.made(SCALER))
        await plane.until(lambda: condition(client, "AbleToScale", "ScaleDownStabilized"))
        assert (await client.get(Deployment, "web", "shop")).spec.replicas == 3

    workloads.tell(tmp_path, story, autoscaling_period=0.1)


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        ([50, 50], 2),
        ([54, 54], 2),
        ([100, 100], 4),
        ([10, 10], 1),
        ([150, None], 3),
        ([10, None], 2),
    ],
)
def test_replicas_follow_the_ratio(used: list[int | None], wanted: int) -> None:
    """Within a tenth nothing changes; a pod without metrics damps both ways."""
    (container,) = web(1).spec.template.spec.containers
    there = [
        builders.pod(f"web-{n}", spec=dataclasses.replace(web(1).spec.template.spec))
        for n in range(len(used))
    ]
    usage = {
        f"web-{n}": {container.name: {"cpu": Fraction(u, 1000)}}
        for n, u in enumerate(used)
        if u is not None
    }
    metric = workloads.made(SCALER).spec.metrics[0]
    found = autoscaling.propose(metric, len(used), there, usage)
    assert found.replicas == wanted


def test_a_metric_that_cannot_be_read_stops_scaling_down_but_not_up() -> None:
    """Beside an external metric that nobody serves, CPU may add pods and never take them away."""
    cpu = {"name": "cpu", "target": {"averageUtilization": 50}}
    metrics = [{"type": "External"}, {"type": "Resource", "resource": cpu}]
    (container,) = builders.pod("p").spec.containers
    asking = dataclasses.replace(
        container, resources=ResourceRequirements(requests={"cpu": "100m"})
    )
    pod = builders.pod("p")
    pod = dataclasses.replace(pod, spec=dataclasses.replace(pod.spec, containers=(asking,)))

    def ask(used: str, current: int) -> int:
        usage = {"p": {"c": {"cpu": Fraction(used)}}}
        proposals, failures = autoscaling.propose_all(metrics, current, [pod], usage)
        assert [f.reason for f in failures] == ["FailedGetExternalMetric"]
        return autoscaling.largest(proposals, failures, current).replicas

    assert ask("0.2", 1) == 4
    with pytest.raises(autoscaling.NoMetrics) as refused:
        ask("0.01", 2)
    assert refused.value.summary.startswith(
        "invalid metrics (1 invalid out of 2), first error is: "
    )


def test_scaling_down_waits_for_the_highest_recent_advice() -> None:
    """Five minutes of advice hold the number up; older advice does not."""
    scaler = workloads.made(SCALER)

    def after(seconds: float) -> int:
        at = meta.parse_timestamp(builders.ago(seconds))
        advice = [Change(at=at, replicas=5)]
        return autoscaling.limit(scaler, 5, 2, advice, [], builders.NOW)[0]

    assert after(60) == 5
    assert after(301) == 2
    assert autoscaling.limit(scaler, 2, 9, [], [], builders.NOW)[0] == 5
