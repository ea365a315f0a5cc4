"""Packets between pods, nodes and the world."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface

import pytest

from netpod.cni import hostgw, masquerade, portmap
from netpod.errors import KernelError
from netpod.linux import iptables, route

from .conftest import CLUSTER_CIDR, WORLD, Node, Site

MakePod = Callable[[Node], tuple[str, str]]
SeenBy = Callable[[str, str, str, int, int], str]


def test_pods_of_one_node_see_each_others_addresses(
    node: Node, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """Across the bridge, without NAT; and so does the node, by its bridge's address."""
    (one, one_ip), (two, two_ip) = make_pod(node), make_pod(node)
    assert seen_by(one, two, two_ip, 80, 80) == one_ip
    assert seen_by(node.netns, two, two_ip, 80, 80) == "10.244.1.1"


def test_a_pod_reaches_itself_through_the_node(
    node: Node, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """Hairpin: DNAT sends the packet back out of the port it came in by; masqueraded, the pod sees cni0."""
    pod, pod_ip = make_pod(node)
    rules = (
        f"*nat\n-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to {pod_ip}:8080\n"
        f"-A POSTROUTING -s {pod_ip}/32 -d {pod_ip}/32 -j MASQUERADE\nCOMMIT\n"
    )
    iptables.restore(node.netns, rules)
    assert seen_by(pod, pod, "10.96.0.10", 80, 8080) == "10.244.1.1"


def test_a_pod_reaches_its_neighbour_by_a_service_address(
    node: Node, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """bridge-nf-call-iptables: the answer is un-DNATed though both pods hang on one bridge."""
    (one, one_ip), (two, two_ip) = make_pod(node), make_pod(node)
    rule = f"-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to {two_ip}:8080"
    iptables.restore(node.netns, f"*nat\n{rule}\nCOMMIT\n")
    assert seen_by(one, two, "10.96.0.10", 80, 8080) == one_ip


def test_pods_of_two_nodes_see_each_others_addresses(
    site: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """host-gw routes, and flannel's rules leave traffic between pods alone."""
    (one, one_ip), (two, two_ip) = make_pod(site.one), make_pod(site.two)
    for node, other in ((site.one, site.two), (site.two, site.one)):
        hostgw.sync(node.netns, {other.config.pod_cidrs[0]: other.node_ip})
        masquerade.apply(node.netns, node.config.pod_cidrs[0], CLUSTER_CIDR)
    assert seen_by(one, two, two_ip, 80, 80) == one_ip
    assert seen_by(two, one, one_ip, 80, 80) == two_ip
    assert seen_by(site.one.netns, two, two_ip, 80, 80) == "172.18.0.2"


def test_routes_follow_the_nodes_and_foreign_ones_stay(site: Site) -> None:
    """A node that left or moved is corrected; a route somebody else made is not ours to judge."""
    route.replace(site.one.netns, CLUSTER_CIDR, via=WORLD)
    third = {site.two.config.pod_cidrs[0]: IPv4Address("172.18.0.9")}
    hostgw.sync(site.one.netns, third)
    hostgw.sync(site.one.netns, {site.two.config.pod_cidrs[0]: site.two.node_ip})
    (made,) = route.observe(site.one.netns, protocol=hostgw.PROTOCOL)
    assert (made.destination, made.gateway) == (site.two.config.pod_cidrs[0], site.two.node_ip)
    hostgw.sync(site.one.netns, {})
    assert route.observe(site.one.netns, protocol=hostgw.PROTOCOL) == []
    assert CLUSTER_CIDR in [it.destination for it in route.observe(site.one.netns)]


def test_a_node_off_the_wire_is_an_error_and_the_others_are_routed(site: Site) -> None:
    """One bad address must not cut off the good ones."""
    bad = {CLUSTER_CIDR: IPv4Address("192.0.2.1"), site.two.config.pod_cidrs[0]: site.two.node_ip}
    with pytest.raises(
        KernelError, match=r"cannot replace route 10\.244\.0\.0/16 via 192\.0\.2\.1"
    ):
        hostgw.sync(site.one.netns, bad)
    (made,) = route.observe(site.one.netns, protocol=hostgw.PROTOCOL)
    assert made.destination == site.two.config.pod_cidrs[0]


def test_the_world_sees_a_pod_as_its_node(site: Site, make_pod: MakePod, seen_by: SeenBy) -> None:
    """The world has no route to pods: without masquerade no answer would come back."""
    pod, _ = make_pod(site.one)
    for _ in range(2):
        masquerade.apply(site.one.netns, site.one.config.pod_cidrs[0], CLUSTER_CIDR)
    assert seen_by(pod, site.world, str(WORLD), 80, 80) == "172.18.0.2"
    rules = iptables.parse_save(iptables.save(site.one.netns, "nat"))["nat"]
    assert rules["POSTROUTING"] == list(masquerade.JUMPS.values()), "applied twice, there once"
    assert len(rules[masquerade.CHAIN]) == 6


def test_a_host_port_leads_to_its_pod_and_goes_with_it(
    site: Site, make_pod: MakePod, seen_by: SeenBy
) -> None:
    """The client's address stays; a pod of the node comes back through the node."""
    (pod, pod_ip), (other, _) = make_pod(site.one), make_pod(site.one)
    mapping = portmap.PortMapping(
        owner="default/pod1/1",
        pod_ip=IPv4Interface(f"{pod_ip}/24"),
        host_port=8080,
        container_port=80,
    )
    for _ in range(2):
        portmap.apply(site.one.netns, [mapping])
    assert seen_by(site.world, pod, "172.18.0.2", 8080, 80) == str(WORLD)
    assert seen_by(other, pod, "172.18.0.2", 8080, 80) == "10.244.1.1"
    assert seen_by(pod, pod, "172.18.0.2", 8080, 80) == "10.244.1.1"
    rules = iptables.parse_save(iptables.save(site.one.netns, "nat"))["nat"]
    assert len(rules["PREROUTING"]) == 1
    portmap.apply(site.one.netns, [])
    rules = iptables.parse_save(iptables.save(site.one.netns, "nat"))["nat"]
    assert portmap.chain_of("default/pod1/1") not in rules
    with pytest.raises(ConnectionRefusedError):
        seen_by(site.world, pod, "172.18.0.2", 8080, 80)
