"""IPVS as a witness, and as what explain follows: pure parts."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from netpod.ip import Family
from netpod.trace import virtual
from netpod.trace.model import Address, Confidence, Flow, RuleHit
from netpod.trace.predict import sets, xtables
from netpod.trace.predict.packet import Fate, Here, Mock
from netpod.trace.sources import ipvsconn, legacyarm
from netpod.trace.virtual import Ipvs, VirtualServer

CONNECTIONS = "\n".join((
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
    "TCP 0AF40102 C350 0A600102 0050 0AF40104 1F90 ESTABLISHED     899",
    "TCP 0AF40102 0000 0A600102 0050 0AF40104 1F90 NONE            899",
    "UDP fd00:0010:0244:0000:0000:0000:0000:0002 C350 fd00:0010:0096:0000:0000:0000:0000:000a 0035 "
    "fd00:0010:0244:0000:0000:0000:0000:0003 0035 UDP 299",
))  # fmt: skip


def at(text: str, port: int) -> Address:
    """An address and port."""
    return Address(ip_address(text), port)


CLIENT, VIP, REAL = at("10.244.1.2", 50000), at("10.96.1.2", 80), at("10.244.1.4", 8080)
OTHER = at("10.244.1.5", 8080)
SERVER = VirtualServer(address=VIP, protocol="tcp", scheduler="rr", real=((REAL, 1), (OTHER, 1)))
EMPTY = VirtualServer(address=at("10.96.7.7", 80), protocol="tcp", scheduler="rr", real=())
KNOWN = Ipvs(servers=(SERVER, EMPTY), connections=tuple(ipvsconn.parse(CONNECTIONS)))


def test_connections_of_both_families_are_read() -> None:
    """Entries that stand for persistence only have no client port and are none."""
    first, second = ipvsconn.parse(CONNECTIONS)
    assert (first.client, first.virtual, first.real) == (CLIENT, VIP, REAL)
    assert (first.protocol, first.state) == ("tcp", "ESTABLISHED")
    assert second.virtual == at("fd00:10:96::a", 53)


def test_a_listed_connection_proves_the_choice_and_stands_behind_the_rules_before_it() -> None:
    """The choice comes before POSTROUTING's rules."""
    rules = tuple(
        RuleHit(
            netns="node", family="ip-legacy", table="nat", chain=chain, handle=1, verdict="jump",
            target="", text="", meaning="", evidence=(),
        )
        for chain in ("PREROUTING", "KUBE-SERVICES", "POSTROUTING")
    )  # fmt: skip
    found = virtual.with_choice(
        rules, {"node": KNOWN}, "node", Flow(CLIENT, VIP), Flow(CLIENT, REAL), 6
    )
    assert [it.chain for it in found] == [
        "PREROUTING", "KUBE-SERVICES", "TCP 10.96.1.2:80 rr", "POSTROUTING",
    ]  # fmt: skip
    chosen = found[2]
    assert chosen.text == "-> 10.244.1.4:8080 Masq 1"
    assert chosen.meaning == "1 of 2 real servers, chosen by rr: 10.244.1.4:8080"
    assert chosen.evidence[0].confidence is Confidence.PROVEN


def test_without_the_connection_the_choice_is_inferred_from_the_wire_or_not_told() -> None:
    """A rewrite to one of the real servers can only be the virtual server's; without one nothing is said."""
    gone = {"node": replace(KNOWN, connections=())}
    hit = virtual.choice(gone, "node", Flow(CLIENT, VIP), Flow(CLIENT, OTHER), 6)
    assert hit is not None
    assert hit.evidence[0].confidence is Confidence.INFERRED
    assert virtual.choice(gone, "node", Flow(CLIENT, VIP), Flow(CLIENT, VIP), 6) is None
    assert virtual.choice(gone, "node", Flow(CLIENT, REAL), Flow(CLIENT, REAL), 6) is None
    refused = virtual.refusal(gone, "node", EMPTY.address, 6)
    assert refused is EMPTY
    assert virtual.refusal(gone, "node", VIP, 6) is None


HERE = Here(
    netns="node",
    bridges=frozenset({"cni0"}),
    sets={
        "KUBE-CLUSTER-IP": ("hash:ip,port", frozenset({"10.96.1.2,tcp:80"})),
        "KUBE-NODE-PORT-TCP": ("bitmap:port", frozenset({"31080"})),
        "KUBE-IPVS-IPS": ("hash:ip", frozenset({"10.96.1.2"})),
        "KUBE-LOOP-BACK": (
            "hash:ip,port,ip",
            frozenset({"10.96.1.2,tcp:80,10.244.1.2"}),
        ),
        "KUBE-LOAD-BALANCER-SOURCE-CIDR": (
            "hash:ip,port,net",
            frozenset({"10.96.1.2,tcp:80,10.244.0.0/16"}),
        ),
    },
)
PACKET = Mock(
    source=CLIENT.ip,
    destination=VIP.ip,
    protocol="tcp",
    source_port=CLIENT.port,
    destination_port=VIP.port,
    inward="cni0",
)


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ("KUBE-CLUSTER-IP dst,dst", True),
        ("KUBE-CLUSTER-IP src,dst", False),
        ("KUBE-NODE-PORT-TCP dst", False),
        ("KUBE-IPVS-IPS dst", True),
        ("KUBE-LOOP-BACK dst,dst,src", True),
        ("KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src", True),
        ("NOBODYS dst", None),
        ("KUBE-CLUSTER-IP dst", None),
    ],
)
def test_sets_hold_packets(asked: str, held: bool | None) -> None:
    """By type and flags; what is not known is said to be."""
    assert sets.matches(asked, PACKET, HERE) is held


@pytest.mark.parametrize(
    ("rule", "fate"),
    [
        ("-m set --match-set KUBE-CLUSTER-IP dst,dst -j DROP", Fate.DROP),
        ("! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j DROP", Fate.CONTINUE),
        ("-m physdev ! --physdev-is-in -j DROP", Fate.CONTINUE),
        ("-m ipvs --vproto 6 --vaddr 10.96.1.2/32 --vport 80 -j DROP", Fate.CONTINUE),
    ],
)
def test_rules_that_look_into_sets(rule: str, fate: Fate) -> None:
    """The matches that only IPVS mode uses."""
    ((found, _),) = xtables.follow(
        {"filter": {"A": (f"-A A {rule}",)}}, "filter", "A", PACKET, HERE
    )
    assert found is fate
    sent = replace(PACKET, virtual=(VIP.ip, VIP.port, "tcp"))
    ((found, _),) = xtables.follow({"filter": {"A": (f"-A A {rule}",)}}, "filter", "A", sent, HERE)
    assert found is (Fate.DROP if "ipvs" in rule else fate)


def test_arming_is_by_ports_and_the_first_packets_to_the_doors() -> None:
    """Each family has its own doors; an echo has no port."""
    made = legacyarm.compile_flow(50000, (61000, 61999), (REAL, at("fd00::1", 80)))
    assert "-p tcp -m tcp --sport 50000" in made[Family.IPV4]
    assert "-p tcp -m tcp --dport 61000:61999" in made[Family.IPV6]
    assert [it for it in made[Family.IPV4] if "-d " in it] == [
        "-d 10.244.1.4/32 -p tcp -m tcp --dport 8080 --syn -m limit --limit 500/sec --limit-burst 50"
    ]
    echo = legacyarm.compile_flow(7, (0, 0), protocol="icmp")
    assert [it.split(" -m")[0] for it in (*echo[Family.IPV4], *echo[Family.IPV6])] == [
        "-p icmp", "-p ipv6-icmp",
    ]  # fmt: skip
