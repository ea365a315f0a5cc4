"""The main job: from nothing to one request's eight steps."""

from typing import Any

import pytest

from netpod.linux import netns, nft
from tests.support.cluster import Cluster, Result

STEPS = (
    "client",
    "load balancer",
    "ingress",
    "host and path rule",
    "Service",
    "kube-proxy",
    "container",
    "the way back",
)


def test_a_newcomer_sees_the_eight_steps(demo: tuple[Cluster, Result]) -> None:
    """`netpod demo` starts, applies, traces, prints the body and says what to try next."""
    _, result = demo
    assert result.code == 0, result
    numbered = [line for line in result.lines if line[:1].isdigit() and line[1:2] == " "]
    assert [line.split("  +")[0] for line in numbered] == [
        f"{number} {name}" for number, name in enumerate(STEPS, 1)
    ]
    assert "\nDELIVERED in " in result.stdout
    assert '{"pod":"example-app-' in result.stdout
    assert "What to try next:" in result.stdout
    assert result.stderr == ""


def test_a_second_demo_changes_nothing(cluster: Cluster) -> None:
    """A repeated demo uses the cluster that is up and leaves every object as it is."""
    versions = _versions(cluster)
    result = cluster.ok("demo")
    assert "unchanged" in result.stdout
    assert "created" not in result.stdout
    assert "DELIVERED" in result.stdout
    assert _versions(cluster) == versions


def _versions(cluster: Cluster) -> dict[str, str]:
    paths = ("/apis/apps/v1/deployments", "/api/v1/services", "/api/v1/pods")
    items = [item for path in paths for item in cluster.get(path)["items"]]
    return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}


@pytest.fixture(scope="module")
def trace(cluster: Cluster) -> dict[str, Any]:
    """One trace of the example as JSON."""
    found: dict[str, Any] = cluster.ok("trace", "http://example.com/", "-o", "json").json
    return found


def test_every_step_of_a_trace_has_evidence(trace: dict[str, Any]) -> None:
    """A step without a capture, rule or log line of this very request would be a guess."""
    assert trace["verdict"] == "DELIVERED"
    assert [step["name"] for step in trace["steps"]] == list(STEPS)
    for step in trace["steps"]:
        assert step["verdict"] == "DELIVERED", step["name"]
        assert step["evidence"], step["name"]
        assert all(item["confidence"] for item in step["evidence"])
    times = [step["time_ns"] for step in trace["steps"]]
    assert times == sorted(times)


def test_a_trace_names_the_rules_that_moved_the_packet(trace: dict[str, Any]) -> None:
    """Node port, external, Service and endpoint chains, by upstream's names and with the rule's text."""
    texts = "\n".join(rule["text"] for rule in _rules(trace))
    for chain in ("KUBE-NODEPORTS", "KUBE-EXT-", "KUBE-SVC-", "KUBE-SEP-", "KUBE-MARK-MASQ"):
        assert chain in texts, chain
    assert "-j DNAT --to-destination 10.244." in texts
    assert "dnat to numgen" in texts


def test_a_trace_shows_the_conntrack_entries(trace: dict[str, Any]) -> None:
    """Three translations: the load balancer's, the node port's and the cluster IP's."""
    entries = {
        (hop["netns"], hop["conntrack"]["id"]): hop["conntrack"]
        for hop in _hops(trace)
        if hop["conntrack"]
    }
    destinations = {entry["original"]["destination"] for entry in entries.values()}
    assert "198.51.100.1:80" in destinations
    assert any(it.startswith("172.18.0.") for it in destinations)
    assert any(it.startswith("10.96.") and it.endswith(":80") for it in destinations)


def test_a_trace_shows_whom_the_container_saw(cluster: Cluster, trace: dict[str, Any]) -> None:
    """The container sees the ingress pod; the client's node port address is in X-Forwarded-For."""
    pods = cluster.pods("app.kubernetes.io/name=ingress", "kube-system")
    text = str(trace)
    assert pods[0]["status"]["podIP"] in text
    assert "example.com" in text


def test_twenty_traces_leave_nothing_armed(cluster: Cluster) -> None:
    """Tracing rules live as long as one trace: afterwards no namespace has the table."""
    for _ in range(20):
        assert cluster.cli("trace", "http://example.com/").code == 0
    for name in netns.list_netns(cluster.paths.netns_prefix):
        assert "netpod-trace" not in nft.list_text(name, "ruleset"), name


def test_rules_show_counters_that_moved(cluster: Cluster) -> None:
    """`netpod rules` prints the Service's live chains with counters, as iptables -nvL does."""
    node = cluster.pods("app.kubernetes.io/name=ingress", "kube-system")[0]["spec"]["nodeName"]
    text = cluster.ok("rules", "svc/example-service", "--node", node).stdout
    assert "KUBE-SVC-" in text
    assert "KUBE-SEP-" in text
    packets = [int(line.split()[0]) for line in text.splitlines() if " packets " in line]
    assert sum(packets) > 0


def _hops(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [hop for step in trace["steps"] for hop in step["hops"]]


def _rules(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for hop in _hops(trace) for rule in hop["rules"]]
