"""The trace commands on a living cluster: modes side by side, TLS, and what is put back after a kill."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from netpod.cluster import compare
from netpod.linux import process
from netpod.paths import Paths
from netpod.trace import Kind, Question, Verdict, trace_all
from tests.support import wait
from tests.support.cluster import NETPOD, Cluster

URL, TLS = "http://example.com/", "https://example.com/"


def mode(cluster: Cluster) -> str:
    """The proxy mode that the ConfigMap says."""
    text: str = cluster.ok("get", "cm", "kube-proxy", "-n", "kube-system", "-o", "json").json[
        "data"
    ]["config.conf"]
    return next(line.split()[1] for line in text.splitlines() if line.startswith("mode:"))


def test_modes_are_compared_and_the_clusters_own_is_back(cluster: Cluster) -> None:
    """The same request under each mode has that mode's chains; one that this machine lacks is left out, and said."""
    before = mode(cluster)
    result = cluster.ok("trace", URL, "--compare", "nftables,iptables", "-o", "json")
    found = result.json["modes"]
    assert list(found) == ["nftables", "iptables"]
    assert {t["verdict"] for t in found.values()} == {"DELIVERED"}
    text = {name: str(t["steps"][5]["hops"]) for name, t in found.items()}
    assert "KUBE-SVC-" in text["iptables"]
    assert "KUBE-SVC-" not in text["nftables"]
    assert mode(cluster) == before


def test_next_command_puts_the_mode_back_after_a_kill(cluster: Cluster) -> None:
    """kill -9 while the cluster has another mode: whatever is asked next finds its own."""
    before = mode(cluster)
    argv = [*NETPOD[:-1], NETPOD[-1], "--cluster", cluster.name, "trace", URL, "--repeat", "1",
            "--compare", "nftables,iptables"]  # fmt: skip
    kept = compare.record(Paths(cluster.name))
    pid = process.spawn(argv, env=dict(os.environ))
    wait.until(kept.exists, "the comparison has begun")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert kept.exists()
    assert mode(cluster) == before
    assert not kept.exists()


def test_request_over_tls_is_joined_behind_the_ingress(cluster: Cluster) -> None:
    """The proxy decrypts it, so both connections are told, and times only grow."""
    found = cluster.ok("trace", TLS, "-o", "json").json
    assert found["verdict"] == "DELIVERED"
    assert [leg["name"] for leg in found["legs"]] == ["client", "upstream"]
    assert {s["verdict"] for s in found["steps"]} == {"DELIVERED"}
    times = [hop["start_ns"] for step in found["steps"] for hop in step["hops"]]
    assert times == sorted(times)


def test_example_for_programs_works(cluster: Cluster) -> None:
    """What the documentation shows: typed answers, and who reaches whom at once."""
    root = Path(__file__).parents[2]
    argv = [sys.executable, str(root / "examples" / "trace_test.py")]
    done = process.run(argv, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), timeout=60)
    assert "became" in done.stdout.decode()
    asked = [
        Question(target=target, source=source, kind=Kind.TCP, timeout=1.0)
        for target in ("svc/example-service", "10.96.0.1:443", "node/worker:9")
        for source in ("node/worker", "node/worker2")
    ]
    found = asyncio.run(trace_all(asked, cluster=cluster.name))
    delivered, refused = Verdict.DELIVERED, Verdict.REFUSED
    assert [t.verdict for t in found] == [delivered] * 4 + [refused] * 2


def test_output_fits_a_terminal_of_80_columns(cluster: Cluster) -> None:
    """But for what the server itself answered, which is not ours to break."""
    for words in (
        ("trace", URL),
        ("trace", URL, "-v", "--all-packets"),
        ("trace", URL, "-o", "table"),
        ("trace", "svc/example-service", "--from", "node/worker"),
        ("explain", URL, "--check"),
        ("conntrack",),
        ("top", "links"),
    ):
        lines = cluster.ok(*words, COLUMNS="80").lines
        assert len(lines) > 3
        assert [x for x in lines if len(x) > 80 and not x.startswith('{"pod"')] == [], words


def test_many_requests_end_with_who_answered_and_how_fast(cluster: Cluster) -> None:
    """In words behind the trees, and in JSON beside the traces."""
    text = cluster.ok("trace", URL, "--repeat", "2").stdout
    assert text.count("DELIVERED in ") == 2
    assert "2 requests: 2 DELIVERED" in text
    assert "latency while traced: min" in text
    found = cluster.ok("trace", URL, "--repeat", "3", "-o", "json").json
    assert [t["verdict"] for t in found["items"]] == ["DELIVERED"] * 3
    answered = [t["steps"][6]["facts"]["pod"] for t in found["items"]]
    counts = {e["name"]: e["count"] for e in found["summary"]["endpoints"] if e["count"]}
    assert counts == {pod: answered.count(pod) for pod in answered}
    took = sorted(t["duration_ns"] for t in found["items"])
    latency = found["summary"]["latency_ns"]
    assert [latency["min"], latency["median"], latency["max"]] == took
    refused = cluster.cli("trace", URL, "--repeat", "2", "-o", "html")
    assert (refused.code, "leave --repeat out" in refused.stderr) == (2, True)
