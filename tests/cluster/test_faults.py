"""netem, partition, heal and kill: what is broken on purpose, and mended."""

import pytest

from tests.support.cluster import Cluster
from tests.support.guest import missing


def reaches(cluster: Cluster, origin: str, target: str) -> bool:
    """Whether one ping is answered."""
    said = cluster.cli("ping", "--from", origin, target, "-c", "1", "-W", "1")
    return "1 received" in said.stdout


def test_partition_and_heal(cluster: Cluster) -> None:
    """Two nodes do not hear each other any more, others do; what is mended is whole again."""
    try:
        said = cluster.ok("partition", "worker", "node/worker2")
        assert said.stdout == "worker and worker2 are cut off from each other\n"
        assert not reaches(cluster, "node/worker", "node/worker2")
        assert not reaches(cluster, "node/worker2", "node/worker")
        assert reaches(cluster, "node/worker", "node/control-plane")
        assert reaches(cluster, "node/worker", "edge")
        alone = cluster.ok("partition", "control-plane").stdout
        assert alone.count("\n") == 4
        assert not reaches(cluster, "node/control-plane", "edge")
        left = cluster.ok("heal", "control-plane").stdout
        assert left == "worker and worker2 are still cut off from each other\n"
        assert reaches(cluster, "node/control-plane", "edge")
    finally:
        assert cluster.ok("heal").stdout == "all wires are whole\n"
    assert reaches(cluster, "node/worker", "node/worker2")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ("partition", "worker", "moon"),
            'nodes "moon" not found or stopped; there are edge, control-plane',
        ),
        (("partition", "worker", "worker"), "cannot cut worker off from itself"),
        (
            ("kill", "moon"),
            'component "moon" not found or stopped; there are supervisor, controlplane',
        ),
        (("kill", "node/moon"), 'component "node/moon" not found or stopped'),
        (("kill", "pod/moon"), 'pods "moon" not found'),
        (("kill", "supervisor", "-c", "web"), "--container is for pod/NAME alone"),
        (("heal", "moon"), 'nodes "moon" not found'),
        (("netem", "node/worker"), "say --delay, --loss or --rate, or --clear alone"),
        (("netem", "node/worker", "--loss", "101%"), "at most 100%"),
        (("netem", "node/worker", "--delay", "soon"), "write a number with its unit"),
        (("netem", "node/moon", "--loss", "1%"), 'nodes "moon" not found'),
    ],
)
def test_wrong_words(cluster: Cluster, argv: tuple[str, ...], words: str) -> None:
    """One line says what is wrong, and no wire is touched."""
    result = cluster.cli(*argv)
    assert result.code in (1, 2)
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_netem_says_what_the_kernel_lacks(cluster: Cluster) -> None:
    """Status 4 where there is no netem; where there is, packets are lost until it is cleared."""
    result = cluster.cli("netem", "node/worker", "--loss", "100%")
    if missing("netem"):
        assert result.code == 4
        assert "this kernel has no netem (modprobe sch_netem" in result.stderr
        return
    assert not reaches(cluster, "node/worker", "edge")
    cluster.ok("netem", "node/worker", "--clear")
    assert reaches(cluster, "node/worker", "edge")
