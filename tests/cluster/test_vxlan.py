"""A cluster whose nodes reach each other's pods through VXLAN."""

import os
from collections.abc import Iterator

import pytest

from netpod.linux import link, netns
from tests.support import cluster as clusters
from tests.support import wait
from tests.support.cluster import Cluster


@pytest.fixture(scope="module")
def overlay() -> Iterator[Cluster]:
    """A cluster with the example and `--pod-network vxlan`."""
    options = ("--pod-network", "vxlan", "--no-publish")
    with clusters.running("overlay", *options, session="netpod") as cluster:
        yield cluster


def test_every_pod_has_the_overlays_mtu(overlay: Cluster) -> None:
    """1500 less 50 bytes of outer headers; status and doctor say so, and doctor finds the one that has not."""
    pods = [it for it in netns.list_netns(overlay.paths.netns_prefix) if "." in it]
    assert len(pods) == 6
    for name in pods:
        found = link.observe_link(name, "eth0")
        assert found is not None
        assert found.mtu == 1450
    assert overlay.ok("status", "-o", "json").json["mtu"] == 1450
    said = f"MTU of pods of cluster {overlay.name}"
    assert f"ok    {said}: 1450 of vxlan, on " in overlay.ok("doctor").stdout
    link.set_link(pods[0], "eth0", mtu=1500)
    assert f"{said}: 1450 wanted, but {pods[0]}/eth0 1500" in overlay.cli("doctor").stdout
    link.set_link(pods[0], "eth0", mtu=1450)


def test_a_trace_follows_a_request_through_the_overlay(overlay: Cluster) -> None:
    """In at one node's flannel.1, over the wire in UDP, out at the other's; from the world to a container."""
    found = wait.until(lambda: _traced(overlay), "a request that crosses nodes", 30)
    assert "DELIVERED" in found
    assert "carried by VXLAN 1: 172.18.0." in found


def _traced(cluster: Cluster) -> str:
    result = cluster.cli("trace", "http://example.com/")
    return result.stdout if "→ flannel.1" in result.stdout else ""


def test_entries_follow_the_nodes(overlay: Cluster) -> None:
    """A node that comes is reached by the others at once; of one that went nothing is left."""
    overlay.ok("node", "add", "spare")
    worker = overlay.paths.netns_node("worker")
    entry = "dst 172.18.0.5 self permanent"
    wait.until(lambda: entry in _fdb(worker), "the new node's entry")
    overlay.ok("node", "delete", "spare")
    wait.until(lambda: entry not in _fdb(worker), "the entry goes with the node")
    assert os.path.exists(f"/run/netns/{worker}")


def _fdb(name: str) -> str:
    return clusters.call("bridge", "fdb", "show", "dev", "flannel.1", netns=name).stdout
