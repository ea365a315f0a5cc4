"""The CNI verbs: what a pod gets, and what happens when they are repeated, interrupted or refused."""

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netpod.api.meta import Key
from netpod.cni import ipam, network, veth
from netpod.errors import Exhausted, KernelError
from netpod.linux import link, netlink, netns, process, route, sysctl

from .conftest import Node, Site

MakeNetns = Callable[[], str]


def _pod(make_netns: MakeNetns, name: str = "web", uid: str = "1") -> network.PodNetwork:
    return network.PodNetwork(key=Key("default", name), uid=uid, netns=make_netns())


def test_a_pod_gets_address_route_and_a_port_of_the_bridge(
    node: Node, make_netns: MakeNetns
) -> None:
    """eth0 with the pod's address, a default route to cni0, no IPv6, hairpin on the node's end."""
    pod = _pod(make_netns)
    result = network.add(node.config, pod)
    assert result == network.Result(
        pod_ips=(IPv4Interface("10.244.1.2/24"),),
        gateways=(IPv4Address("10.244.1.1"),),
        mac="0a:58:0a:f4:01:02",
        link=pod.link,
    )
    assert link.observe_addresses(pod.netns) == [
        IPv4Interface("127.0.0.1/8"),
        IPv4Interface("10.244.1.2/24"),
    ]
    assert route.observe(pod.netns)[0].gateway == result.gateways[0]
    port = link.observe_link(node.netns, result.link)
    assert port is not None
    assert port.hairpin
    assert process.run(["ip", "-6", "addr"], netns=pod.netns).stdout == b""
    assert network.check(node.config, pod) == []
    network.delete(node.config, pod)
    assert link.observe_link(pod.netns, "eth0") is None


def test_the_node_forwards_and_bridged_packets_pass_iptables(node: Node) -> None:
    """Without either, Services do not work however right the rules are."""
    assert sysctl.read(node.netns, "net.ipv4.ip_forward") == "1"
    assert sysctl.read(node.netns, "net.bridge.bridge-nf-call-iptables") == "1"
    assert link.observe_addresses(node.netns, "cni0") == [IPv4Interface("10.244.1.1/24")]


def test_adding_again_keeps_address_and_wire(node: Node, make_netns: MakeNetns) -> None:
    """A restarted agent adds its pods again; their connections must not notice."""
    pod = _pod(make_netns)
    first = network.add(node.config, pod)
    before = link.observe_link(node.netns, pod.link)
    assert network.add(node.config, pod) == first
    assert link.observe_link(node.netns, pod.link) == before


@pytest.mark.parametrize("killed_after", ["reserved", "veth made", "moved to another netns"])
def test_adding_after_a_kill_mends_what_was_half_made(
    node: Node, make_netns: MakeNetns, killed_after: str
) -> None:
    """The verb looks at what is there, not at what it remembers."""
    pod = _pod(make_netns)
    reserved = ipam.allocate(node.config.reservations, node.config.pod_cidrs, pod.owner)
    if killed_after == "veth made":
        link.create_veth(
            node.netns, link.End(name=pod.link), pod.netns, link.End(name=veth.POD_LINK)
        )
    elif killed_after == "moved to another netns":
        other = make_netns()
        link.create_veth(node.netns, link.End(name=pod.link), other, link.End(name="eth0"))
    assert network.check(node.config, pod) != []
    assert network.add(node.config, pod).pod_ips == reserved.pod_ips
    assert network.check(node.config, pod) == []


def test_check_says_what_is_wrong(node: Node, make_netns: MakeNetns) -> None:
    """Each fault in one sentence."""
    pod = _pod(make_netns)
    assert network.check(node.config, pod) == ["no address is reserved"]
    network.add(node.config, pod)
    link.set_hairpin(node.netns, pod.link, on=False)
    route.delete(pod.netns, route.DEFAULT)
    assert network.check(node.config, pod) == [
        f"link {pod.link} has no hairpin mode",
        "the pod has no default route via 10.244.1.1",
    ]
    link.delete_link(node.netns, pod.link)
    assert network.check(node.config, pod) == [
        f"link {pod.link} is missing on the node",
        "link eth0 is missing in the pod",
    ]


