"""Parts of the pod network for nodes."""

from ipaddress import ip_network

import pytest

from netpod.controllers import nodeipam

POOL = ip_network("10.244.0.0/16")


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([], "10.244.0.0/24"),
        (["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24"),
        (["10.244.0.0/23"], "10.244.2.0/24"),
        (["10.244.0.128/25"], "10.244.1.0/24"),
        (["192.168.0.0/24"], "10.244.0.0/24"),
        (["10.0.0.0/8"], None),
        (["nonsense", "10.244.0.7/24"], "10.244.1.0/24"),
        ([f"10.244.{n}.0/24" for n in range(256)], None),
    ],
)
def test_lowest_free_part_is_next(used: list[str], expected: str | None) -> None:
    """Nothing is given twice, not even in part."""
    found = nodeipam.next_cidr(POOL, 24, used)
    assert (str(found) if found else None) == expected
