"""Whatever happens to a cluster, the machine is afterwards as it was before."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support import cluster as clusters
from tests.support import host, traffic, wait
from tests.support.cluster import Cluster


@pytest.fixture
def machine() -> Iterator[None]:
    """The machine before and after, the shared cluster aside."""
    before = host.snapshot(but="netpod")
    yield
    host.assert_same(before, clusters.settled("netpod", before))


@pytest.mark.usefixtures("machine")
def test_down_leaves_nothing() -> None:
    """No namespace, process, mount, link, file, rule, route or sysctl is left or changed."""
    cluster = Cluster("gone")
    try:
        cluster.ok("up", "--nodes", "1")
        cluster.deploy_example()
    finally:
        result = cluster.cli("down")
    assert result.stdout == "cluster/gone deleted\n"
    assert not host.cgroups("gone")
    again = cluster.cli("down")
    assert (again.code, again.stderr) == (2, "error: no cluster gone is up\n")


@pytest.mark.usefixtures("machine")
def test_cleanup_after_everything_was_killed_leaves_nothing() -> None:
    """The kernel says what there is; no process of the cluster is needed to remove it."""
    cluster = Cluster("crashed")
    try:
        cluster.ok("up", "--nodes", "1")
        cluster.deploy_example()
        for _ in range(100):
            pids = cluster.find()
            if not pids:
                break
            for pid in pids:
                _kill(pid)
        assert not cluster.find()
        status = cluster.cli("status")
        assert status.code == 3, status
        again = cluster.cli("up")
        assert again.code == 2, again
        assert "netpod start" in again.stderr
        assert "netpod down" in again.stderr
    finally:
        result = cluster.cli("cleanup")
    assert result.code == 0
    assert not host.cgroups("crashed")
    assert cluster.cli("cleanup").stdout == "cluster/crashed cleaned up: 0 things removed\n"


@pytest.mark.usefixtures("machine")
def test_an_interrupted_up_leaves_nothing() -> None:
    """Ctrl-C while it starts removes what was made."""
    cluster = Cluster("early")
    argv = [*clusters.NETPOD, "--cluster", "early", "up"]
    result = clusters.call(
        "sh", "-c", '"$@" & sleep 0.5; kill -INT $!; wait $!', "sh", *_with_sigint(argv)
    )
    cluster.cli("cleanup")
    assert "Traceback" not in result.stderr, result


def _with_sigint(argv: list[str]) -> list[str]:
    """A shell starts what it puts in the background deaf to SIGINT; Python then never raises KeyboardInterrupt."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    return [argv[0], argv[1], code + argv[2], *argv[3:]]


@pytest.mark.usefixtures("machine")
def test_two_clusters_live_side_by_side() -> None:
    """Same addresses, other namespaces: taking one down leaves the other's requests alone."""
    with clusters.running("left", "--nodes", "1", session="netpod", check_leaks=False) as left:
        right = Cluster("right")
        try:
            right.ok("up", "--nodes", "1")
            right.deploy_example()
            with traffic.load(left.paths.netns_outside) as seen:
                seen.more(20)
                right.ok("down")
                seen.more(20)
            seen.clean()
            assert not host.processes(of="right")
            assert left.cli("status").code == 0
        finally:
            right.cli("cleanup")


@pytest.mark.usefixtures("machine")
def test_a_cluster_without_workers_takes_pods() -> None:
    """`--nodes 0`: one node is control plane and worker, and the example runs on it."""
    with clusters.running("single", "--nodes", "0", session="netpod", check_leaks=False) as cluster:
        assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"control-plane"}


@pytest.mark.usefixtures("machine")
def test_a_node_that_falls_silent_loses_its_pods_requests() -> None:
    """No heartbeat within the grace: NotReady, its pods leave the endpoints; it speaks: all as before."""
    config = "/run/grace.yaml"
    with open(config, "w") as file:
        file.write("nodeMonitorGraceSeconds: 2\n")
    try:
        with clusters.running(
            "silent", "--config", config, session="netpod", check_leaks=False
        ) as it:
            ingress = it.pods("app.kubernetes.io/name=ingress", "kube-system")[0]["spec"][
                "nodeName"
            ]
            node = "worker2" if ingress == "worker" else "worker"
            there = {p["status"]["podIP"] for p in it.pods() if p["spec"]["nodeName"] == node}
            assert there
            pid = it.kill("node", node, number=signal.SIGSTOP)
            try:
                wait.until(lambda: it.node_ready(node) == "Unknown", f"{node} is NotReady", 10)
                wait.until(lambda: not there & set(it.endpoints()), "its pods leave", 5)
                assert "NotReady" in it.ok("get", "nodes").stdout
                with traffic.load(it.paths.netns_outside) as seen:
                    seen.more(50)
            finally:
                os.kill(pid, signal.SIGCONT)
            wait.until(lambda: it.node_ready(node) == "True", f"{node} is Ready", 10)
            wait.until(lambda: there <= set(it.endpoints()), "its pods are back", 15)
            seen.clean()
    finally:
        os.unlink(config)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
