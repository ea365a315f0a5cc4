"""Fixtures of the trace's kernel tests: one lab for all of them, nothing left armed after each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.trace.sources import nftrace
from tests.kernel.trace.lab import Lab


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, built once: it takes most of a second."""
    lab = Lab(Path(tmp_path_factory.mktemp("lab")))
    yield lab
    lab.close()
    assert lab.namespaces() == []


@pytest.fixture
def lab(built: Lab) -> Iterator[Lab]:
    """The lab, with all endpoints; afterwards no namespace may be armed."""
    yield built
    built.program(built.objects)
    assert [name for name in built.namespaces() if nftrace.armed(name)] == []
