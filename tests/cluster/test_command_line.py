"""The command line on a living cluster: several objects at once, namespaces of files, names that are wrong."""

from pathlib import Path

import pytest

from tests.support.cluster import Cluster

TEAM = """
{apiVersion: v1, kind: Namespace, metadata: {name: cli-team}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: cli-team}}
"""
MIXED = """
{apiVersion: v1, kind: ConfigMap, metadata: {name: cli-first}}
---
{apiVersion: v1, kind: Service, metadata: {name: cli-wrong}, spec: {ports: 3}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: cli-last}}
"""


def test_get_aligns_objects_by_name_and_says_each_that_is_missing(cluster: Cluster) -> None:
    """One table for one kind; what is not there is an error beside it."""
    result = cluster.cli("get", "svc", "example-service", "kubernetes", "nobody")
    assert result.code == 1
    assert result.stderr == 'error: services "nobody" not found\n'
    header, *rows = result.lines
    assert [row.split()[0] for row in rows] == ["example-service", "kubernetes"]
    assert {row.index("ClusterIP") for row in rows} == {header.index("TYPE")}


def test_get_prefixes_names_with_their_kind_only(cluster: Cluster) -> None:
    """Of several kinds, each named: `service/kubernetes`, once."""
    text = cluster.ok("get", "svc/kubernetes", "deploy/example-app").stdout
    assert "\nservice/kubernetes " in text
    assert "\ndeployment.apps/example-app " in text


def test_a_files_own_namespace_counts(cluster: Cluster, tmp_path: Path) -> None:
    """For get, describe and delete as for apply; a namespace that takes its objects along is no mistake."""
    file = tmp_path / "team.yaml"
    file.write_text(TEAM)
    cluster.ok("apply", "-f", str(file))
    assert "configmap/inside" in cluster.ok("get", "-f", str(file)).stdout
    assert "cli-team" in cluster.ok("describe", "-f", str(file)).stdout
    cluster.ok("delete", "-f", str(file), "--ignore-not-found=true")
    assert "cli-team" not in cluster.ok("get", "ns").stdout


def test_one_wrong_document_does_not_stop_the_others(cluster: Cluster, tmp_path: Path) -> None:
    """The error names its object, the exit code is 1; delete goes on in the same way."""
    file = tmp_path / "mixed.yaml"
    file.write_text(MIXED)
    result = cluster.cli("apply", "-f", str(file))
    assert result.code == 1
    assert result.lines == ["configmap/cli-first created", "configmap/cli-last created"]
    assert result.stderr.startswith("error: cannot apply service/cli-wrong: ")
    assert result.stderr.count("\n") == 1
    result = cluster.cli("delete", "-f", str(file))
    assert result.code == 1
    assert result.lines == ['configmap "cli-first" deleted', 'configmap "cli-last" deleted']
    assert result.stderr == 'error: services "cli-wrong" not found\n'


@pytest.mark.parametrize("name", ["", "..", "/", "../x"])
def test_a_wrong_cluster_name_reaches_no_folder(cluster: Cluster, name: str) -> None:
    """Every command refuses it, cleanup before all."""
    for command in (("cleanup",), ("down",), ("get", "pods"), ("kubeconfig",)):
        result = Cluster(name).cli(*command)
        assert result.code == 2, result
        assert "cannot use cluster name" in result.stderr
    cluster.ok("get", "nodes")


def test_curl_outside_knows_only_the_names_of_ingresses(cluster: Cluster) -> None:
    """Another name is an error at once, not a question to the machine's DNS."""
    result = cluster.cli("curl", "http://nobody.example/")
    assert result.code == 1
    assert "cannot resolve nobody.example" in result.stderr


def test_options_of_exec_after_the_pod(cluster: Cluster) -> None:
    """As kubectl's users type them; no program is a usage error."""
    assert cluster.ok("exec", "deploy/example-app", "-c", "web", "--", "true").code == 0
    assert cluster.cli("exec", "deploy/example-app", "--", "").code == 2


def test_watch_shows_one_kind(cluster: Cluster) -> None:
    """More cannot be shown in one stream of rows, and is not silently left out."""
    result = cluster.cli("get", "pods,svc", "-w")
    assert result.code == 2
    assert "cannot watch" in result.stderr


def test_conntrack_says_what_it_can_list(cluster: Cluster) -> None:
    """In its own words, not in those of a trace."""
    result = cluster.cli("conntrack", "bogus")
    assert result.code == 2
    assert "cannot list connections of 'bogus': say svc/NAME or node/NAME" in result.stderr
    assert cluster.ok("conntrack", "node/worker").lines[0].startswith("WHERE")


def test_watching_what_is_not_there_ends(cluster: Cluster) -> None:
    """Absent is no error when asked so, and nothing is left to watch."""
    assert cluster.ok("get", "pod", "nobody", "-w", "--ignore-not-found").stdout == ""
