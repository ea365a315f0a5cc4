"""kubectl as the distribution ships it, unmodified, against our API server."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import cluster as clusters
from tests.support import wait
from tests.support.cluster import EXAMPLE, Cluster, Result

PLACES = ("/opt/netpod/kubectl/usr/bin/kubectl", "/tmp/kc/usr/bin/kubectl")
KUBECTL = next((place for place in PLACES if os.access(place, os.X_OK)), "")
SPACE = "shop"

pytestmark = pytest.mark.skipif(
    not KUBECTL, reason="no kubectl here; vagrant/provision.sh --test unpacks Debian's"
)
Kubectl = Callable[..., Result]


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Run kubectl with the cluster's kubeconfig and a home of its own; it must succeed."""
    home = tmp_path_factory.mktemp("home")

    def run(*argv: str, stdin: str = "", code: int = 0, **env: str) -> Result:
        places = {"HOME": str(home), "KUBECONFIG": str(cluster.paths.kubeconfig), **env}
        result = clusters.call(KUBECTL, *argv, stdin=stdin, env=places)
        assert result.code == code, f"kubectl {' '.join(argv)}: {result}"
        return result

    return run


@pytest.fixture(scope="module")
def shop(kubectl: Kubectl) -> Iterator[Kubectl]:
    """The example applied by kubectl in a namespace of its own."""
    kubectl("create", "namespace", SPACE)

    def run(*argv: str, **options: object) -> Result:
        return kubectl("-n", SPACE, *argv, **options)

    try:
        created = run("apply", "-f", str(EXAMPLE)).lines
        assert created == [
            "deployment.apps/example-app created",
            "service/example-service created",
            "ingress.networking.k8s.io/example-ingress created",
        ]
        run("rollout", "status", "deployment/example-app", "--timeout=30s")
        yield run
    finally:
        kubectl("delete", "namespace", SPACE, "--timeout=60s")


def test_apply_again_changes_nothing(shop: Kubectl) -> None:
    """The three-way merge finds no difference, whatever defaults the server filled in."""
    assert all(line.endswith(" unchanged") for line in shop("apply", "-f", str(EXAMPLE)).lines)
    assert shop("diff", "-f", str(EXAMPLE)).stdout == ""


@pytest.mark.parametrize("dry", ["client", "server"])
def test_apply_dry_run_creates_nothing(shop: Kubectl, dry: str) -> None:
    """--dry-run says what would be and leaves it at that."""
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dry}\n"
    assert "created" in shop("apply", f"--dry-run={dry}", "-f", "-", stdin=manifest).stdout
    shop("get", "configmap", "dry", code=1)


def test_get_prints_upstreams_columns(shop: Kubectl) -> None:
    """The server's tables: kubectl prints what it is told."""
    lines = shop("get", "pods", "-o", "wide").lines
    assert lines[0].split()[:6] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert len(lines) == 4
    assert all(line.split()[1:3] == ["1/1", "Running"] for line in lines[1:])
    heads = {
        "deploy": "NAME READY UP-TO-DATE AVAILABLE AGE",
        "rs": "NAME DESIRED CURRENT READY AGE",
        "svc": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        "ep": "NAME ENDPOINTS AGE",
        "ing": "NAME CLASS HOSTS ADDRESS PORTS AGE",
        "endpointslices": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
    }
    for kind, head in heads.items():
        assert " ".join(shop("get", kind).lines[0].split()) == head
    assert " ".join(shop("get", "nodes").lines[0].split()) == "NAME STATUS ROLES AGE VERSION"
    assert shop("get", "all").stdout.count("example") >= 6


