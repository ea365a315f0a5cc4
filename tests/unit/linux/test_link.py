"""Names and MAC addresses that are computed."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpod.errors import KernelError
from netpod.linux import link


@given(st.text(), st.sampled_from(["veth", "v", "netpod-"]))
def test_short_name_fits_a_link(seed: str, prefix: str) -> None:
    """The kernel keeps 15 characters of a link's name; a longer name is refused, a cut one could collide."""
    name = link.short_name(prefix, seed)
    assert len(name) == 15
    assert name.startswith(prefix)
    assert name == link.short_name(prefix, seed)


def test_names_that_differ_late_stay_different() -> None:
    """Names are hashed, never cut."""
    long = "a" * 60
    assert link.short_name("veth", long + "1") != link.short_name("veth", long + "2")


def test_a_name_longer_than_15_characters_is_refused_before_the_kernel_sees_it() -> None:
    """The message names the link."""
    with pytest.raises(KernelError, match="cannot use link sixteen-letters-: more than 15"):
        link.bridge_message("sixteen-letters-")


def test_mac_follows_from_the_address() -> None:
    """CNI's 0a:58 prefix and the address's four bytes: locally administered, unicast."""
    assert link.mac_of(IPv4Address("10.244.1.7")) == "0a:58:0a:f4:01:07"
