"""`netpod rules`: what is in the kernel, whether it is what should be there, and what changes it."""

import itertools
import shlex
import threading

from netpod.linux import process
from tests.support import wait
from tests.support.cluster import NETPOD, Cluster, Result, call

SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SERVICES = "/api/v1/namespaces/default/services"


def test_rules_of_a_node_as_json(cluster: Cluster) -> None:
    """Every chain of the node with counters and meanings; the Service's rules are among them."""
    (node,) = cluster.ok("rules", "node/worker", "-o", "json").json["nodes"]
    assert node["node"] == "worker"
    every = {(chain["table"], chain["name"]): chain for chain in node["chains"]}
    assert ("nat", "PREROUTING") in every
    assert every["nat", "KUBE-SERVICES"]["purpose"]
    asked = cluster.ok("rules", "svc/example-service", "--node", "worker", "-o", "json").json
    for chain in asked["nodes"][0]["chains"]:
        texts = [rule["rule"] for rule in every[chain["table"], chain["name"]]["rules"]]
        assert all(rule["rule"] in texts for rule in chain["rules"])
    meanings = [r["meaning"] for c in asked["nodes"][0]["chains"] for r in c["rules"]]
    assert any("endpoint 1 of 3 of default/example-service" in said for said in meanings)


def test_diff_tells_what_somebody_changed(cluster: Cluster) -> None:
    """Nothing to tell at first; a rule deleted and a rule added by hand are told, and the exit code is 1."""
    settled = cluster.cli("rules", "--diff")
    assert settled.code == 0, settled
    chain = next(
        chain["name"]
        for chain in cluster.ok("rules", "svc/example-service", "-o", "json").json["nodes"][0][
            "chains"
        ]
        if chain["name"].startswith("KUBE-SVC-")
    )
    netns = cluster.paths.netns_node("worker")
    (lost,) = [
        line.split(" ", 2)[2]
        for line in process.run(["iptables", "-t", "nat", "-S", chain], netns=netns)
        .stdout.decode()
        .splitlines()
        if "0.500" in line
    ]
    process.run(["iptables", "-t", "nat", "-D", chain, "3"], netns=netns)
    process.run(["iptables", "-t", "nat", "-A", chain, "-j", "RETURN"], netns=netns)
    try:
        found = cluster.cli("rules", "node/worker", "--diff")
        assert found.code == 1
        assert f"- nat {chain}" in found.stdout
        assert lost.split("--comment ")[1].split(" -m")[0] in found.stdout
        assert f"+ nat {chain} -j RETURN" in found.stdout
        assert cluster.cli("rules", "node/worker2", "--diff").code == 0
    finally:
        process.run(["iptables", "-t", "nat", "-D", chain, "-j", "RETURN"], netns=netns)
        process.run(["iptables", "-t", "nat", "-I", chain, "3", *shlex.split(lost)], netns=netns)
    assert cluster.cli("rules", "--diff").code == 0


def test_watch_shows_what_a_change_adds_and_removes(cluster: Cluster) -> None:
    """An endpoint that comes is lines with +, one that goes is lines with -."""
    meta = {"name": "watched", "labels": {"kubernetes.io/service-name": "watched"}}
    cluster.request(
        "POST", SERVICES, body={"metadata": {"name": "watched"}, "spec": {"ports": [{"port": 80}]}}
    )
    found: list[Result] = []
    argv = (*NETPOD, "--cluster", cluster.name, "rules", "svc/watched", "--node", "worker")
    watching = threading.Thread(
        target=lambda: found.append(call("timeout", "-s", "INT", "5", *argv, "--watch"))
    )
    try:
        watching.start()
        for addresses in itertools.cycle([["10.244.9.9"], []]):
            cluster.try_get(f"{SLICES}/watched") and cluster.request("DELETE", f"{SLICES}/watched")
            body = {
                "metadata": meta,
                "addressType": "IPv4",
                "endpoints": [{"addresses": addresses}] if addresses else [],
                "ports": [{"port": 8080, "name": "", "protocol": "TCP"}],
            }
            cluster.request("POST", SLICES, body=body)
            wait.pause(0.6)
            if not watching.is_alive():
                break
    finally:
        watching.join()
        cluster.request("DELETE", f"{SERVICES}/watched")
        cluster.try_get(f"{SLICES}/watched") and cluster.request("DELETE", f"{SLICES}/watched")
    lines = [line for line in found[0].lines if "10.244.9.9:8080" in line]
    assert any(" worker + nat KUBE-SEP-" in line for line in lines), found[0]
    assert any(" worker - nat KUBE-SEP-" in line for line in lines), found[0]
