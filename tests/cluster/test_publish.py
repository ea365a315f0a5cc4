"""The cluster's ingress on this machine's 127.0.0.1."""

from tests.support import cluster as clusters
from tests.support.cluster import Cluster


def test_ingress_is_published_on_this_machine(cluster: Cluster) -> None:
    """A browser on this machine reaches the example at the ports that status names, over HTTP and HTTPS."""
    rows = cluster.cli("status", "-o", "json").json["published"]
    assert [row["target"] for row in rows] == ["ingress:80", "ingress:443"]
    assert not any(row["error"] for row in rows)
    for row, scheme in zip(rows, ("http", "https"), strict=True):
        url = f"{scheme}://example.com:{row['listen'].rpartition(':')[2]}/"
        to = f"example.com::{row['listen']}"
        said = clusters.call("curl", "-sk", "--connect-to", to, url)
        assert said.code == 0, said
        assert said.json["headers"]["x-forwarded-proto"] == scheme
