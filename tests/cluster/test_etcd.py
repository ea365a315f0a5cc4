"""A cluster whose objects are in etcd: members and the control plane die, and it goes on."""

import shutil
from pathlib import Path

import pytest

from tests.support import cluster as clusters
from tests.support import wait
from tests.unit.store.members import Members

_CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def test_a_cluster_in_etcd_survives_a_member_and_its_control_plane(tmp_path: Path) -> None:
    """Each of three members killed in turn, and the control plane with one away: the example answers, every write
    acknowledged is there."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd on this machine: apt-get install etcd-server")
    written = []
    with Members(tmp_path, 3) as members:
        store = "etcd://" + ",".join(members.target.endpoints)
        options = ("--store", store, "--no-publish")
        # The members have new pids afterwards; that a cluster leaves nothing behind is proven elsewhere.
        with clusters.running("etcd", *options, check_leaks=False) as cluster:
            assert not cluster.paths.database.exists()
            for member in range(3):
                members.kill(member)
                for number in range(5):
                    name = f"during-{member}-{number}"
                    body = {"metadata": {"name": name}}
                    cluster.request("POST", _CONFIGMAPS, body=body)
                    written.append(name)
                if member == 1:
                    cluster.replaced("controlplane", "", cluster.kill("controlplane"))
                    wait.until(lambda: cluster.try_get(_CONFIGMAPS), "the API answers", 20)
                assert cluster.answers()
                members.start(member)
            wait.until(lambda: len(cluster.ready_pods()) == 3, "all Ready", 20)
            found = {item["metadata"]["name"] for item in cluster.get(_CONFIGMAPS)["items"]}
            assert set(written) <= found
