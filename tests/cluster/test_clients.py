"""Programs written for Kubernetes: the official Python client and a kopf operator, unmodified.

They run in NETPOD_TEST_CLIENTS, a Python that has the packages, or in this one where it has them.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netpod.errors import NotFound
from netpod.linux import process
from tests.support import wait
from tests.support.cluster import Cluster, call

PYTHON = os.environ.get("NETPOD_TEST_CLIENTS", sys.executable)
PROGRAMS = Path(__file__).parent / "programs"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
COLOURS = "/apis/example.com/v1/namespaces/default/colours"

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "colours.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Colour", "plural": "colours", "singular": "colour"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"colour": {"type": "string"}},
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


def _needs(package: str) -> None:
    if call(PYTHON, "-c", f"import {package}").code:
        pytest.skip(f"{package} is not installed in {PYTHON}")


@pytest.mark.parametrize(
    "fact",
    [
        "discovery",
        "lists",
        "watches",
        "patches",
        "deletions",
        "executes",
        "forwards",
        "elections",
    ],
)
def test_the_official_client_works(cluster: Cluster, fact: str) -> None:
    """What programs do with the official client they can do here; see programs/official.py."""
    _needs("kubernetes")
    env = {"KUBECONFIG": str(cluster.paths.kubeconfig)}
    said = call(PYTHON, str(PROGRAMS / "official.py"), fact, env=env, timeout=60)
    assert said.stdout.endswith("ok\n"), said


def _found(cluster: Cluster, path: str) -> Any:
    try:
        return cluster.get(path)
    except NotFound:
        return None


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A running operator, and where it writes its log."""
    _needs("kopf")
    _needs("kubernetes")
    cluster.request("POST", DEFINITIONS, body=DEFINITION)
    log = tmp_path / "log"
    env = {**os.environ, "KUBECONFIG": str(cluster.paths.kubeconfig)}
    argv = [PYTHON, "-m", "kopf", "run", str(PROGRAMS / "colours.py"), "-n", "default"]
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = process.spawn(argv, stdout=fd, stderr=fd, env=env)
    finally:
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    try:
        yield log
    finally:
        process.send_signal(pidfd, 9)
        os.close(pidfd)
        os.waitpid(pid, 0)
        cluster.request("DELETE", f"{DEFINITIONS}/colours.example.com")


def test_a_kopf_operator_runs(cluster: Cluster, operator: Path) -> None:
    """It sees creations, updates and deletions of its kind, holds objects by its finalizer and posts events."""
    colour = {
        "apiVersion": "example.com/v1",
        "kind": "Colour",
        "metadata": {"name": "sky"},
        "spec": {"colour": "blue"},
    }

    def painted(name: str, wanted: str) -> bool:
        found = _found(cluster, f"{CONFIGMAPS}/{name}")
        return bool(found and found["data"]["colour"] == wanted)

    def handled() -> bool:
        return "created" in _found(cluster, f"{COLOURS}/sky").get("status", {})

    try:
        cluster.request("POST", COLOURS, body=colour)
        wait.until(lambda: painted("colour-sky", "blue"), "created", 15)
        wait.until(handled, "the handler's result is in the status", 10)
        made = cluster.get(f"{COLOURS}/sky")
        assert made["metadata"]["finalizers"] == ["example.com/colour"]
        assert made["status"]["created"] == {"painted": "blue"}
        cluster.request(
            "PATCH",
            f"{COLOURS}/sky",
            body={"spec": {"colour": "grey"}},
            content_type="application/merge-patch+json",
        )
        wait.until(lambda: painted("colour-sky", "grey"), "updated", 15)
        cluster.request("DELETE", f"{COLOURS}/sky")
        wait.until(lambda: painted("deleted-sky", "grey"), "deleted", 15)
        wait.until(lambda: not _found(cluster, f"{COLOURS}/sky"), "the finalizer is gone")
        events = cluster.get("/api/v1/namespaces/default/events")["items"]
        assert "Painted" in {event["reason"] for event in events}
        for name in ("deleted-sky", "colour-sky"):
            with contextlib.suppress(NotFound):
                cluster.request("DELETE", f"{CONFIGMAPS}/{name}")
    except AssertionError as error:
        raise AssertionError(operator.read_text()[-4000:]) from error
