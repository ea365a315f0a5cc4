"""Upstream's e2e tests on a cluster of netpod's: their images, what they take for granted, and one run of them."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from netpod.errors import ApiError
from tests.support import kubectl, upstream
from tests.support.cluster import Cluster, call

IMAGES = upstream.BIN.parent / "images"
REGISTRY = "localhost/e2e"
"""Where the suite is told to find images; nobody pulls from there."""
NAMES = {
    "agnhost": ("agnhost:2.21",),
    "busybox": ("busybox:1.29",),
    "httpd": ("httpd:2.4.38-alpine", "httpd:2.4.39-alpine"),
    "nginx": ("nginx:1.14-alpine", "nginx:1.15-alpine"),
    "pause": ("pause:3.2",),
    "nautilus": ("nautilus:1.0",),
    "kitten": ("kitten:1.0",),
    "nonewprivs": ("nonewprivs:1.0",),
    "nonroot": ("nonroot:1.0",),
    "jessie-dnsutils": ("jessie-dnsutils:1.0",),
    "redis": ("redis:5.0.5-alpine",),
    "resource-consumer": ("resource-consumer:1.5",),
}
"""Names in the suite by tag in the layout. Source: test/utils/image/manifest.go."""
_REGISTRIES = (
    "dockerLibraryRegistry e2eRegistry promoterE2eRegistry gcRegistry buildImageRegistry"
    " sampleRegistry"
).split()
_TAINTS = "node-role.kubernetes.io/control-plane,node-role.kubernetes.io/master"


def needed() -> pytest.MarkDecorator:
    """For tests that run the suite."""
    missing = upstream.why_not("e2e.test")
    if not missing and not IMAGES.is_dir():
        missing = f"tier upstream did not run: no {IMAGES}; sudo vagrant/upstream.sh images"
    return pytest.mark.skipif(bool(missing), reason=missing)


def load_images(cluster: Cluster) -> None:
    """Give the machine the images; they are unpacked once for all names."""
    for tag, names in NAMES.items():
        for name in names:
            source = f"oci:{IMAGES}:{tag}"
            cluster.ok("image", "load", source, "--name", f"{REGISTRY}/{name}", timeout=300)


@contextmanager
def tokens_as_before_1_24(cluster: Cluster) -> Iterator[None]:
    """Give every ServiceAccount a Secret with a token, which tests of 1.20 wait for in their namespaces."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(ApiError, OSError):
                for account in cluster.get("/api/v1/serviceaccounts")["items"]:
                    if not account.get("secrets"):
                        _give(cluster, account["metadata"]["namespace"], account["metadata"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _give(cluster: Cluster, namespace: str, account: dict[str, str]) -> None:
    name = f"{account['name']}-token-{account['uid'][:5]}"
    secret = {
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": name,
            "annotations": {"kubernetes.io/service-account.name": account["name"]},
        },
    }
    place = f"/api/v1/namespaces/{namespace}"
    with contextlib.suppress(ApiError):
        cluster.request("POST", f"{place}/secrets", body=secret)
    with contextlib.suppress(ApiError):
        cluster.patch(f"{place}/serviceaccounts/{account['name']}", {"secrets": [{"name": name}]})


def run(cluster: Cluster, names: Sequence[str], folder: Path, timeout: float) -> dict[str, str]:
    """Run tests one after the other.

    Returns:
        PASSED or FAILED by name; what did not come to its end is missing.
    """
    folder.mkdir(parents=True)
    registries = folder / "registries.yaml"
    registries.write_text("".join(f"{name}: {REGISTRY}\n" for name in _REGISTRIES))
    old = min(kubectl.found(), key=kubectl.version)
    result = call(
        str(upstream.BIN / "e2e.test"),
        f"-kubeconfig={cluster.paths.kubeconfig}",
        "-provider=skeleton",
        "-e2e-verify-service-account=false",
        f"-non-blocking-taints={_TAINTS}",
        "-allowed-not-ready-nodes=10",
        "-disable-log-dump",
        "-dump-logs-on-failure=false",
        f"-kubectl-path={old}",
        "-ginkgo.noColor",
        f"-ginkgo.focus={'|'.join(map(_quoted, names))}",
        timeout=timeout,
        env={"KUBE_TEST_REPO_LIST": str(registries)},
    )
    (folder / "log").write_text(result.stdout + result.stderr)
    return verdicts(result.stdout)


def verdicts(said: str) -> dict[str, str]:
    """What the suite's progress reporter says of each test, e.g. {"[sig-cli] ...": "PASSED"}."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        _, start, rest = line.partition('{"msg":"')
        if start:
            with contextlib.suppress(orjson.JSONDecodeError):
                verdict, _, name = orjson.loads(start + rest)["msg"].partition(" ")
                if verdict in ("PASSED", "FAILED"):
                    found[name] = verdict
    return found


def _quoted(name: str) -> str:
    """A name as Go's regular expressions take it literally."""
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in name)
