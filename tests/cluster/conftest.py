"""One cluster with the example for the tests that only look; the tests that break things start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import cluster as clusters
from tests.support import host
from tests.support.cluster import Cluster, Result

SHARED = "netpod"
_TIERS = ("unit", "kernel", "upstream", "cluster", "vm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tiers in order, the shared cluster last: it lives until the session ends."""
    root = Path(__file__).parents[1]
    items.sort(key=lambda item: _TIERS.index(item.path.relative_to(root).parts[0]))


@pytest.fixture(scope="session")
def demo() -> Iterator[tuple[Cluster, Result]]:
    """The cluster that `netpod demo` starts, and what the command said."""
    before = host.snapshot()
    cluster = Cluster(SHARED)
    try:
        yield cluster, cluster.cli("demo")
    finally:
        cluster.cli("down")
        after = clusters.settled("", before)
        cluster.cli("cleanup")
    host.assert_same(before, after)


@pytest.fixture(scope="session")
def cluster(demo: tuple[Cluster, Result]) -> Cluster:
    """The shared cluster with the example. Tests leave it as they found it."""
    found, result = demo
    assert result.code == 0, result
    return found
