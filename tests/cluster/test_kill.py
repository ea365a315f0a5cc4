"""kill -9 of anything: it comes back or is replaced, nothing acknowledged is lost, and requests go on."""

import os
import signal
from collections.abc import Iterator

import pytest

from netpod.errors import ApiError
from tests.support import cluster as clusters
from tests.support import traffic, wait
from tests.support.cluster import Cluster


@pytest.fixture(scope="module")
def victim() -> Iterator[Cluster]:
    """A cluster of its own with the example, for this module to break."""
    with clusters.running("victim", session="netpod") as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole(victim: Cluster) -> Iterator[None]:
    """After every kill the cluster must find back to three Ready pods and nodes by itself."""
    yield
    wait.until(lambda: _well(victim), "the cluster is whole again", 30)


def _well(cluster: Cluster) -> bool:
    try:
        nodes = all(cluster.node_ready(n) == "True" for n in ("control-plane", "worker", "worker2"))
        pods = cluster.ready_pods()
        return nodes and len(pods) == len(cluster.pods()) == 3 == len(cluster.endpoints())
    except ApiError:
        return False


@pytest.mark.parametrize(
    ("kind", "node"),
    [("controlplane", ""), ("node", "worker"), ("shim", "worker"), ("supervisor", "")],
)
def test_requests_go_on_while_a_process_is_killed(victim: Cluster, kind: str, node: str) -> None:
    """The data path is in the kernel: no request fails, no container changes, the process is back in seconds."""
    containers = victim.container_ids()
    assert len(containers) == 3
    with traffic.load(victim.paths.netns_outside) as seen:
        seen.more(20)
        old = victim.holder(kind, node)
        word = f"{kind}/{node}" if node else kind
        assert victim.ok("kill", word).stdout == f"{word} killed (process {old})\n"
        new = victim.replaced(kind, node, old)
        seen.more(50)
    assert new != old
    seen.clean()
    wait.until(lambda: _well(victim), "all Ready", 15)
    assert victim.container_ids() == containers


def test_requests_go_on_without_a_control_plane(victim: Cluster) -> None:
    """Stopped, not killed, so that nobody starts another: existing rules carry on for as long as it is away."""
    pid = victim.kill("controlplane", number=signal.SIGSTOP)
    try:
        with traffic.load(victim.paths.netns_outside) as seen:
            seen.more(100)
        seen.clean()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_requests_go_on_without_a_node_process(victim: Cluster) -> None:
    """A node whose kubelet and proxy are away keeps its pods and rules."""
    pids = [victim.kill("node", name, number=signal.SIGSTOP) for name in ("worker", "worker2")]
    try:
        with traffic.load(victim.paths.netns_outside) as seen:
            seen.more(100)
        seen.clean()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_what_was_acknowledged_before_the_kill_is_there_after(victim: Cluster) -> None:
    """The store is durable before a write is answered: every one of 50 objects survives the kill."""
    names = [f"kept-{number}" for number in range(50)]
    path = "/api/v1/namespaces/default/configmaps"
    for name in names:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        victim.request("POST", path, body=body)
    old = victim.kill("controlplane")
    victim.replaced("controlplane", "", old)
    found = wait.until(lambda: victim.try_get(path), "the API answers again", 15)
    assert {item["metadata"]["name"] for item in found["items"]} >= set(names)
    for name in names:
        victim.request("DELETE", f"{path}/{name}")


def test_a_killed_container_is_started_again(victim: Cluster) -> None:
    """restartPolicy Always: the same pod, one restart more, a new container."""
    pod = victim.ready_pods()[0]
    name = pod["metadata"]["name"]
    before = victim.container_ids()[name]
    wrong = victim.cli("kill", f"pod/{name}", "-c", "moon")
    assert f"container moon is not valid for pod {name}; there are web" in wrong.stderr
    pid = _container(victim, name)
    said = victim.ok("kill", f"pod/{name}").stdout
    assert said == f"pod/{name} container web killed (process {pid})\n"
    wait.until(lambda: victim.container_ids().get(name, before) != before, "a new container", 15)
    after = victim.get(f"/api/v1/namespaces/default/pods/{name}")
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    status = after["status"]["containerStatuses"][0]
    assert status["restartCount"] == pod["status"]["containerStatuses"][0]["restartCount"] + 1
    assert status["lastState"]["terminated"]["exitCode"] == 137


def test_a_killed_pause_process_costs_its_pod_a_new_sandbox(victim: Cluster) -> None:
    """The sandbox goes with its pause process; the kubelet makes another and starts the container in it."""
    pod = victim.ready_pods()[-1]
    name = pod["metadata"]["name"]
    before = victim.container_ids()[name]
    os.kill(_pause(victim, name), signal.SIGKILL)
    wait.until(lambda: victim.container_ids().get(name, before) != before, "a new container", 20)
    wait.until(lambda: _well(victim), "the pod is an endpoint again", 15)
    after = victim.get(f"/api/v1/namespaces/default/pods/{name}")
    status, text = traffic.request(
        victim.paths.netns_node("worker"), after["status"]["podIP"], port=8080, path="/hostname"
    )
    assert (status, text.strip()) == (200, name)


def test_a_killed_haproxy_is_back_in_seconds(victim: Cluster) -> None:
    """The ingress answers 200 again without anybody's help."""
    (pid,) = victim.find("haproxy", "-f")
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: _answers(victim), "the ingress answers again", 15)
    assert pid not in victim.find("haproxy", "-f")


def test_all_roles_at_once(victim: Cluster) -> None:
    """Control plane, supervisor, shims and node processes in one blow: nobody is left to fork, yet it recovers.

    Only the guard in the control plane process could start a supervisor, so it is spared here.
    """
    containers = victim.container_ids()
    roles = [("supervisor", ""), ("shim", "worker"), ("node", "worker"), ("node", "worker2")]
    pids = {item: victim.holder(*item) for item in roles}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for (kind, node), pid in pids.items():
        victim.replaced(kind, node, pid, 15)
    wait.until(lambda: _well(victim), "all Ready", 20)
    assert victim.container_ids() == containers


def _answers(cluster: Cluster) -> bool:
    try:
        return traffic.request(cluster.paths.netns_outside)[0] == 200
    except OSError:
        return False


def _container(cluster: Cluster, pod: str) -> int:
    """Pid of the program in a pod: of those in its network namespace the one that is no pause process."""
    return next(p for p in _inside(cluster, pod) if p not in cluster.find("catatonit"))


def _pause(cluster: Cluster, pod: str) -> int:
    return next(p for p in _inside(cluster, pod) if p in cluster.find("catatonit"))


def _inside(cluster: Cluster, pod: str) -> list[int]:
    node = cluster.get(f"/api/v1/namespaces/default/pods/{pod}")["spec"]["nodeName"]
    name = cluster.paths.netns_pod(node, "default", pod)
    wanted = os.stat(f"/run/netns/{name}").st_ino
    return [pid for pid in cluster.find() if os.stat(f"/proc/{pid}/ns/net").st_ino == wanted]
