"""Names longer than a link's 15 or a file's 255 characters work as any other."""

from collections.abc import Iterator

import pytest

from netpod.linux import link, netns
from tests.support import cluster as clusters
from tests.support import traffic, wait
from tests.support.cluster import Cluster

LONG = "cluster-with-a-name-of-forty-characters1"
LABEL = "a" * 63
PODS = ("p." + "x" * 240 + ".one", "p." + "x" * 240 + ".two")
MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {LABEL}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {LABEL}, namespace: {LABEL}}}
spec: {{selector: {{app: long}}, ports: [{{port: 80, targetPort: 8080}}]}}
""" + "".join(
    f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: {LABEL}, labels: {{app: long}}}}
spec: {{containers: [{{name: {LABEL}, image: x, ports: [{{containerPort: 8080}}]}}]}}
"""
    for pod in PODS
)


@pytest.fixture(scope="module")
def longest() -> Iterator[Cluster]:
    """A cluster with the longest name there may be, and the longest names in it."""
    with clusters.running(LONG, "--nodes", "1", example=False, session="netpod") as cluster:
        cluster.ok("apply", "-f", "-", stdin=MANIFEST)
        yield cluster


def test_pods_with_the_longest_names_run_and_answer(longest: Cluster) -> None:
    """Names that differ only at their end are two pods with two namespaces and two links."""
    wait.until(lambda: len(longest.ready_pods("app=long", LABEL)) == 2, "both are Ready")
    service = longest.get(f"/api/v1/namespaces/{LABEL}/services/{LABEL}")["spec"]["clusterIP"]
    node = longest.paths.netns_node("worker")
    seen: set[str] = set()

    def both() -> bool:
        seen.add(traffic.hostname(node, service))
        return len(seen - {""}) == 2

    wait.until(both, "both pods answered")
    assert seen - {""} == set(PODS)
    found = netns.list_netns(longest.paths.netns_prefix)
    assert all(len(name) <= 255 for name in found)
    assert all(len(it.name) <= 15 for name in found for it in link.observe_links(name))


def test_commands_take_the_longest_names(longest: Cluster) -> None:
    """exec, logs, curl, describe and delete find a pod whose namespace's name is hashed."""
    pod = PODS[0]
    wait.until(lambda: len(longest.ready_pods("app=long", LABEL)) == 2, "both are Ready")
    assert longest.ok("exec", "-n", LABEL, pod, "--", "echo", "hello").stdout == "hello\n"
    url = f"http://{LABEL}.{LABEL}.svc.cluster.local/hostname"
    result = longest.cli("curl", "-n", LABEL, "--from", f"pod/{pod}", url, "-m", "5")
    assert result.code == 0, result
    longest.ok("logs", "-n", LABEL, pod)
    assert pod in longest.ok("describe", "-n", LABEL, "pod", pod).stdout
    longest.ok("delete", "-n", LABEL, "pod", pod)
    assert pod not in longest.ok("get", "-n", LABEL, "pods").stdout
