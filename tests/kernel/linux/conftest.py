"""Network namespaces for one test, and the proof that it left none behind."""

import os
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from itertools import count
from pathlib import Path

import pytest

from netpod.linux import link, netns


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: no namespace, link or process more than before."""
    before = (netns.list_netns(), [it.name for it in link.observe_links("")], _children())
    yield
    after = (netns.list_netns(), [it.name for it in link.observe_links("")])
    assert after == before[:2]
    assert _children() <= before[2]


def _children() -> set[int]:
    """Pids of our children; pytest adopts orphans of other tests, which are none of ours to judge."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found


@pytest.fixture
def make_netns(nothing_left: None) -> Iterator[Callable[[], str]]:
    """Make namespaces that go with the test."""
    made: list[str] = []
    numbers = count(1)

    def make() -> str:
        name = f"netpod-test-{next(numbers)}"
        netns.create(name)
        made.append(name)
        return name

    yield make
    for name in made:
        netns.delete_netns(name)


@pytest.fixture
def pair(make_netns: Callable[[], str]) -> tuple[str, str]:
    """Two namespaces joined by a wire: `left` 10.0.0.1 and `right` 10.0.0.2, both /24 on eth0."""
    left, right = make_netns(), make_netns()
    link.create_veth(left, link.End(name="eth0"), right, link.End(name="eth0"))
    for name, address in ((left, "10.0.0.1/24"), (right, "10.0.0.2/24")):
        link.set_link(name, "lo", up=True)
        link.ensure_address(name, "eth0", IPv4Interface(address))
    return left, right
