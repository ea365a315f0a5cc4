"""What a kubelet tells of probes."""

from netpod import metrics
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod, PodSpec
from netpod.kubelet.probe import Outcome
from netpod.kubelet.probemetrics import ProbeMetrics


def test_answers_are_counted_until_their_pod_goes() -> None:
    """By kind and outcome; a pod that went leaves nothing behind, its namesake's successor stays."""
    counted = ProbeMetrics()
    old, other = (
        Pod(metadata=ObjectMeta(name=name, namespace="shop", uid=f"u-{name}"), spec=PodSpec())
        for name in ("a", "b")
    )
    for pod in (old, other):
        counted.note(pod, "c", "Readiness", Outcome.SUCCESS, 0.02)
        counted.note(pod, "c", "Liveness", Outcome.FAILURE, 0.3)
    lines = metrics.text(counted.families()).decode().splitlines()
    place = 'container="c",namespace="shop",pod="a",pod_uid="u-a"'
    assert any(
        line.startswith("prober_probe_total{")
        and {'probe_type="Liveness"', 'result="failed"', *place.split(",")}
        <= set(line[line.index("{") + 1 : line.index("}")].split(","))
        for line in lines
    )
    counted.forget(old)
    text = metrics.text(counted.families()).decode()
    assert 'pod="a"' not in text
    assert 'pod="b"' in text
