"""Causes, meanings and file blocks, without a kernel."""

import io
import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netpod.ip import Family
from netpod.trace import causes, nftmeaning
from netpod.trace.clues import IcmpError
from netpod.trace.formats import pcapng
from netpod.trace.model import Address, Flow, Verdict
from netpod.trace.packet import label, parse_error, parse_frame
from netpod.trace.predict import nftrules, xtables
from netpod.trace.predict.packet import Fate, Here, Mock
from netpod.trace.rules import legacy_verdict
from netpod.trace.sources import nflog, procnet
from tests.unit.trace.builders import A, B, frame

HERE = Here(netns="n", local=frozenset((A,)))
PACKET = Mock(
    source=B,
    destination=IPv4Address("10.96.0.1"),
    protocol="tcp",
    source_port=1,
    destination_port=80,
)


@pytest.mark.parametrize(
    ("reason", "function", "cause"),
    [
        ("NO_SOCKET", "tcp_v4_rcv", "no-listener"),
        ("NOT_SPECIFIED", "ip_error", "blackhole"),
        ("NOT_SPECIFIED", "br_handle_frame_finish", ""),
        ("IP_RPFILTER", "", "rp-filter"),
    ],
)
def test_drop_reason_has_a_cause_or_none(reason: str, function: str, cause: str) -> None:
    """A reason that says nothing is not guessed at."""
    assert causes.of_reason(reason, function) == cause


@pytest.mark.parametrize(
    ("kind", "code", "verdict"),
    [(3, 3, Verdict.REFUSED), (3, 4, Verdict.DROPPED), (3, 13, Verdict.REFUSED), (11, 0, Verdict.DROPPED)],
)  # fmt: skip
def test_icmp_error_refuses_or_drops(kind: int, code: int, verdict: Verdict) -> None:
    """Port unreachable is a refusal; fragmentation needed is a drop."""
    error = IcmpError(
        type=kind, code=code, mtu=0, sender=A, protocol=6, flow=Flow(Address(A, 1), Address(B, 2)), ip_id=1
    )  # fmt: skip
    assert causes.verdict(causes.of_icmp(error)) is verdict
    assert causes.words(causes.of_icmp(error), Family.IPV4)


def test_icmp_error_quotes_the_packet_it_is_about() -> None:
    """The quoted header has the addresses as the router saw them."""
    quoted = frame()[14:]
    icmp = struct.pack("!BBHHH", 3, 4, 0, 0, 900) + quoted
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 9, 0, 64, 1, 0) + B.packed + A.packed
    error = parse_error(b"\0" * 12 + b"\x08\0" + ip + icmp)
    packet = parse_frame(frame())
    assert error is not None
    assert packet is not None
    assert (error.type, error.code, error.mtu, error.sender) == (3, 4, 900, B)
    assert error.flow == packet.flow
    assert label(packet) == "SYN"


def test_vxlan_is_looked_through() -> None:
    """What a tunnel carries is the packet; the tunnel is only a way."""
    inner = frame(payload=b"hello")
    vxlan = struct.pack("!II", 0x08000000, 1 << 8) + inner
    udp = struct.pack("!HHHH", 5555, 8472, 8 + len(vxlan), 0) + vxlan
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 9, 0, 64, 17, 0) + B.packed + A.packed
    outer = parse_frame(b"\0" * 12 + b"\x08\0" + ip + udp)
    assert outer is not None
    assert outer.tunnel.endswith(": 10.0.0.2 → 10.0.0.1")
    assert replace(outer, tunnel="") == parse_frame(inner)


