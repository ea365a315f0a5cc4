"""`netpod up --attach`: this machine reaches pods, Services and load balancers, and is as before afterwards."""

import signal

from netpod.linux import process
from tests.support import cluster as clusters
from tests.support import host
from tests.support.cluster import Cluster
from tests.support.wait import until

NAME = "attached"


def _get(*argv: str) -> str:
    return clusters.call("curl", "-s", "-m", "5", *argv).stdout


def test_an_attached_machine_reaches_everything_and_forgets_it() -> None:
    """Pods, cluster IPs and load balancers answer; after a crash of everything, cleanup takes link and routes away."""
    before = host.snapshot(but=NAME)
    cluster = Cluster(NAME)
    try:
        cluster.ok("up", "--attach", "--nodes", "1", "--no-publish")
        cluster.deploy_example()
        pods = cluster.ready_pods()
        for pod in pods:
            address = pod["status"]["podIP"]
            until(lambda a=address: _get(f"http://{a}:8080/").startswith("{"), "a pod answers")
        service = cluster.get("/api/v1/namespaces/default/services/example-service")
        assert _get(f"http://{service['spec']['clusterIP']}/").startswith("{")
        ingress = cluster.get("/api/v1/namespaces/kube-system/services/ingress")
        vip = ingress["status"]["loadBalancer"]["ingress"][0]["ip"]
        assert _get("-H", "Host: example.com", f"http://{vip}/").startswith("{")
        assert "netpod0" in process.run(["ip", "route", "get", vip]).stdout.decode()

        second = Cluster("attached2").cli("up", "--attach", "--nodes", "0")
        assert second.code == 2
        assert "overlaps" in second.stderr or "netpod0" in second.stderr

        cluster.ok("stop")
        assert "netpod0" not in process.run(["ip", "link"]).stdout.decode()
        cluster.ok("start")
        until(lambda: _get("-H", "Host: example.com", f"http://{vip}/").startswith("{"), "again")
        for pid in cluster.find():
            _kill(pid)
        until(lambda: not cluster.find(), "all processes have ended")
        assert "netpod0" in process.run(["ip", "link"]).stdout.decode()
        cluster.ok("cleanup")
        assert "netpod0" not in process.run(["ip", "link"]).stdout.decode()
    finally:
        cluster.cli("cleanup")
    host.assert_same(before, clusters.settled(NAME, before))


def _kill(pid: int) -> None:
    handle = process.pidfd_open(pid)
    process.send_signal(handle, signal.SIGKILL)
