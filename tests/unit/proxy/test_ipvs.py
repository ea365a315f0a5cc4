"""IPVS mode: what is compiled for it; packets are for machines whose kernel has ip_vs."""

import dataclasses
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netpod.errors import UsageError
from netpod.proxy import ipvs, ipvs_compiled, ipvs_config
from netpod.proxy.ipvs_config import IpvsConfig, Scheduler
from netpod.proxy.ipvs_port import RealServer, VirtualServer
from netpod.proxy.ipvs_rules import Set
from tests.unit.proxy import builders

CASES = builders.cases()
VIP = IPv4Address("10.96.45.12")
FIVE = RealServer(address=IPv4Address("10.244.1.5"), port=8080)
SIX = RealServer(address=IPv4Address("10.244.1.6"), port=8080)
SEVEN = RealServer(address=IPv4Address("10.244.2.7"), port=8080)


@pytest.mark.parametrize("name", sorted(CASES))
def test_everything_is_the_pinned_text(name: str) -> None:
    """Virtual servers, bound addresses, sets and rules, as the tools print them."""
    made = ipvs.text(ipvs_compiled.compile(CASES[name], builders.CONFIG))
    assert made == Path(builders.GOLDEN / f"{name}.ipvs").read_text()


def test_every_golden_text_has_its_case() -> None:
    """A golden file that nothing compiles pins nothing."""
    assert {path.stem for path in builders.GOLDEN.glob("*.ipvs")} == set(CASES)


def test_cluster_ip_is_a_virtual_server_with_every_endpoint() -> None:
    """Weight 1 each, and the address on kube-ipvs0."""
    made = ipvs_compiled.compile(CASES["two-services"], builders.CONFIG)
    server = VirtualServer(address=VIP, port=80, protocol="tcp")
    assert made.servers[server] == (FIVE, SIX, SEVEN)
    assert VIP in made.addresses
    assert builders.CONFIG.node_ip not in made.addresses


def test_local_policy_without_local_endpoints_uses_the_clusters() -> None:
    """Unlike the other modes, which drop."""
    made = ipvs_compiled.compile(CASES["local-elsewhere"], builders.CONFIG)
    assert set(made.servers.values()) == {(SEVEN,)}


def test_local_policy_with_local_endpoints_uses_them() -> None:
    """External addresses and node ports lead to this node's endpoints, the cluster IP to all."""
    made = ipvs_compiled.compile(CASES["web-local"], builders.CONFIG)
    by_place = {(str(s.address), s.port): found for s, found in made.servers.items()}
    assert by_place == {
        ("10.96.45.12", 80): (FIVE, SIX, SEVEN),
        ("203.0.113.10", 80): (FIVE, SIX),
        ("172.18.0.3", 31080): (FIVE, SIX),
    }
    assert {server.persistent for server in made.servers} == {10800}


def test_service_without_endpoints_is_an_empty_virtual_server() -> None:
    """The kernel answers port unreachable for it."""
    made = ipvs_compiled.compile(CASES["no-endpoints"], builders.CONFIG)
    assert made.servers
    assert set(made.servers.values()) == {()}


def test_source_ranges_with_the_node_inside_admit_the_vip_itself() -> None:
    """A node that talks to a VIP uses the VIP as its source."""
    made = ipvs_compiled.compile(CASES["own-range"], builders.CONFIG)
    assert made.sets[Set.LOAD_BALANCER_SOURCE_IP] == {"203.0.113.10,tcp:80,203.0.113.10"}


def test_node_ports_are_open_on_every_address_given() -> None:
    """One virtual server per node address; the set of ports has it once."""
    nodes = (IPv4Address("172.18.0.3"), IPv4Address("10.244.1.1"))
    made = ipvs_compiled.compile(CASES["web"], builders.CONFIG, nodes=nodes)
    assert {s.address for s in made.servers if s.port == 31080} == set(nodes)
    assert made.sets[Set.NODE_PORT_TCP] == {"31080"}


def test_maglev_hashes_the_port_too() -> None:
    """Scheduler mh has its own flag; the others have none."""
    config = dataclasses.replace(builders.CONFIG, ipvs=IpvsConfig(scheduler=Scheduler.MH))
    made = ipvs_compiled.compile(CASES["web"], config)
    assert all(server.hash_port for server in made.servers)
    assert not any(
        s.hash_port for s in ipvs_compiled.compile(CASES["web"], builders.CONFIG).servers
    )


def test_masquerade_all_and_no_detector() -> None:
    """The rule for cluster IPs has three forms."""
    everybody = dataclasses.replace(builders.CONFIG, masquerade_all=True)
    rules = ipvs_compiled.compile(CASES["web"], everybody).rules["nat"]["KUBE-SERVICES"]
    assert any("KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ" in rule for rule in rules)
    nobody = dataclasses.replace(builders.CONFIG, cluster_cidr=None)
    rules = ipvs_compiled.compile(CASES["web"], nobody).rules["nat"]["KUBE-SERVICES"]
    assert any("KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ" in rule for rule in rules)


def test_unknown_scheduler_is_refused() -> None:
    """The message says which there are."""
    assert ipvs_config.scheduler_of("") is Scheduler.RR
    with pytest.raises(UsageError, match="there are rr, wrr"):
        ipvs_config.scheduler_of("random")


def test_names_of_sets_fit_the_kernel() -> None:
    """At most 31 characters."""
    assert max(map(len, Set)) <= 31
