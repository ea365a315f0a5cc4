"""An edge with two nodes that answer on node port 31080, for each test."""

import contextlib
from collections.abc import Iterator

import pytest

from netpod.linux import netns
from tests.kernel.cloud import edge_lab
from tests.kernel.proxy import lab


@pytest.fixture
def edge_netns() -> Iterator[str]:
    """Name of the edge's namespace."""
    edge_lab.build()
    try:
        with contextlib.ExitStack() as servers:
            for node in (edge_lab.NODE3, edge_lab.NODE4):
                servers.enter_context(lab.tcp_server(node, 31080))
            yield edge_lab.EDGE
    finally:
        edge_lab.destroy()
    assert not netns.list_netns("npe-")
