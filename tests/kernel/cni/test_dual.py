"""Pods with an address of each family, and with an IPv6 address alone."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netpod.api.meta import Key
from netpod.cni import hostgw, masquerade, network, portmap
from netpod.ip import Address, Family, Network, interface_of
from netpod.linux import link, process, sysctl

PODS = {Family.IPV4: "10.244.{}.0/24", Family.IPV6: "fd00:10:244:{}::/64"}
CLUSTER = {Family.IPV4: "10.244.0.0/16", Family.IPV6: "fd00:10:244::/56"}
NODES = {Family.IPV4: "172.18.0.{}", Family.IPV6: "fc00:f853:ccd:e793::{}"}
LENGTH = {Family.IPV4: 16, Family.IPV6: 64}
BOTH = (Family.IPV4, Family.IPV6)

Seen = Callable[[str, str, str, int, int], str]


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node: its namespace, its addresses, its pod network."""

    netns: str
    node_ips: tuple[Address, ...]
    config: network.NetworkConfig


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two nodes and the world on one wire."""

    families: tuple[Family, ...]
    world: str
    nodes: tuple[Node, Node]


@pytest.fixture(params=[BOTH, (Family.IPV6,)], ids=["dual", "ipv6"])
def site(request: pytest.FixtureRequest, make_netns: Callable[[], str], tmp_path: Path) -> Site:
    """The world is .1, nodes are .2 and .3; the nodes know the way to each other's pods."""
    families: tuple[Family, ...] = request.param
    wire = make_netns()
    link.ensure_bridge(wire, "wire")

    def join(number: int) -> str:
        name = make_netns()
        sysctl.write_all(name, sysctl.IPV6)
        link.create_veth(
            wire, link.End(name=f"port{number}"), name, link.End(name="eth0"), master="wire"
        )
        link.set_link(name, "lo", up=True)
        for family in families:
            address = ipaddress.ip_address(NODES[family].format(number))
            link.ensure_address(name, "eth0", interface_of(address, LENGTH[family]))
        return name

    def node(number: int) -> Node:
        name = join(number)
        cidrs = tuple(ipaddress.ip_network(PODS[it].format(number)) for it in families)
        config = network.NetworkConfig(pod_cidrs=cidrs, state=tmp_path / name, netns=name)
        network.prepare(config)
        for cidr, family in zip(cidrs, families, strict=True):
            masquerade.apply(name, cidr, ipaddress.ip_network(CLUSTER[family]))
        ips = tuple(ipaddress.ip_address(NODES[it].format(number)) for it in families)
        return Node(netns=name, node_ips=ips, config=config)

    world, one, two = join(1), node(2), node(3)
    for mine, other in ((one, two), (two, one)):
        routes: dict[Network, Address] = dict(
            zip(other.config.pod_cidrs, other.node_ips, strict=True)
        )
        hostgw.sync(mine.netns, routes, families=families)
    return Site(families=families, world=world, nodes=(one, two))


@pytest.fixture
def add(make_netns: Callable[[], str]) -> Callable[[Node, str], tuple[str, tuple[str, ...]]]:
    """Add a pod to a node: its namespace and its addresses."""

    def make(node: Node, name: str) -> tuple[str, tuple[str, ...]]:
        pod = network.PodNetwork(key=Key("default", name), uid="1", netns=make_netns())
        result = network.add(node.config, pod)
        assert network.check(node.config, pod) == []
        return pod.netns, tuple(str(it.ip) for it in result.pod_ips)

    return make


Add = Callable[[Node, str], tuple[str, tuple[str, ...]]]


def test_a_pods_addresses_are_of_use_at_once_and_its_link_is_silent(site: Site, add: Add) -> None:
    """No tentative address, nothing that a router would advertise, no address on bridge ports."""
    pod, addresses = add(site.nodes[0], "web")
    assert len(addresses) == len(site.families)
    shown = process.run(["ip", "-6", "addr", "show", "dev", "eth0"], netns=pod).stdout.decode()
    assert addresses[-1] in shown
    assert "tentative" not in shown
    ports = process.run(["ip", "-6", "addr"], netns=site.nodes[0].netns).stdout.decode()
    assert ports.count("fe80:") == 2, "eth0 and cni0 alone: a bridge's port has none to announce"
    assert sysctl.read(pod, "net.ipv6.conf.eth0.accept_ra") == "0"


def test_pods_of_two_nodes_see_each_others_addresses(site: Site, add: Add, seen_by: Seen) -> None:
    """Over the underlay by route, without NAT, in every family."""
    here, mine = add(site.nodes[0], "here")
    there, theirs = add(site.nodes[1], "there")
    for own, other in zip(mine, theirs, strict=True):
        assert seen_by(here, there, other, 8080, 8080) == own


def test_the_world_sees_the_node_and_pods_see_the_world(
    site: Site, add: Add, seen_by: Seen
) -> None:
    """What leaves the cluster's pod addresses takes the node's address of that family."""
    pod, _ = add(site.nodes[0], "here")
    for family, node_ip in zip(site.families, site.nodes[0].node_ips, strict=True):
        world = NODES[family].format(1)
        assert seen_by(pod, site.world, world, 8080, 8080) == str(node_ip)


def test_a_host_port_leads_to_the_pod_in_every_family(site: Site, add: Add, seen_by: Seen) -> None:
    """The node's port of each family leads to the pod's address of that family."""
    node = site.nodes[0]
    pod, addresses = add(node, "web")
    lengths = [it.prefixlen for it in node.config.pod_cidrs]
    mappings = [
        portmap.PortMapping(
            owner="default/web/1",
            pod_ip=interface_of(ipaddress.ip_address(address), length),
            host_port=8000,
            container_port=8080,
        )
        for address, length in zip(addresses, lengths, strict=True)
    ]
    portmap.apply(node.netns, mappings, families=site.families)
    for family, node_ip in zip(site.families, node.node_ips, strict=True):
        assert seen_by(site.world, pod, str(node_ip), 8000, 8080) == NODES[family].format(1)
