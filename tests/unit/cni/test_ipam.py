"""Reservations of pod addresses on disk."""

import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpod.cni import ipam
from netpod.errors import Exhausted

CIDR = IPv4Network("10.244.1.0/24")
SMALL = IPv4Network("10.244.1.0/29")


def test_addresses_go_round_and_a_freed_one_comes_last(tmp_path: Path) -> None:
    """A peer that still remembers the old pod should not reach a new one: reuse is as late as possible."""
    given_out = [ipam.allocate(tmp_path, (SMALL,), f"pod{n}").pod_ips[0].ip for n in range(4)]
    assert given_out == [IPv4Address(f"10.244.1.{n}") for n in (2, 3, 4, 5)]
    ipam.release(tmp_path, "pod0")
    assert ipam.allocate(tmp_path, (SMALL,), "next").pod_ips[0].ip == IPv4Address("10.244.1.6")
    assert ipam.allocate(tmp_path, (SMALL,), "after").pod_ips[0].ip == IPv4Address("10.244.1.2")


def test_network_bridge_and_broadcast_are_never_given_and_the_end_is_an_error(
    tmp_path: Path,
) -> None:
    """A /24 has 253 pods: all but .0, .1 (cni0) and .255."""
    addresses = {ipam.allocate(tmp_path, (CIDR,), f"pod{n}").pod_ips[0].ip for n in range(253)}
    assert len(addresses) == 253
    assert min(addresses) == IPv4Address("10.244.1.2")
    assert max(addresses) == IPv4Address("10.244.1.254")
    with pytest.raises(Exhausted, match=r"no free address in 10\.244\.1\.0/24"):
        ipam.allocate(tmp_path, (CIDR,), "one-more")
    assert ipam.allocate(tmp_path, (CIDR,), "pod9").pod_ips[0] == IPv4Interface("10.244.1.11/24")


def test_the_same_owner_gets_the_same_address_and_release_is_idempotent(tmp_path: Path) -> None:
    """A repeated add must not move a running pod."""
    first = ipam.allocate(tmp_path, (CIDR,), "default/web/1")
    assert first.fresh
    again = ipam.allocate(tmp_path, (CIDR,), "default/web/1")
    assert (again.pod_ips, again.fresh) == (first.pod_ips, False)
    assert ipam.find(tmp_path, "default/web/1") == (first.pod_ips[0].ip,)
    ipam.release(tmp_path, "default/web/1")
    ipam.release(tmp_path, "default/web/1")
    assert ipam.observe(tmp_path) == {}
    ipam.release(tmp_path / "absent", "default/web/1")
    assert ipam.observe(tmp_path / "absent") == {}


def test_another_pod_cidr_gives_another_address(tmp_path: Path) -> None:
    """A node that joined again with another CIDR must not hand out addresses of the old one."""
    ipam.allocate(tmp_path, (CIDR,), "pod")
    moved = ipam.allocate(tmp_path, (IPv4Network("10.244.2.0/24"),), "pod")
    assert moved.pod_ips[0] == IPv4Interface("10.244.2.2/24")
    ipam.release(tmp_path, "pod")
    assert ipam.observe(tmp_path) == {}


def test_a_torn_last_reserved_file_only_loses_the_place(tmp_path: Path) -> None:
    """A crash may leave any file half-written."""
    ipam.allocate(tmp_path, (CIDR,), "pod")
    (tmp_path / f"{ipam.LAST}0").write_text("10.2")
    assert ipam.allocate(tmp_path, (CIDR,), "other").pod_ips[0].ip == IPv4Address("10.244.1.3")


def test_a_reservation_is_readable_by_a_human(tmp_path: Path) -> None:
    """`ls -l` shows which pod has which address."""
    ipam.allocate(tmp_path, (CIDR,), "default/web/uid")
    assert os.readlink(tmp_path / "10.244.1.2") == "default/web/uid"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=40))
def test_no_address_is_ever_held_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    """Whatever the order of allocations and releases, owner and address are one to one."""
    directory = tmp_path_factory.mktemp("ipam")
    held: dict[str, IPv4Address] = {}
    for allocates, number in steps:
        owner = f"pod{number}"
        if not allocates:
            ipam.release(directory, owner)
            held.pop(owner, None)
        elif owner in held or len(held) < 5:
            held[owner] = ipam.allocate(directory, (SMALL,), owner).pod_ips[0].ip
        else:
            with pytest.raises(Exhausted):
                ipam.allocate(directory, (SMALL,), owner)
        assert ipam.observe(directory) == {address: name for name, address in held.items()}


def test_a_pod_of_two_families_gets_both_addresses_or_none(tmp_path: Path) -> None:
    """One owner, one address of each CIDR; when one is full, nothing of the other is kept."""
    six = IPv6Network("fd00:10:244:1::/64")
    first = ipam.allocate(tmp_path, (CIDR, six), "pod")
    assert [str(it) for it in first.pod_ips] == ["10.244.1.2/24", "fd00:10:244:1::2/64"]
    assert ipam.allocate(tmp_path, (CIDR, six), "pod").pod_ips == first.pod_ips
    full = IPv6Network("fd00:10:244:2::/126")
    ipam.allocate(tmp_path, (full,), "last")
    with pytest.raises(Exhausted, match="no free address in fd00:10:244:2::/126"):
        ipam.allocate(tmp_path, (CIDR, full), "other")
    assert sorted(ipam.observe(tmp_path).values()) == ["last", "pod", "pod"]


def test_an_address_that_was_somebodys_is_his_again(tmp_path: Path) -> None:
    """Reserved before anything is given out, it is what `allocate` finds; what others have stays theirs."""
    assert ipam.reserve(tmp_path, "a", ["10.244.1.2"])
    assert not ipam.reserve(tmp_path, "b", ["10.244.1.2"])
    assert not ipam.reserve(tmp_path, "a", ["10.244.1.9"])
    assert sorted((str(k), v) for k, v in ipam.observe(tmp_path).items()) == [("10.244.1.2", "a")]
