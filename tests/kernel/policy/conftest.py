"""Two nodes with nine pods, made once: policies come and go between the tests."""

from collections.abc import Iterator

import pytest

from netpod.linux import netns
from netpod.policy import sync
from tests.kernel.policy import lab
from tests.unit.policy import builders


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The nine pods, serving."""
    try:
        lab.build(tmp_path_factory.mktemp("state"))
        with lab.servers():
            yield
    finally:
        lab.destroy()
    assert not netns.list_netns(lab.PREFIX)


@pytest.fixture
def nodes(pods: None) -> Iterator[dict[str, str]]:
    """Network namespace by node; no policies before and after."""
    names = {node: lab.node_netns(node) for node in builders.NODES}
    yield names
    for name in names.values():
        sync.remove(name)
