"""A whole cluster in IPVS mode, on a kernel that has it; without nf_tables all rules are legacy iptables'."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from netpod.cluster import config as configuration
from netpod.cluster import proxymode, status
from netpod.linux import dummy, ipset, iptables, ipvs, netns, nft
from netpod.proxy.config import Mode, Variant
from netpod.trace import Kind, Verdict, explain_request, trace_request
from netpod.trace.explain import disagreements
from netpod.trace.model import Confidence
from tests.support import cluster as clusters
from tests.support import guest, wait
from tests.support.cluster import Cluster

pytestmark = guest.needs("ip_vs")
NAME = "ipvs"
API = "10.96.0.1"
NODES = ("control-plane", "worker")
WAIT = 60.0
"""Seconds that a fact may take: a process takes a hundred times longer to start in the guest than elsewhere."""
OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: ports}
spec:
  type: LoadBalancer
  selector: {app: example}
  ports: [{port: 80, targetPort: 8080, nodePort: 31080}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  clusterIP: 10.96.7.7
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: nobody}}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster in IPVS mode with the example and a Service of each kind."""
    options = ("--nodes", "1", "--proxy-mode", "ipvs", "--timeout", "200s")
    with clusters.running(NAME, *options, example=False, check_leaks=False, timeout=220) as found:
        found.ok("apply", "-f", str(clusters.EXAMPLE), "-f", "-", stdin=OBJECTS)
        wait.until(lambda: len(found.endpoints("ports")) == 3, "Service ports has endpoints", WAIT)
        wait.until(lambda: load_balancer(found, "ports"), "Service ports has an address", WAIT)
        yield found


def test_every_way_in_answers(cluster: Cluster) -> None:
    """Ingress, load balancer, node ports, cluster IP, DNS name; a Service without endpoints refuses."""
    paths = cluster.paths
    pod = cluster.ready_pods()[0]["metadata"]["name"]
    inside = paths.netns_pod("worker", "default", pod)
    service = cluster_ip(cluster)
    wait.until(lambda: cluster.answers("/"), "the ingress answers", WAIT)
    assert {node: modes(cluster, node) for node in NODES} == {it: {Mode.IPVS} for it in NODES}
    for place, address, port in (
        (paths.netns_outside, load_balancer(cluster, "ports"), 80),
        (paths.netns_outside, "172.18.0.2", 31080),
        (paths.netns_outside, "172.18.0.3", 31080),
        (paths.netns_node("control-plane"), "172.18.0.2", 31080),
        (paths.netns_node("control-plane"), service, 80),
        (paths.netns_edge, load_balancer(cluster, "ports"), 80),
        (inside, service, 80),
    ):
        with opened(place, address, port) as client:
            assert again(client), (place, address, port)
    assert cluster.curl("http://ports/", origin=f"pod/{pod}").stdout.endswith("200")
    with pytest.raises(ConnectionRefusedError):
        opened(inside, "10.96.7.7", 80)


def test_rules_are_of_one_variant(cluster: Cluster) -> None:
    """On a kernel without nf_tables the pod network is in legacy iptables too; with it nothing is."""
    config = configuration.load(NAME)
    assert config.variant is (Variant.NFT if nft.supported() else Variant.LEGACY)
    node = cluster.paths.netns_node("worker")
    legacy = iptables.parse_save(iptables.save(node, legacy=True)).get("nat", {})
    assert ("FLANNEL-POSTRTG" in legacy) is (config.variant is Variant.LEGACY)


