"""A node with two serving pods for each test."""

import contextlib
import functools
from collections.abc import Iterator

import pytest

from netpod.ip import Family
from netpod.linux import netns
from netpod.proxy.config import Mode, Variant
from tests.kernel.proxy import families, lab, pair


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


@pytest.fixture(params=list(Mode))
def mode(request: pytest.FixtureRequest) -> Mode:
    """Every proxy mode this kernel can do, one after the other."""
    return Mode(request.param)


WAYS: dict[str, dict[str, object]] = {
    "iptables-nft": {"mode": Mode.IPTABLES},
    "iptables-legacy": {"mode": Mode.IPTABLES, "iptables_variant": Variant.LEGACY},
    "nftables": {"mode": Mode.NFTABLES},
}


@pytest.fixture(params=WAYS)
def apply(node: str, request: pytest.FixtureRequest) -> lab.Apply:
    """Hand a model's rules to the node's kernel, in every mode and variant, one after the other."""
    return functools.partial(lab.apply, **WAYS[request.param])


@pytest.fixture(
    scope="module",
    params=[(way, family) for family in Family for way in WAYS],
    ids=lambda it: f"{it[0]}-{it[1]}",
)
def nodes(request: pytest.FixtureRequest) -> Iterator[pair.Pair]:
    """Two nodes with their proxies, which go on from test to test, in every mode and variant and both families."""
    way, family = request.param
    with families.speaking(family), pair.serving():
        made = pair.Pair(WAYS[way])
        made.start()
        yield made
    assert not netns.list_netns("npt-")
