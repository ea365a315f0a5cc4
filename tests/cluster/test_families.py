"""Clusters of both address families and of IPv6 alone, as their users have them."""

from collections.abc import Iterator
from typing import Any

import pytest

from netpod.errors import ApiError
from netpod.linux import process
from tests.support import cluster as clusters
from tests.support import traffic, wait
from tests.support.cluster import Cluster

SERVICE = "/api/v1/namespaces/default/services/example-service"
INGRESS = "/api/v1/namespaces/kube-system/services/ingress"


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: own-kind}
spec:
  podSelector: {matchLabels: {app: example}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: example}}}]}]
  egress: [{to: [{podSelector: {matchLabels: {app: example}}}]}]
"""


@pytest.fixture(scope="module", params=["dual", "ipv6"])
def world(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with the example, whose Service is reached in every family that there is."""
    family = request.param
    options = ("--ip-family", family, "--nodes", "1", "--no-publish")
    with clusters.running(f"six-{family}", *options, session=cluster.name) as made:
        change = {"spec": {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack"}}
        made.patch(SERVICE, change)
        wait.until(lambda: len(made.endpoints()) == (6 if family == "dual" else 3), "endpoints")
        yield made


def six(values: list[Any]) -> str:
    """The IPv6 address among some."""
    (found,) = [it for it in values if ":" in it]
    return str(found)


def answered(cluster: Cluster, url: str, *argv: str, origin: str) -> bool:
    """Whether a request is answered 200, soon."""
    return wait.until(
        lambda: cluster.curl(url, "-g", *argv, origin=origin).stdout.endswith("200"), url
    )


def test_pods_and_nodes_say_all_their_addresses(world: Cluster) -> None:
    """podIPs, hostIPs, podCIDRs and InternalIPs are one of each family, the primary first."""
    dual = world.name.endswith("dual")
    wanted = ["4", "6"] if dual else ["6"]

    def kinds(values: list[str]) -> list[str]:
        return ["6" if ":" in it else "4" for it in values]

    status = world.pods()[0]["status"]
    assert kinds([it["ip"] for it in status["podIPs"]]) == wanted
    assert kinds([it["ip"] for it in status["hostIPs"]]) == wanted
    assert status["podIP"] == status["podIPs"][0]["ip"]
    node = world.get("/api/v1/nodes/worker")
    assert kinds(node["spec"]["podCIDRs"]) == wanted
    internal = [it["address"] for it in node["status"]["addresses"] if it["type"] == "InternalIP"]
    assert kinds(internal) == wanted


def test_names_have_ipv6_addresses_and_addresses_have_names(world: Cluster) -> None:
    """AAAA and PTR in ip6.arpa, asked over the name server's address of the primary family."""
    pod = world.pods()[0]["metadata"]["name"]
    address = six(world.get(SERVICE)["spec"]["clusterIPs"])
    forward = world.ok("exec", pod, "--", "getent", "ahostsv6", "example-service")
    assert forward.stdout.split()[0] == address
    backward = world.ok("exec", pod, "--", "getent", "hosts", address)
    assert backward.stdout.split()[1] == "example-service.default.svc.cluster.local"


@pytest.mark.parametrize("origin", ["pod", "node/worker", "node/control-plane"])
def test_the_cluster_ip_answers_over_ipv6(world: Cluster, origin: str) -> None:
    """From a pod, from a node with endpoints and from one without."""
    if origin == "pod":
        origin = f"pod/{world.pods()[0]['metadata']['name']}"
    address = six(world.get(SERVICE)["spec"]["clusterIPs"])
    assert answered(world, f"http://[{address}]/", origin=origin)


def test_a_node_port_answers_over_ipv6(world: Cluster) -> None:
    """From the world, at the address of a node that has no endpoint."""
    number = world.get(SERVICE)["spec"]["ports"][0]["nodePort"]
    node = world.get("/api/v1/nodes/control-plane")["status"]["addresses"]
    address = six([it["address"] for it in node])
    assert answered(world, f"http://[{address}]:{number}/", origin="outside")


def test_load_balancer_and_ingress_answer_over_ipv6(world: Cluster) -> None:
    """The world's request by the load balancer's address goes by host and path to a pod."""
    status = world.get(INGRESS)["status"]["loadBalancer"]["ingress"]
    address = six([it["ip"] for it in status])
    host = ("-H", "Host: example.com")
    assert answered(world, f"http://[{address}]/", *host, origin="outside")
    refused = world.curl(f"http://[{address}]/", "-g", origin="outside")
    assert refused.stdout.endswith("404"), "without a host no rule matches"


def test_policies_hold_over_ipv6_and_neighbours_are_found(world: Cluster) -> None:
    """Pods that may hear of their own kind alone still ask for each other's links; everybody else is dropped."""
    names = [pod["metadata"]["name"] for pod in world.pods()]
    address = six(world.get(SERVICE)["spec"]["clusterIPs"])
    number = world.get(SERVICE)["spec"]["ports"][0]["nodePort"]
    node = six(
        [it["address"] for it in world.get("/api/v1/nodes/control-plane")["status"]["addresses"]]
    )
    everybody = f"http://[{node}]:{number}/"
    world.ok("apply", "-f", "-", stdin=POLICY)
    wait.until(
        lambda: world.curl(everybody, "-g", "-m", "1", origin="outside").code == 28,
        "others are dropped",
    )
    for name in names:
        stand = world.paths.netns_pod("worker", "default", name)
        process.run(["ip", "-6", "neighbour", "flush", "all"], netns=stand)
        assert answered(world, f"http://[{address}]/", origin=f"pod/{name}")
    world.ok("delete", "networkpolicy", "own-kind")
    assert answered(world, everybody, origin="outside")


def test_a_load_balancer_goes_to_two_families_and_back(world: Cluster) -> None:
    """By the word of ipFamilyPolicy alone; where there is one family, upstream's words say so."""
    own = {"metadata": {"name": "spare"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    path = "/api/v1/namespaces/default/services"
    world.request("POST", path, body=own)
    path = f"{path}/spare"

    def addresses() -> list[str]:
        found = world.get(path)
        said = found.get("status", {}).get("loadBalancer", {}).get("ingress", ())
        return [*found["spec"]["clusterIPs"], *(it["ip"] for it in said)]

    wait.until(lambda: len(addresses()) == 2, "an address")
    first = addresses()
    if world.name.endswith("dual"):
        world.patch(path, {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
        wait.until(lambda: len([it for it in addresses() if ":" in it]) == 2, "IPv6 addresses")
        said = " ".join(world.ok("describe", "svc", "spare").stdout.split())
        assert "IP Family Policy: RequireDualStack IP Families: IPv4,IPv6" in said
        assert f"IPs: {','.join(addresses()[:2])}" in said
        world.patch(path, {"spec": {"ipFamilyPolicy": "SingleStack"}})
        wait.until(lambda: addresses() == first, "the first addresses alone")
    else:
        with pytest.raises(
            ApiError, match="this cluster is not configured for dual-stack services"
        ):
            world.patch(path, {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    world.request("DELETE", path)


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_rules_and_connections_of_ipv6_are_shown(world: Cluster, mode: str) -> None:
    """In every mode: the Service's rules and connections, and nothing that the kernel has too few or too many."""
    world.ok("proxy-mode", mode)
    address = six(world.get(SERVICE)["spec"]["clusterIPs"])
    assert answered(world, f"http://[{address}]/", origin="node/worker")
    shown = world.ok("rules", "svc/example-service", "--node", "worker").stdout
    assert address in shown
    world.ok("rules", "--diff")
    assert f"[{address}]:80" in world.ok("conntrack", "svc/example-service").stdout


JOURNEYS = [
    ("from outside through load balancer and ingress", ["LB"], "outside"),
    ("pod to cluster IP", ["CLUSTER"], "pod"),
    ("node port of another node", ["NODEPORT", "--tcp"], "outside"),
    ("echo between pods", ["--icmp", "POD"], "pod"),
    ("echo in fragments", ["--icmp", "POD", "--size", "5000"], "pod"),
    ("name asked over UDP", ["--udp", "DNS", "--query", "example-service.default.svc.cluster.local"], "pod"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "target", "origin"), JOURNEYS, ids=[it[0] for it in JOURNEYS])
def test_a_request_over_ipv6_is_traced(
    world: Cluster, words: str, target: list[str], origin: str
) -> None:
    """Every step is seen, every rewrite is proven by an entry, and no address of the other family is met."""
    pods = world.pods()
    node = world.get("/api/v1/nodes/control-plane")["status"]["addresses"]
    ingress = world.get(INGRESS)["status"]["loadBalancer"]["ingress"]
    port = world.get(SERVICE)["spec"]["ports"][0]["nodePort"]
    known = {
        "LB": f"http://[{six([it['ip'] for it in ingress])}]/",
        "CLUSTER": f"http://[{six(world.get(SERVICE)['spec']['clusterIPs'])}]/",
        "NODEPORT": f"[{six([it['address'] for it in node])}]:{port}",
        "POD": six([it["ip"] for it in pods[1]["status"]["podIPs"]]),
        "DNS": "svc/kube-system/kube-dns",
    }
    argv = [known.get(word, word) for word in target]
    argv += ["--from", f"pod/{pods[0]['metadata']['name']}" if origin == "pod" else origin]
    argv += ["--sni", "example.com"] if target == ["LB"] else []
    found = world.ok("trace", *argv, "-6", "-o", "json").json
    assert found["verdict"] == "DELIVERED", found["sentence"]
    if target == ["LB"]:
        assert [step["verdict"] for step in found["steps"]] == ["DELIVERED"] * 8
        # The ingress' own connection goes to the Service's first address, of whatever family.
        del found["steps"][3:]
    hops = [hop for step in found["steps"] for hop in step["hops"]]
    assert all(hop["before"]["source"].startswith("[") for hop in hops)
    assert all(hop["nat"] is None or hop["nat"]["proven"] for hop in hops)
    assert {rule["family"] for hop in hops for rule in hop["rules"]} == {"ip6"}
    if "--size" in target:
        seen = [s["fragments"] for p in found["legs"][0]["packets"] for s in p["sightings"]]
        # Where conntrack is, a bridge may show it in one piece.
        assert set(seen) - {0} == {4}
    if target[0] == "--udp":
        assert found["answer"]["body"].split()[3:] == [
            "AAAA",
            six(world.get(SERVICE)["spec"]["clusterIPs"]),
        ]


def test_a_trace_counts_the_endpoints_of_its_own_family(world: Cluster) -> None:
    """Where a name has addresses of both, one is taken and said; of the slices of the other family none counts."""
    if not world.name.endswith("dual"):
        result = world.cli("trace", "-4", "svc/example-service", "--from", "node/worker")
        assert result.code == 2
        assert "cannot trace svc/example-service over IPv4: it has fd" in result.stderr
        return
    origin = f"pod/{world.pods()[0]['metadata']['name']}"
    addresses = world.get(SERVICE)["spec"]["clusterIPs"]
    for flag, taken, other in (("-4", *addresses), ("-6", *reversed(addresses))):
        found = world.ok("trace", flag, "svc/example-service", "--from", origin, "-o", "json").json
        client, service = found["steps"][:2]
        assert f"{'-6' if flag == '-4' else '-4'} takes {other}" in client["sentence"]
        assert taken in service["sentence"]
        assert "3 ready endpoints" in service["sentence"]
        assert {":" in it for it in service["facts"]["endpoints"].split(", ")} == {flag == "-6"}
    named = world.ok("trace", "http://example-service/", "--from", origin, "-o", "json").json
    assert f"[{addresses[1]}]:80" in named["steps"][0]["sentence"]


def test_prediction_and_trace_agree_over_ipv6(world: Cluster) -> None:
    """Through the ingress and inside."""
    origin = f"pod/{world.pods()[0]['metadata']['name']}"
    for argv in (["http://example.com/"], ["svc/example-service", "--from", origin]):
        assert "the trace agrees" in world.ok("explain", "--check", "-6", *argv).stdout


def test_ipv4_goes_on_beside_ipv6(world: Cluster) -> None:
    """In a cluster of both the old way is as it was; where IPv4 is not, nobody has an address of it."""
    if world.name.endswith("dual"):
        assert traffic.request(world.paths.netns_outside)[0] == 200
        return
    found = [*world.get(SERVICE)["spec"]["clusterIPs"], *world.endpoints()]
    assert all(":" in it for it in found), found
