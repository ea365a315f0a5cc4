"""Addresses belong to one Service at a time."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpod.api.meta import Key
from netpod.cloud.pool import VipPool
from netpod.errors import Exhausted

A, B = Key("default", "a"), Key("default", "b")
NETWORK = IPv4Network("198.51.100.0/29")


def ip(last: int) -> IPv4Address:
    """Address of the pool by its last byte."""
    return IPv4Address(f"198.51.100.{last}")


def test_lowest_free_address_is_given_and_kept() -> None:
    """Never the network's own address; a second call changes nothing."""
    pool = VipPool(NETWORK)
    assert pool.allocate(A) == pool.allocate(A) == ip(1)
    assert pool.allocate(B) == ip(2)


def test_wanted_address_is_honoured() -> None:
    """Also by a Service that has another one already, which becomes free."""
    pool = VipPool(NETWORK)
    pool.allocate(A)
    assert pool.allocate(A, ip(5)) == ip(5)
    assert pool.allocate(B) == ip(1)


@pytest.mark.parametrize("wanted", [ip(1), ip(0), ip(7), IPv4Address("192.0.2.1")])
def test_impossible_address_is_refused(wanted: IPv4Address) -> None:
    """Taken, the network's first or last, or not in the pool; what B had it keeps."""
    pool = VipPool(NETWORK)
    pool.allocate(A)
    pool.allocate(B, ip(3))
    with pytest.raises(Exhausted, match=str(wanted)):
        pool.allocate(B, wanted)
    assert pool.get(B) == ip(3)


def test_used_up() -> None:
    """Six addresses of a /29 serve six Services; a released one serves the next."""
    pool = VipPool(NETWORK)
    keys = [Key("default", str(number)) for number in range(7)]
    for key in keys[:6]:
        pool.allocate(key)
    with pytest.raises(Exhausted, match="used up"):
        pool.allocate(keys[6])
    pool.release(keys[2])
    assert pool.allocate(keys[6]) == ip(3)


steps = st.tuples(
    st.sampled_from(["adopt", "allocate", "want", "release"]),
    st.integers(0, 4),
    st.integers(0, 7),
)


@given(st.lists(steps, max_size=40))
def test_no_address_is_used_twice(walk: list[tuple[str, int, int]]) -> None:
    """Whatever happens, owners and addresses are one to one and inside the pool."""
    pool = VipPool(NETWORK)
    for what, service, last in walk:
        key = Key("default", str(service))
        try:
            if what == "adopt":
                pool.adopt(key, ip(last))
            elif what == "release":
                pool.release(key)
            else:
                pool.allocate(key, ip(last) if what == "want" else None)
        except Exhausted:
            pass
        held = [address for _, address in pool]
        assert len(held) == len(set(held))
        assert all(pool.holds(address) for address in held)