def test_rules_shows_what_ipvs_has(cluster: Cluster) -> None:
    """Virtual servers with weights and connections, sets, helpers; nothing differs from what the API asks for."""
    service = cluster_ip(cluster)
    with opened(cluster.paths.netns_node("worker"), service, 80) as client:
        assert again(client)
        shown = cluster.ok("rules", "svc/ports", "--node", "worker", "-o", "json").json
    (node,) = shown["nodes"]
    servers = {it["name"]: it for it in node["chains"] if it["table"] == "ipvs"}
    assert f"TCP {load_balancer(cluster, 'ports')}:80 rr" in servers
    assert servers["TCP 172.18.0.3:31080 rr"]["purpose"] == "node port of default/ports"
    own = servers[f"TCP {service}:80 rr"]
    assert [it["rule"] for it in own["rules"]] == [
        f"-> {ip}:8080 Masq 1" for ip in cluster.endpoints("ports")
    ]
    assert sum(it["packets"] for it in own["rules"]) > 0
    assert sum(it["active"] for it in own["rules"]) > 0
    sets = {it["name"]: it["rules"] for it in node["chains"] if it["table"] == "ipset"}
    assert [it["rule"] for it in sets["KUBE-NODE-PORT-TCP"]] == ["31080"]
    assert "KUBE-IPVS-FILTER" in {it["name"] for it in node["chains"]}
    assert cluster.ok("rules", "--diff").stdout.count("the kernel has what the API asks for") == 2


def test_trace_and_explain_follow_virtual_servers(cluster: Cluster) -> None:
    """Ingress, cluster IP, node port, no endpoints, no such port: verdicts are right, and the prediction agrees."""
    pod = "pod/" + cluster.ready_pods()[0]["metadata"]["name"]
    service = cluster_ip(cluster)
    cases = (
        ("http://example.com/", "outside", Kind.HTTP, Verdict.DELIVERED, "TCP 172.18.0.3:* rr"),
        ("svc/ports", pod, Kind.HTTP, Verdict.DELIVERED, f"TCP {service}:80 rr"),
        ("svc/ports", "node/control-plane", Kind.TCP, Verdict.DELIVERED, f"TCP {service}:80 rr"),
        ("172.18.0.2:31080", "outside", Kind.TCP, Verdict.DELIVERED, "TCP 172.18.0.2:31080 rr"),
        ("10.96.7.7:80", pod, Kind.TCP, Verdict.REFUSED, "has no real server"),
        ("10.96.7.7:81", pod, Kind.TCP, Verdict.REFUSED, "KUBE-IPVS-FILTER"),
    )
    for target, origin, kind, verdict, words in cases:
        asked = {"source": origin, "kind": kind, "cluster": NAME}
        traced = asyncio.run(trace_request(target, **asked))  # type: ignore[arg-type]
        assert traced.verdict is verdict, (target, traced.sentence)
        predicted = asyncio.run(explain_request(target, **asked))  # type: ignore[arg-type]
        assert predicted.verdicts == {verdict}, (target, [o.why for o in predicted.outcomes])
        if verdict is Verdict.REFUSED:
            assert words in traced.sentence
            assert words in predicted.outcomes[0].why + str(predicted.outcomes[0].stops)
            continue
        assert traced.hop(chain=words) is not None, (target, traced.hops)
        assert not disagreements(predicted, traced)
        chosen = [rule for hop in traced.hops for rule in hop.rules if rule.family == "ipvs"]
        assert {rule.evidence[0].confidence for rule in chosen} == {Confidence.PROVEN}, target
    for name in NODES:
        node = cluster.paths.netns_node(name)
        assert "NETPOD-TRACE" not in iptables.save(node, "raw", legacy=True)


def test_policies_are_enforced_or_it_is_said(cluster: Cluster) -> None:
    """Without nf_tables the policy has an Event of each node, and status says so."""
    report = status.report(NAME)
    assert report.policies_enforced is nft.supported()
    if not nft.supported():
        wait.until(lambda: told(cluster) == set(NODES), "every node says so in an Event", WAIT)
        assert "NetworkPolicies are not enforced" in dict(report.facts())["network policies"]


