"""Nodes that come, go, lose their power and are drained, while the cluster runs."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from netpod.client.blocking import BlockingClient
from netpod.errors import Forbidden, NotFound
from netpod.linux import netns
from tests.support import cluster as clusters
from tests.support import host, traffic, wait
from tests.support.cluster import Cluster

SECONDS = 60


@pytest.fixture(scope="module")
def fleet() -> Iterator[Cluster]:
    """A cluster that finds dead nodes in a tenth of upstream's time."""
    with clusters.running("fleet", "--fast-failure", "--no-publish", session="netpod") as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole(fleet: Cluster) -> Iterator[None]:
    """Every test begins and ends with two workers and three endpoints."""
    yield
    wait.until(lambda: len(fleet.endpoints()) == 3, "three endpoints", SECONDS)
    assert fleet.ok("status", "-o", "json").json["healthy"]


def _node(cluster: Cluster, name: str) -> Any:
    return cluster.get(f"/api/v1/nodes/{name}")


def _on(cluster: Cluster, name: str) -> list[Any]:
    return [it for it in cluster.pods() if it["spec"].get("nodeName") == name]


def _reaches(cluster: Cluster, origin: str, address: str) -> bool:
    try:
        return (
            traffic.request(cluster.paths.netns_node(origin), address, port=8080, timeout=1)[0]
            == 200
        )
    except OSError:
        return False


def _pin(cluster: Cluster, name: str, where: str, **spec: Any) -> Any:
    """A pod without a controller on one node, Ready."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": where,
            "containers": [{"name": "web", "image": "web", "ports": [{"containerPort": 8080}]}],
            **spec,
        },
    }
    cluster.request("POST", "/api/v1/namespaces/default/pods", body=body)
    wait.until(lambda: cluster.ready_pods(f"app={name}"), f"pod {name} is Ready", SECONDS)
    return cluster.get(f"/api/v1/namespaces/default/pods/{name}")


def _knows_its_place(cluster: Cluster, name: str) -> None:
    """Through a node's own socket: its Node and its pods' objects, nothing of another node's, and no administrator."""
    client = BlockingClient(cluster.paths.socket_of(f"node-{name}"), timeout=10)
    try:
        who = client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body={})[
            "status"
        ]["userInfo"]
        assert who["username"] == f"system:node:{name}"
        assert "system:masters" not in who["groups"]
        labels = {"metadata": {"labels": {"example.com/rack": "1"}}}
        merge = "application/merge-patch+json"
        client.request("PATCH", f"/api/v1/nodes/{name}", body=labels, content_type=merge)
        for method, path, body in (
            ("PATCH", "/api/v1/nodes/worker", labels),
            ("GET", "/api/v1/namespaces/default/secrets/x", None),
            ("GET", "/api/v1/secrets", None),
            ("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}}),
        ):
            with pytest.raises(Forbidden):
                client.request(method, path, body=body, content_type=merge)
    finally:
        client.close()


def test_a_node_that_was_added_takes_pods_and_leaves_nothing_when_deleted(fleet: Cluster) -> None:
    """The next address, the next /24, routes on every node; afterwards no process, namespace, file or object."""
    before = host.processes(of=fleet.name)
    assert fleet.ok("node", "add").stdout == "node/worker3 added\n"
    made = _node(fleet, "worker3")
    assert made["status"]["addresses"][0]["address"] == "172.18.0.5"
    assert made["spec"]["podCIDR"] == "10.244.3.0/24"
    _knows_its_place(fleet, "worker3")
    pod = _pin(fleet, "guest", "worker3")
    assert pod["status"]["podIP"].startswith("10.244.3.")
    for origin in ("worker", "worker2", "control-plane"):
        wait.until(lambda: _reaches(fleet, origin, pod["status"]["podIP"]), "pod is reached")  # noqa: B023
    assert fleet.ok("node", "delete", "worker3").stdout == "node/worker3 deleted\n"
    for path in ("/api/v1/nodes/worker3", "/api/v1/namespaces/default/pods/guest"):
        with pytest.raises(NotFound):
            fleet.get(path)
    assert not (fleet.paths.node("worker3")).exists()
    assert not any("worker3" in it for it in os.listdir(fleet.paths.pki))
    assert not netns.list_netns(fleet.paths.netns_node("worker3"))
    wait.until(lambda: host.processes(of=fleet.name).keys() == before.keys(), "no process is left")


def test_a_power_cut(fleet: Cluster) -> None:
    """Traffic ends at once; after the grace the node is Unknown, its endpoints leave, its pods are replaced."""
    victim = _on(fleet, "worker2")
    address = victim[0]["status"]["podIP"]
    assert _reaches(fleet, "worker", address)
    assert fleet.ok("node", "stop", "worker2").stdout == "node/worker2 stopped\n"
    assert not _reaches(fleet, "worker", address)
    assert not fleet.holder("node", "worker2")
    assert not fleet.holder("shim", "worker2")
    assert not netns.list_netns(fleet.paths.netns_node("worker2"))
    assert fleet.ok("status", "-o", "json").json["nodesOff"] == ["worker2"]
    wait.until(lambda: fleet.node_ready("worker2") == "Unknown", "the node is Unknown", SECONDS)
    wait.until(lambda: address not in fleet.endpoints(), "its endpoint leaves", SECONDS)
    wait.until(lambda: len(fleet.endpoints()) == 3, "its pods are replaced", SECONDS)
    assert not _on(fleet, "worker2")
    wait.until(fleet.answers, "the ingress answers", SECONDS)
    assert fleet.ok("node", "start", "worker2").stdout == "node/worker2 started\n"
    assert fleet.node_ready("worker2") == "True"
    wait.until(
        lambda: not netns.list_netns(f"{fleet.paths.netns_node('worker2')}-"), "old pods are gone"
    )


def test_commands_while_a_node_is_off(fleet: Cluster) -> None:
    """They speak of the nodes that run, and say in one line that one is stopped where it was asked for."""
    fleet.ok("node", "stop", "worker")
    try:
        assert "node worker\n" not in fleet.ok("rules").stdout
        said = fleet.ok("proxy-mode", "iptables").stdout
        assert "node/worker2 proxy mode is iptables\n" in said
        assert "node/worker proxy mode will be iptables\n" in said
        for argv in (
            ("ping", "--from", "node/worker", "node/worker2"),
            ("rules", "node/worker"),
            ("trace", "--from", "node/worker", "--icmp", "node/worker2"),
        ):
            refused = fleet.cli(*argv)
            assert refused.code == 1, argv
            assert "node worker is stopped" in refused.stderr.replace("worker: it is", "worker is")
            assert refused.stderr.count("\n") == 1
    finally:
        fleet.ok("node", "start", "worker")


def test_a_node_that_boots_in_time_starts_its_pods_again(fleet: Cluster) -> None:
    """As after a reboot: the same pods, new containers, one restart more."""
    pod = _pin(fleet, "stayer", "worker")
    (before,) = pod["status"]["containerStatuses"]
    fleet.ok("node", "stop", "worker")
    fleet.ok("node", "start", "worker")

    def restarted() -> Any:
        found = fleet.try_get("/api/v1/namespaces/default/pods/stayer")
        status = found["status"]["containerStatuses"][0] if found else {}
        again = status.get("containerID") != before["containerID"] and status.get("ready")
        return found if again else None

    after = wait.until(restarted, "the pod runs again", SECONDS)
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == before["restartCount"] + 1
    wait.until(lambda: _reaches(fleet, "worker2", after["status"]["podIP"]), "it is reached")
    fleet.request(
        "DELETE", "/api/v1/namespaces/default/pods/stayer", body={"gracePeriodSeconds": 0}
    )


def test_a_drain_asks_the_budget_and_spares_what_nobody_replaces(fleet: Cluster) -> None:
    """kubectl's words; a budget holds a drain up until it lets the pods go; uncordon undoes the rest."""
    _pin(fleet, "single", "worker2")
    refused = fleet.cli("node", "drain", "worker2")
    assert refused.code == 1
    assert "node/worker2 cordoned" in refused.stdout
    assert (
        "unable to drain node 'worker2' due to error: cannot delete Pods that declare no controller "
        "(use --force to override): default/single" in refused.stderr
    )
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all"},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "example"}}},
    }
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    moved = _on(fleet, "worker2")
    fleet.request("POST", path, body=budget)
    if moved:
        held = fleet.cli("node", "drain", "worker2", "--force", "--timeout", "2s")
        assert held.code == 1
        assert "(will retry after 5s): Cannot evict pod as it would violate" in held.stderr
    fleet.request("DELETE", f"{path}/all")
    done = fleet.ok("node", "drain", "worker2", "--force")
    assert "node/worker2 already cordoned" in done.stdout
    assert "node/worker2 drained" in done.stdout
    assert not _on(fleet, "worker2")
    assert fleet.ok("node", "uncordon", "worker2").stdout == "node/worker2 uncordoned\n"
    assert "unschedulable" not in _node(fleet, "worker2")["spec"]


