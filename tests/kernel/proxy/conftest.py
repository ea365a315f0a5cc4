"""A node with two serving pods for each test."""

import contextlib
import functools
from collections.abc import Iterator

import pytest

from netpod.ip import Family
from netpod.linux import netns
from netpod.proxy.config import Mode, Variant
from tests.kernel.proxy import lab, pair
from tests.support.guest import needs
from tests.unit.proxy import families


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


WAYS: dict[str, dict[str, object]] = {
    "iptables-nft": {"mode": Mode.IPTABLES},
    "iptables-legacy": {"mode": Mode.IPTABLES, "iptables_variant": Variant.LEGACY},
    "nftables": {"mode": Mode.NFTABLES},
    "ipvs": {"mode": Mode.IPVS, "iptables_variant": lab.RULES},
}


def _marked(value: object, mode: object) -> object:
    """A parameter, with what the kernel must have for it."""
    ipvs = (mode["mode"] if isinstance(mode, dict) else mode) is Mode.IPVS
    return pytest.param(value, marks=[needs("ip_vs")] if ipvs else [])


@pytest.fixture(params=[_marked(mode, mode) for mode in Mode])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Every proxy mode this kernel can do, one after the other."""
    return Mode(request.param)


@pytest.fixture(params=[_marked(name, way) for name, way in WAYS.items()])
def apply(node: str, request: pytest.FixtureRequest) -> lab.Apply:
    """Hand a model's rules to the node's kernel, in every mode and variant, one after the other."""
    return functools.partial(lab.apply, **WAYS[request.param])


@pytest.fixture(
    scope="module",
    params=[_marked((way, family), WAYS[way]) for family in Family for way in WAYS],
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