def test_the_same_request_in_two_modes(cluster: Cluster) -> None:
    """`--compare` goes to iptables mode and back, and both deliver, each by its own rules."""
    options = ("--compare", "iptables,ipvs", "-o", "json")
    found = cluster.ok("trace", "http://example.com/", *options, timeout=120).json["modes"]
    assert {mode: it["verdict"] for mode, it in found.items()} == {
        "iptables": "DELIVERED",
        "ipvs": "DELIVERED",
    }
    chains = {
        mode: {r["chain"] for s in it["steps"] for h in s["hops"] for r in h["rules"]}
        for mode, it in found.items()
    }
    assert any(chain.startswith("KUBE-SEP-") for chain in chains["iptables"])
    assert not any(chain.startswith("KUBE-SEP-") for chain in chains["ipvs"])
    assert any(chain.startswith("TCP ") for chain in chains["ipvs"])
    wait.until(lambda: modes(cluster, "worker") == {Mode.IPVS}, "the mode is back", WAIT)


def test_the_mode_changes_under_connections(cluster: Cluster) -> None:
    """To iptables and back: connections of both modes live on, and of IPVS stays what such a connection needs."""
    config = configuration.load(NAME)
    pod = cluster.ready_pods()[0]["metadata"]["name"]
    inside = cluster.paths.netns_pod("worker", "default", pod)
    node = cluster.paths.netns_node("worker")
    service = cluster_ip(cluster)
    with opened(inside, service, 80) as first:
        assert again(first)
        cluster.ok("proxy-mode", "iptables", "--timeout", "60s", timeout=90)
        assert again(first)
        with opened(inside, service, 80) as second:
            assert again(second)
            first.close()
            # DNS and ingress watch the API server through its cluster IP, for as long as they live.
            wait.until(
                lambda: held(node) == bound(node) <= {API} and not sets(node),
                "only the API server's address is held",
                WAIT,
            )
            legacy = config.variant is Variant.LEGACY
            saved = iptables.parse_save(iptables.save(node, legacy=legacy))
            assert not [chain for chain in saved["filter"] if "IPVS" in chain]
            cluster.ok("proxy-mode", "ipvs", "--timeout", "60s", timeout=90)
            assert again(second)
    assert cluster.answers("/")
    assert modes(cluster, "worker") == {Mode.IPVS}


def opened(place: str, address: str, port: int) -> socket.socket:
    """A connection from a namespace."""
    client = netns.socket_in(place, socket.AF_INET, socket.SOCK_STREAM)
    try:
        client.settimeout(20)
        client.connect((address, port))
    except BaseException:
        client.close()
        raise
    return client


def again(client: socket.socket) -> bool:
    """Whether a connection carries a request and its answer."""
    client.sendall(b"GET / HTTP/1.1\r\nHost: ports\r\n\r\n")
    return b" 200 " in client.recv(65536).split(b"\r\n", 1)[0]


def held(node: str) -> set[str]:
    """Addresses of virtual servers; in a mode that was left, all of them wait for connections to end."""
    with ipvs.Ipvs(node) as kernel:
        return {str(service.place[0]) for service in kernel.services()}


def bound(node: str) -> set[str]:
    """Addresses of kube-ipvs0; none when there is none."""
    return set(map(str, dummy.addresses(node, "kube-ipvs0")))


def sets(node: str) -> list[str]:
    """The mode's ipsets."""
    return [name for name in ipset.observe(node) if name.startswith("KUBE-")]


def modes(cluster: Cluster, node: str) -> set[Mode]:
    """The modes that have rules on a node."""
    return proxymode.observe(configuration.load(cluster.name), node)


def cluster_ip(cluster: Cluster) -> str:
    """Of Service ports."""
    return str(cluster.get("/api/v1/namespaces/default/services/ports")["spec"]["clusterIP"])


def load_balancer(cluster: Cluster, name: str) -> str:
    """Its address, or ""."""
    found = cluster.get(f"/api/v1/namespaces/default/services/{name}")
    entries = found["status"].get("loadBalancer", {}).get("ingress") or [{}]
    return str(entries[0].get("ip", ""))


def told(cluster: Cluster) -> set[str]:
    """Nodes that say of the policy that they do not enforce it."""
    listed = cluster.get("/api/v1/namespaces/default/events")["items"]
    return {
        e["source"]["host"]
        for e in listed
        if (e["involvedObject"]["kind"], e["reason"]) == ("NetworkPolicy", "NotEnforced")
    }