def test_get_prints_objects(shop: Kubectl) -> None:
    """yaml, json, jsonpath, custom columns, names, selectors."""
    assert "kind: Deployment" in shop("get", "deploy", "example-app", "-o", "yaml").stdout
    service = json.loads(shop("get", "svc", "example-service", "-o", "json").stdout)
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    address = shop("get", "svc", "example-service", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert address == service["spec"]["clusterIP"]
    columns = shop("get", "pods", "-o", "custom-columns=N:.metadata.name", "--no-headers").lines
    assert len(columns) == 3
    assert len(shop("get", "pods", "-l", "app=example", "-o", "name").lines) == 3
    assert shop("get", "pods", "--field-selector", "status.phase=Failed", "-o", "name").lines == []
    assert len(shop("get", "pods", "--sort-by=.metadata.name", "-o", "name").lines) == 3


def test_describe_tells_the_story(shop: Kubectl) -> None:
    """describe joins objects and their events."""
    deployment = shop("describe", "deploy", "example-app").stdout
    assert "3 desired | 3 updated | 3 total | 3 available" in deployment
    assert "ScalingReplicaSet" in deployment
    pod = shop("get", "pods", "-o", "name").lines[0]
    text = shop("describe", pod).stdout
    for word in ("Scheduled", "Pulled", "Created", "Started", "Container ID:", "Readiness:"):
        assert word in text, (word, text)
    assert "Endpoints:         10.244." in shop("describe", "svc", "example-service").stdout
    ingress = shop("describe", "ing", "example-ingress").stdout
    assert "example.com" in ingress
    assert "example-service:80 (10.244." in ingress
    node = shop("describe", "node", "worker").stdout
    assert "InternalIP:  172.18.0." in node
    assert "example-app-" in node


def test_scale_and_wait(shop: Kubectl) -> None:
    """scale sets the number, rollout status and wait see it through."""
    assert "scaled" in shop("scale", "deploy/example-app", "--replicas=2").stdout
    shop("rollout", "status", "deploy/example-app", "--timeout=20s")
    wait.until(lambda: len(shop("get", "pods", "-o", "name").lines) == 2, "two pods")
    shop("scale", "deploy/example-app", "--replicas=3")
    shop("wait", "--for=condition=Available", "deploy/example-app", "--timeout=20s")
    shop("wait", "--for=condition=Ready", "pod", "-l", "app=example", "--timeout=20s")


def test_edit_label_annotate_and_patch(shop: Kubectl, tmp_path: Path) -> None:
    """Every way of changing an object in place."""
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/port: 80$/port: 81/' \"$1\"\n")
    editor.chmod(0o755)
    assert "edited" in shop("edit", "svc", "example-service", EDITOR=str(editor)).stdout
    port = "jsonpath={.spec.ports[0].port}"
    assert shop("get", "svc", "example-service", "-o", port).stdout == "81"
    for kind, patch in (
        (
            "strategic",
            '{"spec":{"ports":[{"port":81,"$patch":"delete"},{"port":82,"targetPort":8080}]}}',
        ),
        ("merge", '{"spec":{"ports":[{"port":83,"targetPort":8080}]}}'),
        ("json", '[{"op":"replace","path":"/spec/ports/0/port","value":80}]'),
    ):
        assert (
            "patched" in shop("patch", "svc", "example-service", "--type", kind, "-p", patch).stdout
        )
    assert shop("get", "svc", "example-service", "-o", port).stdout == "80"
    assert "labeled" in shop("label", "svc", "example-service", "tier=web").stdout
    assert "annotated" in shop("annotate", "svc", "example-service", "note=x").stdout
    assert shop("get", "svc", "-l", "tier=web", "-o", "name").lines == ["service/example-service"]
    shop("label", "svc", "example-service", "tier-")


def test_rollout_restart_history_and_undo(shop: Kubectl) -> None:
    """A new template is a new revision, and the old one can come back."""
    shop("set", "env", "deploy/example-app", "COLOUR=blue")
    shop("rollout", "status", "deploy/example-app", "--timeout=30s")
    assert shop("rollout", "history", "deploy/example-app").stdout.count("<none>") >= 2
    assert "rolled back" in shop("rollout", "undo", "deploy/example-app").stdout
    shop("rollout", "status", "deploy/example-app", "--timeout=30s")
    env = "jsonpath={.spec.template.spec.containers[0].env}"
    assert shop("get", "deploy", "example-app", "-o", env).stdout == ""
    shop("rollout", "restart", "deploy/example-app")
    shop("rollout", "status", "deploy/example-app", "--timeout=30s")


def test_events_explain_and_resources(shop: Kubectl) -> None:
    """What happened, what fields there are, what kinds there are."""
    assert "ScalingReplicaSet" in shop("get", "events").stdout
    assert "ingressClassName" in shop("explain", "ingress.spec").stdout
    listed = shop("api-resources").stdout
    for kind in ("Pod", "Deployment", "Ingress", "EndpointSlice", "Lease"):
        assert f" {kind}\n" in listed
    assert "Server Version" in shop("version").stdout
    assert "is running at" in shop("cluster-info").stdout


def test_errors_are_upstreams(shop: Kubectl) -> None:
    """Scripts look for these words."""
    missing = shop("get", "pod", "nobody", code=1)
    assert missing.stderr == 'Error from server (NotFound): pods "nobody" not found\n'
    again = shop("create", "deployment", "example-app", "--image=x", code=1)
    assert "already exists" in again.stderr
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 0}]}\n"
    invalid = shop("create", "-f", "-", "--validate=false", stdin=text, code=1)
    assert "is invalid" in invalid.stderr
    assert "spec.ports[0].port" in invalid.stderr


def test_delete_removes_all_of_it(shop: Kubectl) -> None:
    """delete -f waits until it is gone; what the Deployment owned goes too."""
    deleted = shop("delete", "-f", str(EXAMPLE)).stdout
    assert deleted.count(" deleted") == 3
    wait.until(
        lambda: shop("get", "pods,rs,ep,endpointslices", "-o", "name").lines == [], "all gone", 15
    )
