"""A cluster that is stopped and started, and one that outlives a reboot of its machine."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from netpod.cluster import cleanup
from netpod.linux import netns
from tests.support import cluster as clusters
from tests.support import host, wait
from tests.support.cluster import Cluster

SECONDS = 60


@pytest.fixture(scope="module")
def sleeper() -> Iterator[Cluster]:
    """A cluster with the example and one node more than it began with."""
    with clusters.running("sleeper", "--no-publish", session="netpod") as cluster:
        cluster.ok("node", "add", "spare")
        yield cluster


def _lasting(cluster: Cluster) -> dict[str, Any]:
    """What must be the same: addresses of nodes, pods, Services and load balancers, and who is who."""
    found: dict[str, Any] = {}
    for kind in ("nodes", "pods", "services", "configmaps", "secrets"):
        for item in cluster.get(f"/api/v1/{kind}")["items"]:
            spec, status = item.get("spec", {}), item.get("status", {})
            found[item["metadata"]["uid"]] = (
                item["metadata"]["name"],
                spec.get("podCIDR"),
                spec.get("clusterIP"),
                spec.get("nodeName"),
                status.get("addresses"),
                status.get("podIP"),
                status.get("loadBalancer"),
                item.get("data"),
            )
    return found


def _restarts(cluster: Cluster) -> set[int]:
    return {it["status"]["containerStatuses"][0]["restartCount"] for it in cluster.ready_pods()}


def _back(cluster: Cluster, restarts: int) -> bool:
    return len(cluster.ready_pods()) == 3 and _restarts(cluster) == {restarts}


def test_stop_and_start(sleeper: Cluster) -> None:
    """Nothing runs in between; afterwards the same objects and addresses, the pods with one restart more."""
    before = _lasting(sleeper)
    assert sleeper.ok("stop").stdout == "cluster/sleeper stopped\n"
    assert not list(cleanup.processes("sleeper", ()))
    assert not netns.list_netns(sleeper.paths.netns_prefix)
    assert not sleeper.paths.run.exists()
    asked = sleeper.cli("status")
    assert (asked.code, "cluster/sleeper is stopped" in asked.stdout) == (3, True)
    assert "is stopped" in sleeper.cli("up").stderr
    assert "netpod start" in sleeper.cli("get", "pods").stderr
    started = sleeper.ok("start")
    assert started.stdout.startswith("cluster/sleeper started in ")
    assert "control-plane, worker, worker2, spare" in started.stdout
    wait.until(lambda: _back(sleeper, 1), "the pods run again", SECONDS)
    wait.until(sleeper.answers, "the ingress answers", SECONDS)
    wait.until(lambda: sleeper.ok("status"), "all is well", SECONDS)
    assert _lasting(sleeper) == before


def test_a_reboot_of_the_machine(sleeper: Cluster) -> None:
    """Everything killed, /run empty, no namespace: what is below /var/lib is enough."""
    before = _lasting(sleeper)
    _reboot(sleeper)
    asked = sleeper.cli("status", "-o", "json")
    assert (asked.code, asked.json["stopped"]) == (3, True)
    sleeper.ok("start")
    wait.until(lambda: _back(sleeper, 2), "the pods run again", SECONDS)
    wait.until(sleeper.answers, "the ingress answers", SECONDS)
    assert _lasting(sleeper) == before


def test_start_of_a_cluster_that_runs_changes_nothing(sleeper: Cluster) -> None:
    """The same processes and containers."""
    pids = [sleeper.holder(kind) for kind in ("supervisor", "controlplane")]
    containers = sleeper.container_ids()
    sleeper.ok("start")
    assert [sleeper.holder(kind) for kind in ("supervisor", "controlplane")] == pids
    assert sleeper.container_ids() == containers


def test_down_of_a_stopped_cluster() -> None:
    """It leaves nothing, as down of one that runs."""
    before = host.snapshot(but="netpod")
    cluster = Cluster("dozer")
    try:
        cluster.ok("up", "--no-publish", "--no-wait", "--nodes", "0")
        cluster.ok("stop")
        assert cluster.ok("down").stdout == "cluster/dozer deleted\n"
        assert not cluster.paths.state.exists()
        assert cluster.cli("start").stderr.startswith("error: no cluster dozer is up")
    finally:
        cluster.cli("cleanup")
    assert clusters.settled("netpod", before) == before


def _reboot(cluster: Cluster) -> None:
    """What is left of a cluster when the machine comes up again."""
    kept = cluster.paths.state.rename(cluster.paths.state.with_name("kept"))
    try:
        cleanup.halt(cluster.name)
        shutil.rmtree(cluster.paths.run, ignore_errors=True)
    finally:
        kept.rename(cluster.paths.state)