def test_a_failed_add_gives_its_address_back(node: Node) -> None:
    """A pod that never came to be must not use up the pod CIDR."""
    pod = network.PodNetwork(key=Key("default", "lost"), uid="1", netns="netpod-cni-absent")
    with pytest.raises(KernelError, match="cannot open netns netpod-cni-absent") as caught:
        network.add(node.config, pod)
    assert caught.value.errno == errno.ENOENT
    assert ipam.observe(node.config.reservations) == {}
    assert [it.name for it in link.observe_links(node.netns) if it.kind == "veth"] == ["eth0"]


def test_deleting_is_idempotent_even_after_the_namespaces(
    node: Node, make_netns: MakeNetns
) -> None:
    """DEL of what is absent succeeds, always."""
    pod = _pod(make_netns)
    network.delete(node.config, pod)
    network.add(node.config, pod)
    netns.delete_netns(pod.netns)
    network.delete(node.config, pod)
    network.delete(node.config, pod)
    assert ipam.observe(node.config.reservations) == {}
    netns.delete_netns(node.netns)
    network.delete(node.config, pod)


def test_a_bridge_that_somebody_deleted_is_made_again(node: Node, make_netns: MakeNetns) -> None:
    """The next add finds no cni0 and prepares the node anew."""
    netlink.send(node.netns, [link.delete_message("cni0")])
    pod = _pod(make_netns)
    network.add(node.config, pod)
    assert network.check(node.config, pod) == []


def test_a_new_pod_of_the_same_name_is_another_pod(node: Node, make_netns: MakeNetns) -> None:
    """The uid tells them apart, while the old one is still going away."""
    old, new = _pod(make_netns, uid="1"), _pod(make_netns, uid="2")
    assert network.add(node.config, old).pod_ip != network.add(node.config, new).pod_ip
    network.delete(node.config, old)
    assert network.check(node.config, new) == []


def test_garbage_is_what_no_pod_has(node: Node, make_netns: MakeNetns) -> None:
    """A pod that went while the agent was down leaves a wire and an address to whoever starts next."""
    kept, gone = _pod(make_netns, "kept"), _pod(make_netns, "gone")
    network.add(node.config, kept)
    network.add(node.config, gone)
    assert network.collect_garbage(node.config, [kept]) == ["default/gone/1"]
    assert link.observe_link(gone.netns, "eth0") is None
    assert network.check(node.config, kept) == []
    assert network.collect_garbage(node.config, [kept]) == []


def test_pods_added_at_once_are_all_right(node: Node, make_netns: MakeNetns) -> None:
    """The agent adds from several worker threads; no two pods get one address."""
    pods = [_pod(make_netns, f"web{n}") for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda pod: network.add(node.config, pod), pods))
        assert len({it.pod_ip for it in results}) == 12
        assert [pod for pod in pods if network.check(node.config, pod)] == []
        list(pool.map(lambda pod: network.delete(node.config, pod), pods))
    assert ipam.observe(node.config.reservations) == {}


def test_a_full_pod_cidr_is_an_error_that_says_so(site: Site, make_netns: MakeNetns) -> None:
    """A /30 has room for the bridge and one pod."""
    config = network.NetworkConfig(
        pod_cidrs=(IPv4Network("10.244.9.0/30"),),
        state=site.one.config.state / "small",
        netns=site.one.netns,
        bridge="cni1",
    )
    network.add(config, _pod(make_netns, "first"))
    with pytest.raises(Exhausted, match=r"no free address in 10\.244\.9\.0/30"):
        network.add(config, _pod(make_netns, "second"))
