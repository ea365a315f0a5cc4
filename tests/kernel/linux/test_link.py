"""Links, addresses, routes and neighbours, read back from the kernel."""

import errno
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netpod.errors import KernelError
from netpod.linux import link, linkgroup, netlink, process, route

MakeNetns = Callable[[], str]
Pair = tuple[str, str]


def test_a_wire_between_namespaces_carries_packets(pair: Pair) -> None:
    """Both ends are up as soon as `create_veth` returns."""
    left, _ = pair
    process.run(["ping", "-c", "1", "-W", "2", "10.0.0.2"], netns=left)


def test_a_bridge_is_corrected_not_replaced(make_netns: MakeNetns) -> None:
    """Its ports stay attached."""
    name = make_netns()
    made = link.ensure_bridge(name, "cni0", mac="0a:58:0a:f4:01:01", mtu=1450)
    assert (made.kind, made.up, made.mtu, made.mac) == ("bridge", True, 1450, "0a:58:0a:f4:01:01")
    link.set_link(name, "cni0", up=False)
    again = link.ensure_bridge(name, "cni0", mac="0a:58:0a:f4:01:01", mtu=1450)
    assert again == made
    link.create_veth(name, link.End(name="a"), name, link.End(name="b"), master="cni0")
    port = link.observe_link(name, "a")
    assert port is not None
    assert (port.master, port.hairpin) == (made.index, False)
    link.set_hairpin(name, "a")
    hairpin = link.observe_link(name, "a")
    assert hairpin is not None
    assert hairpin.hairpin
    link.set_link(name, "a", master="")
    with pytest.raises(KernelError, match="cannot create link a: it exists and is no bridge"):
        link.ensure_bridge(name, "a")


def test_names_in_use_and_names_absent_are_told_apart(pair: Pair) -> None:
    """errno decides, and the message names link and namespace."""
    left, right = pair
    with pytest.raises(KernelError, match=f"cannot create link eth0 in {left}") as caught:
        link.create_veth(left, link.End(name="eth0"), right, link.End(name="eth1"))
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(KernelError) as caught:
        link.create_veth(left, link.End(name="eth1"), right, link.End(name="eth0"))
    assert caught.value.errno == errno.EEXIST
    assert link.observe_link(left, "eth1") is None, "nothing half-made"
    with pytest.raises(KernelError, match="cannot find link none") as caught:
        link.index(left, "none")
    assert caught.value.errno == errno.ENODEV


def test_deleting_one_end_takes_the_other_and_twice_is_well(pair: Pair) -> None:
    """A veth pair is one thing with two ends."""
    left, right = pair
    link.delete_link(left, "eth0")
    link.delete_link(left, "eth0")
    assert link.observe_link(right, "eth0") is None


def test_addresses_are_idempotent(pair: Pair) -> None:
    """Adding what is there and deleting what is absent succeed."""
    left, _ = pair
    extra = IPv4Interface("10.0.0.9/24")
    for _ in range(2):
        link.ensure_address(left, "eth0", extra)
    assert link.observe_addresses(left, "eth0") == [IPv4Interface("10.0.0.1/24"), extra]
    for _ in range(2):
        link.delete_address(left, "eth0", extra)
    assert link.observe_addresses(left, "lo")[:1] + link.observe_addresses(left, "eth0") == [
        IPv4Interface("127.0.0.1/8"),
        IPv4Interface("10.0.0.1/24"),
    ]
    link.delete_address(left, "absent", extra)


def test_every_message_of_a_batch_is_tried_and_the_first_failure_told(pair: Pair) -> None:
    """Netlink goes on after an error; the error names the message it belongs to."""
    left, _ = pair
    index = link.index(left, "eth0")
    batch = [link.address_message(index, IPv4Interface(f"10.0.0.{n}/24")) for n in range(10, 110)]
    batch.insert(3, link.set_message("absent", up=True))
    with pytest.raises(KernelError, match="cannot change link absent"):
        netlink.send(left, batch)
    assert len(link.observe_addresses(left, "eth0")) == 101


def test_routes_of_one_protocol_are_found_again(pair: Pair) -> None:
    """Whoever makes routes marks them and never touches another's."""
    left, right = pair
    gateway, own = IPv4Address("10.0.0.2"), IPv4Network("10.9.0.0/24")
    for _ in range(2):
        route.replace(left, own, via=gateway, protocol=78)
        route.replace(left, route.DEFAULT, via=gateway)
    assert route.observe(left, protocol=78) == [
        route.Route(destination=own, gateway=gateway, index=link.index(left, "eth0"), protocol=78)
    ]
    route.replace(left, own, via=IPv4Address("10.0.0.7"), protocol=78)
    assert [it.gateway for it in route.observe(left, protocol=78)] == [IPv4Address("10.0.0.7")]
    for _ in range(2):
        route.delete(left, own, protocol=78)
    assert [it.destination for it in route.observe(left)] == [
        route.DEFAULT,
        IPv4Network("10.0.0.0/24"),
    ]
    with pytest.raises(KernelError) as caught:
        route.replace(right, own, via=IPv4Address("172.18.0.1"))
    assert caught.value.errno == errno.ENETUNREACH


def test_a_permanent_neighbour_is_kept(pair: Pair) -> None:
    """It needs no ARP; deleting it twice is well."""
    left, _ = pair
    address = IPv4Address("10.0.0.77")
    route.replace_neighbour(left, "eth0", address, "02:00:00:00:00:77")
    (found,) = route.observe_neighbours(left)
    assert (found.address, found.mac, found.permanent) == (address, "02:00:00:00:00:77", True)
    for _ in range(2):
        route.delete_neighbour(left, "eth0", address)
    assert route.observe_neighbours(left) == []


def test_links_are_deleted_together(make_netns: MakeNetns) -> None:
    """Those named and no others; absent ones are fine."""
    name = make_netns()
    for number in range(3):
        ends = link.End(name=f"a{number}"), link.End(name=f"b{number}")
        link.create_veth(name, ends[0], name, ends[1])
    linkgroup.delete(name, ["a0", "absent", "a2"])
    assert {it.name for it in link.observe_links(name)} == {"lo", "a1", "b1"}
    linkgroup.delete(name, ["absent", "gone"])
    linkgroup.delete(name, ["a1"])
    assert {it.name for it in link.observe_links(name)} == {"lo"}
