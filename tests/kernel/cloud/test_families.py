"""The edge's table of IPv6: the kernel takes every form of a frontend."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from netpod.cloud import edge
from netpod.cloud.edge import EdgeModel, Frontend
from netpod.linux import netns, nft

HERE = "npt-edge6"
NODES = tuple(ip_address(f"fc00::{number}") for number in (2, 3))


@pytest.fixture
def empty() -> Iterator[str]:
    """A namespace without anything."""
    netns.create(HERE)
    try:
        yield HERE
    finally:
        netns.delete_netns(HERE)


def test_the_kernel_takes_the_table_of_ipv6(empty: str) -> None:
    """One node, several, none, source ranges; addresses of IPv4 are the other table's."""

    def frontend(number: int, **fields: object) -> Frontend:
        vip = ip_address(f"2001:db8::{number}")
        return Frontend(service="shop/web", vip=vip, port=80, node_port=30080, **fields)  # type: ignore[arg-type]

    four = Frontend(service="shop/web", vip=ip_address("198.51.100.1"), port=80, node_port=30080)
    frontends = (
        frontend(1, backends=NODES),
        frontend(2, backends=NODES[:1], source_ranges=(ip_network("2001:db8:9::/64"),)),
        frontend(3),
        four,
    )
    text = edge.compile(EdgeModel(vip_cidr=ip_network("2001:db8::/112"), frontends=frontends))
    assert "198.51.100.1" not in text
    nft.apply(empty, text)
    nft.apply(empty, text)
    listed = nft.list_text(empty, "table", "ip6", edge.TABLE)
    assert "dnat to [fc00::2]:30080" in listed
    assert "2001:db8::3 . tcp . 80 : goto refuse" in listed
