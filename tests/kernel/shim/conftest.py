"""A shim for every test; afterwards nothing of it may be left."""

import os
from collections.abc import Iterator

import pytest

from netpod.linux import netns
from netpod.paths import MARK
from tests.kernel.shim import lab as labs


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[labs.Lab]:
    """A shim that runs and is asked."""
    made = labs.Lab()
    yield made
    if made.pid == 0:
        made.start()
    made.finish()
    assert netns.list_netns(labs.PATHS.netns_prefix) == []
    assert MARK not in os.environ
