"""A node with two serving pods for each test."""

import contextlib
from collections.abc import Iterator

import pytest

from netpod.linux import netns
from tests.kernel.proxy import lab


@pytest.fixture
def node() -> Iterator[str]:
    """Name of the node's namespace; pods answer on TCP 8080."""
    lab.build()
    try:
        with contextlib.ExitStack() as servers:
            for pod in lab.PODS:
                servers.enter_context(lab.tcp_server(pod))
            yield lab.NODE
    finally:
        lab.destroy()
    assert not netns.list_netns("npt-")


@pytest.fixture
def empty_node() -> Iterator[str]:
    """Name of a namespace without links, for rules alone."""
    netns.create(lab.NODE)
    try:
        yield lab.NODE
    finally:
        netns.delete_netns(lab.NODE)
