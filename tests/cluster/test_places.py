"""dig, ping and shell stand where they are told to."""

import pytest

from tests.support.cluster import Cluster


def test_dig_shows_every_query(cluster: Cluster) -> None:
    """A Service of another namespace is the second name of a pod's search list; a wrong one is none at all."""
    pod = cluster.ready_pods()[0]["metadata"]["name"]
    found = cluster.ok("dig", "--from", f"pod/{pod}", "kube-dns.kube-system", "-o", "json").json
    asked = [(q["name"], q["rcode"], q["transport"]) for q in found["queries"]]
    assert asked == [
        ("kube-dns.kube-system.default.svc.cluster.local", "NXDOMAIN", "udp"),
        ("kube-dns.kube-system.svc.cluster.local", "NOERROR", "udp"),
    ]
    assert found["ndots"] == 5
    assert found["queries"][1]["answer"] == [
        "kube-dns.kube-system.svc.cluster.local. 30 IN A 10.96.0.10"
    ]
    missing = cluster.cli("dig", "--from", f"pod/{pod}", "nobody")
    assert missing.code == 3
    assert missing.stdout.count("NXDOMAIN") == 4
    reverse = cluster.ok("dig", "10.96.0.10")
    assert "PTR kube-dns.kube-system.svc.cluster.local." in reverse.stdout


def test_ping_and_shell(cluster: Cluster) -> None:
    """Nodes reach pods, pods reach the outside, and a shell's exit code is the command's."""
    pod = cluster.ready_pods()[0]["metadata"]["name"]
    for origin, target in (("node/worker", f"pod/{pod}"), (f"pod/{pod}", "outside")):
        said = cluster.ok("ping", "--from", origin, target, "-c", "1", "-W", "5")
        assert "1 received" in said.stdout
    assert cluster.cli("shell", f"pod/{pod}", stdin="hostname; exit 7\n").code == 7
    inside = cluster.ok("shell", "node/worker", "--", "ip", "-o", "link", "show", "cni0")
    assert "cni0" in inside.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("dig", "--from", "outside", "x"), "there is no cluster DNS"),
        (("dig", "x", "NOPE"), "cannot ask for x NOPE"),
        (("ping", "svc/none"), 'services "none" not found'),
        (("ping", "nobody.example"), "cluster DNS knows no such name"),
        (("shell", "moon"), "write outside, edge, node/NAME or pod/NAME"),
    ],
)
def test_wrong_places(cluster: Cluster, argv: tuple[str, ...], words: str) -> None:
    """One line says what is wrong."""
    result = cluster.cli(*argv)
    assert result.code in (1, 2)
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
