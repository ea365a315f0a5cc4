"""What cannot be is said in one line on stderr, with its exit code, and nothing is half-made."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.linux import process
from tests.support import cluster as clusters
from tests.support import host
from tests.support.cluster import Cluster, Result

NOBODY = 65534


@pytest.fixture
def machine() -> Iterator[None]:
    """Nothing may be made by a command that fails."""
    before = host.snapshot(but="netpod")
    yield
    host.assert_same(before, clusters.settled("netpod", before))


def refused(result: Result, code: int, *words: str) -> None:
    """Assert one line on stderr with these words, nothing on stdout, and the exit code."""
    assert result.code == code, result
    assert result.stdout == "", result
    assert result.stderr.count("\n") == 1, result
    assert result.stderr.startswith("error: "), result
    for word in words:
        assert word in result.stderr, (word, result.stderr)


@pytest.mark.usefixtures("machine")
def test_not_root() -> None:
    """Exit 4: the machine lacks something, namely us root."""
    code = f"import os; os.setgid({NOBODY}); os.setuid({NOBODY}); " + clusters.NETPOD[2]
    for command in ("up", "demo", "down", "get", "status"):
        result = clusters.call(sys.executable, "-c", code, "--cluster", "nobody", command)
        refused(result, 4, "root", "sudo")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("program", ["haproxy", "catatonit", "iptables-restore", "nft"])
def test_a_missing_program_is_named_with_its_package(program: str) -> None:
    """Exit 4, and what to install. A device laid over the program hides it, in a mount namespace of its own."""
    hide = 'mount --bind /dev/null "$0" && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", hide, process.find(program), *clusters.NETPOD]
    refused(clusters.call(*argv, "--cluster", "lacking", "up"), 4, program, "apt-get install")


@pytest.mark.usefixtures("machine")
def test_a_cluster_of_that_name_is_already_up(cluster: Cluster) -> None:
    """Exit 2, and what to do; the running cluster is not touched."""
    before = cluster.ok("status", "-o", "json").json["processes"]
    refused(cluster.cli("up"), 2, "already up", "netpod down")
    after = cluster.ok("status", "-o", "json").json["processes"]
    assert [it["pid"] for it in after] == [it["pid"] for it in before]


@pytest.mark.usefixtures("machine")
def test_networks_that_overlap_each_other() -> None:
    """Exit 2, both networks named."""
    result = Cluster("overlap").cli("up", "--pod-cidr", "10.96.0.0/16")
    refused(result, 2, "10.96.0.0/16", "overlaps", "--service-cidr")


@pytest.fixture
def host_route() -> Iterator[None]:
    """A route of the machine into the default pod network."""
    process.run(["ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1"])
    process.run(["ip", "link", "set", "vpn0", "up"])
    process.run(["ip", "route", "add", "10.244.7.0/24", "dev", "vpn0"])
    yield
    process.run(["ip", "link", "delete", "vpn0"])


@pytest.mark.usefixtures("machine", "host_route")
def test_networks_that_overlap_the_machines_routes() -> None:
    """Exit 2, the route and its link named, and which option changes it."""
    result = Cluster("overlap").cli("up")
    refused(result, 2, "10.244.7.0/24", "vpn0", "--pod-cidr")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers: many\n", ("workers", "int")),
        ("wrokers: 2\n", ("unknown field wrokers",)),
        ("workers: [\n", ("line",)),
        ("workers: 201\n", ("201", "200")),
        ("nodePortRange: '5-1'\n", ("nodePortRange",)),
        ("podCIDR: 10.244.0.1/16\n", ("10.244.0.1/16",)),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """Exit 2, the field named and what is allowed."""
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    refused(Cluster("wrong").cli("up", "--config", str(file)), 2, *words)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["Upper", "a_b", "x" * 41, "-x", "a/b", ".."])
def test_a_name_no_cluster_can_have(name: str) -> None:
    """Exit 2: namespaces and files carry the name."""
    refused(Cluster(name).cli("up"), 2, "cluster name")


def test_an_unknown_cluster() -> None:
    """Exit 2, and how to start one."""
    for argv in (("get", "pods"), ("status",), ("kubeconfig",), ("trace", "http://example.com/")):
        refused(Cluster("nowhere").cli(*argv), 2, "sudo netpod --cluster nowhere up")
    refused(Cluster("nowhere").cli("down"), 2, "nowhere")


POD = "{apiVersion: v1, kind: Pod, metadata: {name: bad}, spec: {containers: [%s]}}"
SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: %s}"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("kind: [", ("standard input", "line")),
        ("{apiVersion: v1, kind: Widget, metadata: {name: a}}", ("Widget",)),
        ("{apiVersion: v1, kind: Pod}", ("metadata.name",)),
        ("{kind: Pod, metadata: {name: a}}", ("apiVersion",)),
        (POD % "{name: c, image: x, ports: 80}", ("spec.containers[0].ports",)),
        (POD % "{name: c, image: x, ports: [{containerPort: 70000}]}", ("70000", "1", "65535")),
        (POD % "{name: c}", ("image",)),
        (POD % "{name: c, image: x, imagee: y}", ("imagee",)),
        (SERVICE % "{ports: [{port: 0}]}", ("spec.ports[0].port",)),
        (SERVICE % "{type: NodePort, ports: [{port: 80, nodePort: 80}]}", ("30000-32767",)),
        (SERVICE % "{type: Wrong, ports: [{port: 80}]}", ("spec.type", "Wrong")),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_Name}}", ("metadata.name",)),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}" % ("x" * 254), ("253",)),
    ],
)
def test_a_wrong_manifest(cluster: Cluster, manifest: str, words: tuple[str, ...]) -> None:
    """Exit 1, the field named with its path; nothing is created."""
    refused(cluster.cli("apply", "-f", "-", stdin=manifest), 1, *words)
    assert "bad" not in cluster.ok("get", "pods,svc,cm", "-o", "name").stdout


def test_a_node_port_somebody_else_has(cluster: Cluster) -> None:
    """Exit 1: it is allocated already."""
    taken = cluster.get("/api/v1/namespaces/kube-system/services/ingress")["spec"]["ports"][0]
    spec = f"{{type: NodePort, ports: [{{port: 80, nodePort: {taken['nodePort']}}}]}}"
    result = cluster.cli("apply", "-f", "-", stdin=SERVICE % spec)
    refused(result, 1, str(taken["nodePort"]), "already allocated")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("get", "pod", "nobody"), 1, ('pods "nobody" not found',)),
        (("get", "widgets"), 1, ("widgets",)),
        (("logs", "nobody"), 1, ('pods "nobody" not found',)),
        (("logs", "--all", "--component", "moon"), 2, ("--component moon", "kubelet, proxy")),
        (("exec", "nobody", "--", "true"), 1, ('pods "nobody" not found',)),
        (("curl", "--from", "pod/nobody", "http://x/"), 1, ("nobody",)),
        (("curl", "--from", "mars", "http://x/"), 2, ("mars",)),
        (("rules", "svc/nobody"), 1, ("nobody",)),
        (("port-forward", "-n", "kube-system", "deploy/dns", "99999:53"), 2, ("'99999'", "65535")),
        (("scale", "deploy/nobody", "--replicas", "1"), 1, ("nobody",)),
        (("delete", "deploy", "nobody"), 1, ("nobody",)),
        (("describe", "svc", "nobody"), 1, ("nobody",)),
        (("apply", "-f", "/no/such/file"), 2, ("/no/such/file",)),
        (("get", "pods", "-o", "xml"), 2, ("xml",)),
        (("get", "pods", "-l", "a=b=c"), 1, ("a=b=c",)),
        (("wait", "--for=condition=Ready", "pod/nobody"), 1, ("nobody",)),
        (("wait", "--for=nonsense", "deploy/example-app"), 2, ("nonsense",)),
        (("trace", "ftp://example.com/"), 2, ("ftp",)),
        (("trace", "http://"), 2, ("http://",)),
    ],
)
def test_a_wrong_question(
    cluster: Cluster, argv: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    """Exit 1 for what is not there, 2 for what cannot be asked."""
    refused(cluster.cli(*argv), code, *words)


def test_help_and_usage(cluster: Cluster) -> None:
    """A command that does not exist is a usage error; help is not."""
    assert cluster.cli("--help").code == 0
    assert cluster.cli("no-such-command").code == 2
    assert cluster.cli("scale", "deploy/example-app").code == 2
