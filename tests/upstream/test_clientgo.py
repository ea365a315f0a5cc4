"""A program of client-go does at netpod's API server what operators and controllers do.

tests/upstream/clientgo is the program: each fact is a function of it, in a namespace of its own.
"""

from collections.abc import Iterator

import pytest

from tests.support import upstream
from tests.support.cluster import Cluster, Result, call, running

pytestmark = upstream.needed("clientgo")
PROGRAM = str(upstream.BIN / "clientgo")
FACTS = (
    "applies controls definitions discovery elects evicts executes forwards informers logs metadata"
    " pages protobuf records relists retries scales"
).split()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own: the program watches all there is."""
    with running("clientgo", "--nodes", "1", "--no-publish", example=False) as found:
        yield found


def _holds(cluster: Cluster, fact: str, **env: str) -> Result:
    env["KUBECONFIG"] = str(cluster.paths.kubeconfig)
    said = call(PROGRAM, fact, env=env, timeout=150)
    assert said.code == 0, said
    assert said.stdout.endswith("ok\n"), said
    return said


@pytest.mark.parametrize("fact", FACTS)
def test_what_client_go_does(cluster: Cluster, fact: str) -> None:
    """Informers, leader election, controllers, apply, streams, ...; see the functions of that name."""
    _holds(cluster, fact)


@pytest.mark.parametrize("fact", ["informers", "metadata", "relists"])
def test_what_client_go_does_with_streamed_lists(cluster: Cluster, fact: str) -> None:
    """As 0.36 does without being told: a watch begins with what there is, and nothing is listed."""
    said = _holds(cluster, fact, KUBE_FEATURE_WatchListClient="true")
    assert fact != "informers" or "; 0 lists, " in said.stdout, said


def test_every_fact_is_asked_for() -> None:
    """The program knows no other."""
    assert call(PROGRAM, "list").stdout.split() == FACTS
