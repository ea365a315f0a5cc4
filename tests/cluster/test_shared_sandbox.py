"""The pod of docs/shared-sandbox.md: two containers in one sandbox, one of them the machine's nginx."""

import shutil
from pathlib import Path

import pytest

from netpod.linux import process
from tests.support.cluster import Cluster

MANIFEST = str(Path(__file__).parents[2] / "examples" / "shared-sandbox.yaml")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_two_containers_share_a_sandbox(cluster: Cluster) -> None:
    """A hostPort leads to nginx, which reaches the application by 127.0.0.1; each sees the other's processes."""
    try:
        assert cluster.cli("apply", "-f", MANIFEST).code == 0
        waited = cluster.cli(
            "wait", "--for=condition=Ready", "pod/shared-sandbox", "--timeout", "20s"
        )
        assert waited.code == 0, waited
        pod = cluster.cli("get", "pod", "shared-sandbox", "-o", "json").json
        url = f"http://{pod['status']['hostIP']}:8888/hello"
        outside = cluster.paths.netns_outside
        said = process.run(["curl", "-s", "--max-time", "5", url], netns=outside).stdout.decode()
        assert '"pod":"shared-sandbox"' in said
        assert '"client":"127.0.0.1"' in said
        assert '"X-Forwarded-For":"203.0.113.10"' in said
        seen = cluster.cli("exec", "-c", "nginx", "shared-sandbox", "--", "ps", "ax")
        assert "catatonit" in seen.stdout, seen
        assert "nginx: worker" in seen.stdout
    finally:
        cluster.cli("delete", "-f", MANIFEST, "--wait")
