"""Upstream's own conformance tests of 1.20 pass on netpod: all of e2e_passing.txt, docs/conformance.md says of which.

e2e_left_out.txt has the others, each with its reason.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.support import e2e
from tests.support.cluster import Cluster, running

pytestmark = e2e.needed()
HERE = Path(__file__).parent
HOUR = 3600.0
SERIAL = "Serial"


def names(file: str) -> list[str]:
    """The tests that a list names."""
    lines = (HERE / file).read_text().splitlines()
    return [line for line in lines if line.startswith("[")]


def by_sig() -> dict[str, list[str]]:
    """The tests that pass, by who is responsible, and last those that need the cluster for themselves."""
    found: dict[str, list[str]] = {}
    for name in names("e2e_passing.txt"):
        found.setdefault(
            SERIAL if f"[{SERIAL}]" in name else name[1:].partition("]")[0], []
        ).append(name)
    return {sig: found[sig] for sig in sorted(found, key=lambda sig: (sig == SERIAL, sig))}


SIGS = by_sig()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[dict[str, str]]]]:
    """The groups that were chosen, on one cluster, four at a time: they wait more than they work."""
    chosen = [sig for sig in SIGS if any(f"[{sig}]" in item.name for item in request.session.items)]
    folder = tmp_path_factory.mktemp("e2e")
    e2e.load_images(Cluster("e2e"))
    # Tests compare /etc/hosts in a pod with the node's.
    options = ("--no-stand-in", "--no-publish", "--allow-host-path", "/")
    with running("e2e", *options, example=False) as cluster:
        with e2e.tokens_as_before_1_24(cluster), ThreadPoolExecutor(4) as pool:
            started: dict[str, Future[dict[str, str]]] = {}
            for sig in chosen:
                others = list(started.values()) if sig == SERIAL else []
                started[sig] = pool.submit(work, cluster, sig, folder / sig, others)
            yield started


def work(
    cluster: Cluster, sig: str, folder: Path, others: Sequence[Future[dict[str, str]]]
) -> dict[str, str]:
    """Run one group, after others."""
    wait(others)
    return e2e.run(cluster, SIGS[sig], folder, HOUR)


@pytest.mark.parametrize("sig", SIGS)
def test_conformance(runs: dict[str, Future[dict[str, str]]], sig: str) -> None:
    """Each test that passed once passes still."""
    verdicts = runs[sig].result()
    failed = {name: verdicts.get(name, "not run") for name in SIGS[sig]}
    assert {name: it for name, it in failed.items() if it != "PASSED"} == {}


def test_the_lists_are_whole() -> None:
    """311 tests of 1.20 are tagged for conformance, each in one list."""
    every = [*names("e2e_passing.txt"), *names("e2e_left_out.txt")]
    assert len(every) == len(set(every)) == 311
