"""A cluster without some of our components: whoever runs others in their place finds the place free."""

from netpod.cluster import without
from netpod.linux import process
from tests.support import wait
from tests.support.cluster import running

NAME = "without"


def test_what_is_left_out_does_not_run() -> None:
    """No pod is made or bound, no rule is written, no port is taken; what only ours could do is refused."""
    left_out = ",".join(without.COMPONENTS)
    options = ("--without", left_out, "--nodes", "0", "--no-publish")
    with running(NAME, *options, example=False) as cluster:
        node = cluster.paths.netns_node("control-plane")
        wait.until(lambda: cluster.try_get("/api/v1/nodes/control-plane"), "the node registers")
        deployments = "/apis/apps/v1/namespaces/kube-system/deployments"
        wait.until(lambda: len(cluster.get(deployments)["items"]) == 2, "the add-ons are there")
        assert not cluster.get("/apis/apps/v1/replicasets")["items"]
        assert not cluster.pods("", "kube-system")
        saved = process.run(["iptables-save", "-t", "nat"], netns=node).stdout.decode()
        assert "KUBE-SERVICES" not in saved
        listening = process.run(["ss", "-Hltn"], netns=node).stdout.decode()
        assert ":6443" in listening
        assert ":10249" not in listening
        assert ":10257" not in listening
        assert ":10259" not in listening
        seen = cluster.get("/api/v1/componentstatuses")["items"]
        assert [it["metadata"]["name"] for it in seen] == ["etcd-0"]
        told = cluster.cli("status", "-o", "json").json
        assert told["without"] == list(without.COMPONENTS)
        refused = cluster.cli("proxy-mode", "nftables")
        assert refused.code == 2
        assert f"this cluster was started --without {without.KUBE_PROXY}" in refused.stderr
