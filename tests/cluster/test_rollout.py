"""Changing an application while people use it."""

from typing import Any

import pytest

from tests.support import traffic, wait
from tests.support.cluster import APPS, Cluster

DEPLOYMENT = f"{APPS}/default/deployments/example-app"


def test_a_rolling_update_fails_no_request(cluster: Cluster) -> None:
    """Readiness before the old pod goes, and its endpoint leaves before its process: every answer is 200."""
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    with traffic.load(cluster.paths.netns_outside) as seen:
        seen.more(20)
        cluster.patch(DEPLOYMENT, _template("1"))
        wait.until(lambda: _rolled(cluster), "the new template is everywhere", 60)
        seen.more(20)
    after = {pod["metadata"]["uid"] for pod in cluster.pods()}
    assert len(after) == 3
    assert not before & after
    assert _value(cluster) == {"1"}
    seen.clean()


def _template(value: str) -> dict[str, Any]:
    container = {"name": "web", "env": [{"name": "COLOUR", "value": value}]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def _rolled(cluster: Cluster) -> bool:
    deployment = cluster.get(DEPLOYMENT)
    status = deployment["status"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return seen and counts == {deployment["spec"]["replicas"]}


def _value(cluster: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["env"][0]["value"] for pod in cluster.pods()}


@pytest.mark.parametrize("replicas", [6, 3])
def test_scaling_under_load_fails_no_request(cluster: Cluster, replicas: int) -> None:
    """More and fewer pods while requests come in: every answer is 200."""
    with traffic.load(cluster.paths.netns_outside) as seen:
        seen.more(10)
        cluster.ok("scale", "deploy/example-app", "--replicas", str(replicas))
        wait.until(
            lambda: len(cluster.ready_pods()) == len(cluster.pods()) == replicas, "scaled", 30
        )
        wait.until(lambda: len(cluster.endpoints()) == replicas, "endpoints follow", 10)
        seen.more(20)
    seen.clean()