@pytest.mark.parametrize(
    ("chain", "target", "text", "words"),
    [
        ("services", "service-ABCDEFGH-shop/web/tcp/http", "ip daddr vmap @service-ips", "Service shop/web:http"),
        ("service-ABCDEFGH-shop/web/tcp/", "endpoint-HGFEDCBA-shop/web/tcp/__10.244.1.5/8080",
         "numgen random mod 3 vmap { 0 : goto x }", "1 of 3 endpoints of shop/web, each as likely: 10.244.1.5:8080"),
        ("endpoint-HGFEDCBA-shop/web/tcp/__10.244.1.5/8080", "", "meta l4proto tcp dnat to 10.244.1.5:8080",
         "send to endpoint 10.244.1.5:8080 of shop/web"),
        ("endpoint-HGFEDCBA-shop/web/tcp/__fd00.10..5/8080", "", "meta l4proto tcp dnat to [fd00:10::5]:8080",
         "send to endpoint [fd00:10::5]:8080 of shop/web"),
        ("services", "reject-chain", "vmap @no-endpoint-services", "has no endpoints"),
        ("services", "", "vmap @no-endpoint-nodeports", "has no local endpoints"),
        ("mine", "", "drop", ""),
    ],
)  # fmt: skip
def test_nftables_rules_in_words(chain: str, target: str, text: str, words: str) -> None:
    """The chains' names hold the Service and the endpoint."""
    said = nftmeaning.meaning(chain, target, text)
    assert words in said
    assert bool(words) is bool(said)


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-SEP-B - [0:0]
:KUBE-SVC-X - [0:0]
-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X
-A KUBE-SVC-X ! -s 10.0.0.0/8 -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SVC-X -m statistic --mode random --probability 0.5 -j KUBE-SEP-A
-A KUBE-SVC-X -j KUBE-SEP-B
-A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.0.0.7:8080
-A KUBE-SEP-B -p tcp -j DNAT --to-destination 10.0.0.8:8080
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -p udp -j ACCEPT
COMMIT
"""


def test_lots_lead_to_all_endpoints() -> None:
    """A rule that draws lots has two outcomes; both are kept."""
    tables = xtables.parse_save(SAVED)
    results = xtables.follow(tables, "nat", "PREROUTING", PACKET, HERE)
    assert {str(p.destination) for f, p in results} == {"10.0.0.7", "10.0.0.8"}
    assert {f for f, _ in results} == {Fate.ACCEPT}
    assert xtables.follow(tables, "filter", "FORWARD", PACKET, HERE)[0][0] is Fate.DROP


def test_rule_that_is_not_understood_is_said() -> None:
    """An unknown match makes the prediction unsure instead of wrong."""
    tables = xtables.parse_save(
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m u32 --u32 0=1 -j DROP\nCOMMIT\n"
    )
    ((fate, packet),) = xtables.follow(tables, "filter", "INPUT", PACKET, HERE)
    assert fate is Fate.CONTINUE
    assert "u32" in packet.unsure[0]


def test_native_map_is_looked_up() -> None:
    """A verdict map leads to the chain of its key, and to nothing for another."""
    objects = [
        {"table": {"family": "ip", "name": "kube-proxy"}},
        {"chain": {"family": "ip", "table": "kube-proxy", "name": "services"}},
        {"chain": {"family": "ip", "table": "kube-proxy", "name": "x"}},
        {"map": {"family": "ip", "table": "kube-proxy", "name": "m",
                 "elem": [[{"concat": ["10.96.0.1", "tcp", 80]}, {"goto": {"target": "x"}}]]}},
        {"rule": {"family": "ip", "table": "kube-proxy", "chain": "services", "expr": [
            {"vmap": {"key": {"concat": [{"payload": {"protocol": "ip", "field": "daddr"}},
                                         {"meta": {"key": "l4proto"}},
                                         {"payload": {"protocol": "th", "field": "dport"}}]}, "data": "@m"}}]}},
        {"rule": {"family": "ip", "table": "kube-proxy", "chain": "x", "expr": [
            {"dnat": {"addr": "10.0.0.7", "port": 8080}}]}},
    ]  # fmt: skip
    (table,) = nftrules.parse_ruleset(objects, Family.IPV4)
    assert nftrules.parse_ruleset(objects, Family.IPV6) == []
    ((fate, packet),) = nftrules.follow(table, "services", PACKET, HERE)
    assert (fate, str(packet.destination), packet.destination_port) == (
        Fate.ACCEPT,
        "10.0.0.7",
        8080,
    )
    assert packet.met == ("services", "x")


def test_log_message_names_table_chain_and_number() -> None:
    """TRACE of iptables-legacy: everything but the verdict."""
    data = frame()[14:]
    text = b"TRACE: nat:KUBE-SVC-WEB:rule:3 \0"
    body = b"\2\0\0\0"
    for kind, value in ((10, text), (9, data)):
        body += struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
    event = nflog.parse("n", body)
    assert event is not None
    assert (event.table, event.chain, event.handle) == ("nat", "KUBE-SVC-WEB", 3)
    assert event.packet is not None
    assert legacy_verdict("-A X -j KUBE-SEP-A") == ("jump", "KUBE-SEP-A")
    assert legacy_verdict("-A X -j REJECT --reject-with icmp-port-unreachable")[0] == "drop"


def test_counters_are_read_by_name() -> None:
    """Two lines make a group; conntrack's are per CPU and hexadecimal."""
    texts = ["Ip: InHdrErrors Forwarding\nIp: 3 1\n", "TcpExt: ListenOverflows\nTcpExt: 2\n",
             "entries invalid\n00 0a\n00 01\n", "Ip6InNoRoutes \t4\nIp6InOctets 9\n"]  # fmt: skip
    assert procnet.parse(texts) == {
        "Ip.InHdrErrors": 3, "TcpExt.ListenOverflows": 2, "conntrack.invalid": 11, "Ip6InNoRoutes": 4,
    }  # fmt: skip


def test_pcapng_blocks_have_their_length_at_both_ends() -> None:
    """A reader may go either way through the file."""
    out = io.BytesIO()
    writer = pcapng.Writer(out, comment="c")
    writer.names({A: "pod-a"})
    writer.packet(
        ("n", "eth0"), 1_700_000_000_123_456_789, b"x" * 61, comments=("one", "two"), packet_id=7
    )
    data, kinds = out.getvalue(), []
    while data:
        kind, size = struct.unpack_from("<II", data)
        assert struct.unpack_from("<I", data, size - 4)[0] == size
        assert size % 4 == 0
        kinds.append(kind)
        data = data[size:]
    assert kinds == [0x0A0D0D0A, 4, 1, 6]