def test_what_cannot_be_changes_nothing(fleet: Cluster) -> None:
    """Which node, what is wrong, what is allowed."""
    before = (fleet.paths.state / "config.json").read_bytes()
    for argv, code, said in (
        (("add", "worker"), 2, "there is one of that name"),
        (("add", "UPPER"), 2, "lower case letters"),
        (("stop", "control-plane"), 2, "the API server is reached through it"),
        (("delete", "nope"), 1, 'nodes "nope" not found'),
        (("drain",), 2, "name nodes"),
    ):
        result = fleet.cli("node", *argv)
        assert result.code == code, (argv, result)
        assert said in result.stderr
    assert (fleet.paths.state / "config.json").read_bytes() == before


def test_the_guards_start_a_supervisor_that_died_with_the_control_plane(fleet: Cluster) -> None:
    """Both killed at once: a node's process notices, in the machine's network namespace."""
    pids = [fleet.holder(kind) for kind in ("supervisor", "controlplane")]
    for pid in pids:
        os.kill(pid, 9)
    for kind, pid in zip(("supervisor", "controlplane"), pids, strict=True):
        fleet.replaced(kind, "", pid, SECONDS)
    wait.until(lambda: fleet.try_get("/api/v1/nodes"), "the API answers", SECONDS)
    ours = os.stat("/proc/self/ns/net").st_ino
    assert os.stat(f"/proc/{fleet.holder('controlplane')}/ns/net").st_ino == ours
