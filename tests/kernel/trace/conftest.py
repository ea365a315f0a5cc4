"""Fixtures of the trace's kernel tests: one lab for all of them, nothing left armed after each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.trace.sources import nftrace
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab
from tests.kernel.trace.plan import FOUR


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, built once: it takes most of a second."""
    lab = Lab(Path(tmp_path_factory.mktemp("lab")))
    yield lab
    lab.close()
    assert lab.namespaces() == []


@pytest.fixture(scope="module", params=modes.ONCE)
def mode(built: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """The lab's nodes under each proxy mode, and back again; `lab.plan` says the family."""
    name, plan = request.param
    built.use(name, plan)
    yield name
    built.use("iptables")


@pytest.fixture
def lab(built: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab, with all endpoints; afterwards no namespace may be armed."""
    before = built.mode, built.plan
    if "mode" not in request.fixturenames and built.plan is not FOUR:
        # The mode of the test before still stands.
        built.use("iptables")
    yield built
    if (built.mode, built.plan) != before:
        built.use(*before)
    built.program(built.objects)
    assert [name for name in built.namespaces() if nftrace.armed(name)] == []
