"""Claims on a running cluster: what a pod wrote is there for its successor, and goes with the claim."""

from tests.support import wait
from tests.support.cluster import Cluster

DB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger}
spec:
  serviceName: ledger
  selector: {matchLabels: {app: ledger}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  template:
    metadata: {labels: {app: ledger}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000}
      containers:
      - name: c
        image: netpod.dev/host
        command: [sh, -c, "echo $HOSTNAME >> /data/log; cat /data/log; exec sleep 600"]
        volumeMounts: [{name: data, mountPath: /data}]
"""


def test_what_a_pod_wrote_is_there_for_its_successor(cluster: Cluster) -> None:
    """The claim of the class `standard` is a directory that outlives the pod, though its user is not root."""
    cluster.ok("apply", "-f", "-", stdin=DB)
    try:
        lines = wait.until(lambda: written(cluster), "the first pod has written", 20)
        assert lines == ["ledger-0"]
        cluster.ok("delete", "pod", "ledger-0")
        wait.until(
            lambda: written(cluster) == ["ledger-0", "ledger-0"], "its successor reads it", 20
        )
        (folder,) = cluster.paths.volumes.glob("pvc-*_default_data-ledger-0")
        assert (folder / "log").read_text() == "ledger-0\nledger-0\n"
    finally:
        cluster.ok("delete", "statefulset", "ledger")
        cluster.ok("delete", "pvc", "data-ledger-0")
    wait.until(lambda: not folder.exists(), "the files go with the claim", 20)
    assert "pvc-" not in cluster.ok("get", "pv").stdout


def written(cluster: Cluster) -> list[str]:
    """Lines that the pod's program said."""
    return cluster.cli("logs", "ledger-0").lines
