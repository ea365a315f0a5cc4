"""IPv6 beside IPv4: what a packet is known by, what is said of it, which address is taken."""

import struct
from dataclasses import replace

import pytest

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.errors import UsageError
from netpod.ip import Family
from netpod.paths import Paths
from netpod.trace import causes, diagnose, families
from netpod.trace.model import Address, Flow, NatRewrite
from netpod.trace.objects import ClusterObjects
from netpod.trace.packet import (
    flow_of,
    header_key,
    header_of,
    label,
    parse_error,
    parse_frame,
    parse_neighbour,
)
from netpod.trace.place import Place, Role
from netpod.trace.predict import nftrules, xtables
from netpod.trace.predict.packet import Fate, Here, Mock
from netpod.trace.request import Kind
from netpod.trace.run import Question, request_of
from netpod.trace.sources import ctnetlink, nflog, nftrace
from netpod.trace.topology import doors
from tests.unit.trace.builders import A6, B6, C6, CLIENT6, SERVER6, A, frame, six
from tests.unit.trace.test_sources import nla

HERE = Here(netns="n", local=frozenset((A6,)))
PACKET = Mock(
    source=A6, destination=B6, protocol="tcp", source_port=1, destination_port=80
)  # fmt: skip


def test_fingerprint_survives_nat_and_routers_and_tells_flows_apart() -> None:
    """Addresses, ports and the hop limit change on the way; the flow label does not, and other flows have others."""
    first = parse_frame(frame(CLIENT6, SERVER6, payload=b"GET /"))
    after = parse_frame(frame(Address(C6, 9), Address(A6, 7), payload=b"GET /", ttl=61))
    other = parse_frame(frame(CLIENT6, SERVER6, payload=b"GET /", ip_id=8))
    assert first is not None
    assert after is not None
    assert other is not None
    assert first.fingerprint == after.fingerprint != other.fingerprint
    assert first.flow == Flow(CLIENT6, SERVER6)
    assert str(first.flow) == "[fd00::1]:40000 → [fd00::2]:80"
    assert (first.length, first.payload, label(first)) == (5, b"GET /", "SYN, 5 bytes")


def test_headers_of_a_rule_event_give_the_same_key_as_the_frame() -> None:
    """nf_tables copies 40 bytes of IPv6 and 20 of TCP."""
    data = frame(CLIENT6, SERVER6, payload=b"hello", options=b"\x01\x01\x01\x01")
    packet = parse_frame(data)
    assert packet is not None
    assert header_of(data[14:54], data[54:74]) == header_key(packet)
    assert flow_of(data[14:54], data[54:74]) == packet.flow


@pytest.mark.parametrize(
    ("follows", "extension", "readable"),
    [
        (0, b"\x06\0" + b"\1\4\0\0\0\0", True),
        (60, b"\x2b\1" + b"\0" * 14 + b"\x06\0" + b"\0" * 6, True),
        (51, b"\x06\4" + b"\0" * 22, True),
        (44, b"\x06\0\0\1\0\0\0\7", True),
        (44, b"\x06\0\0\x09\0\0\0\7", False),
        (59, b"", False),
    ],
)
def test_extension_headers_are_looked_behind(
    follows: int, extension: bytes, readable: bool
) -> None:
    """Options, routing, authentication, the first fragment; a later fragment has no ports."""
    body = extension + frame(CLIENT6, SERVER6)[54:]
    packet = parse_frame(six(A6, B6, follows, body))
    assert (packet is not None) is readable
    if packet is not None:
        assert (packet.flow, packet.protocol, packet.length) == (Flow(CLIENT6, SERVER6), 6, 0)


@pytest.mark.parametrize("cut", [14, 20, 53, 54, 60, 67])
def test_truncated_frames_are_ignored(cut: int) -> None:
    """Wherever it ends, nothing is made of half a header."""
    assert parse_frame(frame(CLIENT6, SERVER6)[:cut]) is None
    assert parse_frame(six(A6, B6, 60, b"\x06\xff" + b"\0" * 30)) is None


def test_echoes_have_an_id_in_place_of_ports() -> None:
    """ICMPv6 has other numbers for the same."""
    asked = parse_frame(six(A6, B6, 58, struct.pack("!BBHHH", 128, 0, 1, 77, 1) + b"x" * 32))
    answered = parse_frame(six(B6, A6, 58, struct.pack("!BBHHH", 129, 0, 2, 77, 1) + b"x" * 32))
    assert asked is not None
    assert answered is not None
    assert asked.flow == Flow(Address(A6, 77), Address(B6, 77)) == answered.flow.reversed()
    assert (asked.echo_reply, answered.echo_reply) == (False, True)
    assert (label(asked), label(answered)) == ("ICMPv6 echo request", "ICMPv6 echo reply")


@pytest.mark.parametrize(
    ("kind", "code", "mtu", "cause"),
    [(2, 0, 1280, "mtu"), (1, 4, 0, "no-listener"), (1, 1, 0, "prohibited"), (1, 0, 0, "no-route"),
     (1, 3, 0, "host-unreachable"), (1, 6, 0, "no-route"), (3, 0, 0, "ttl"), (3, 1, 0, "")],
)  # fmt: skip
def test_icmp_errors_quote_their_packet(kind: int, code: int, mtu: int, cause: str) -> None:
    """The same number means another thing in the other family."""
    quoted = frame(CLIENT6, SERVER6)[14:]
    icmp = struct.pack("!BBHI", kind, code, 0, mtu) + quoted
    error = parse_error(six(C6, A6, 58, icmp, label=99))
    packet = parse_frame(frame(CLIENT6, SERVER6))
    assert error is not None
    assert packet is not None
    assert (error.mtu, error.sender, error.flow, error.ip_id) == (
        mtu,
        C6,
        packet.flow,
        packet.ip_id,
    )
    assert causes.of_icmp(error) == cause
    assert causes.of_icmp(replace(error, sender=A, type=3, code=1)) == "host-unreachable"
    if cause:
        assert causes.words(cause, Family.IPV6)


def test_neighbour_discovery_is_read_as_arp_is() -> None:
    """Who asks for whom; who looks for its own address asks for itself."""
    body = b"\x87\0\0\0\0\0\0\0" + B6.packed
    assert parse_neighbour(six(A6, C6, 58, body)) == (1, A6, B6)
    nobody = type(A6)("::")
    assert parse_neighbour(six(nobody, C6, 58, body)) == (1, B6, B6)
    assert parse_neighbour(six(B6, A6, 58, b"\x88" + body[1:])) == (2, B6, B6)
    assert parse_neighbour(frame(CLIENT6, SERVER6)) is None
    assert parse_neighbour(six(A6, B6, 58, b"\x87\0\0\0")) is None
    arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + b"\0" * 6 + A.packed + b"\0" * 6 + A.packed
    assert parse_neighbour(b"\xff" * 12 + b"\x08\x06" + arp) == (1, A, A)


def test_tunnel_over_ipv6_is_looked_through() -> None:
    """VXLAN between nodes that have no IPv4."""
    inner = frame(CLIENT6, SERVER6, payload=b"hello")
    vxlan = struct.pack("!II", 0x08000000, 1 << 8) + inner
    udp = struct.pack("!HHHH", 5555, 8472, 8 + len(vxlan), 0) + vxlan
    outer = parse_frame(six(C6, A6, 17, udp))
    assert outer is not None
    assert outer.tunnel == "VXLAN 1: fd00::3 → fd00::1"
    assert replace(outer, tunnel="") == parse_frame(inner)


def test_conntrack_entry_of_ipv6_has_both_tuples() -> None:
    """Other attributes hold its addresses, and an echo's id."""
    ends = nla(3, A6.packed) + nla(4, B6.packed)
    tcp = nla(1, b"\x06") + nla(2, b"\0\1") + nla(3, b"\0\2")
    echo = nla(1, b"\x3a") + nla(7, b"\0\x09") + nla(8, b"\x80") + nla(9, b"\0")
    for proto, ports in ((tcp, (1, 2)), (echo, (9, 9))):
        tuple_ = nla(1, ends) + nla(2, proto)
        body = b"\x0a\0\0\0" + nla(1, tuple_) + nla(2, tuple_) + nla(12, b"\0\0\0\7")
        entry = ctnetlink.parse_entry("n", 256, 0x600, body)
        assert entry is not None
        assert entry.original == Flow(Address(A6, ports[0]), Address(B6, ports[1]))


def test_log_message_of_ip6tables_legacy_is_of_its_own_family() -> None:
    """Rules of the two families have the same table, chain and number."""
    body = b"\x0a\0\0\0" + nla(10, b"TRACE: nat:KUBE-SVC-WEB:rule:3 \0")
    event = nflog.parse("n", body + nla(9, frame(CLIENT6, SERVER6)[14:]))
    assert event is not None
    assert (event.family, event.flow) == ("ip6-legacy", Flow(CLIENT6, SERVER6))


def test_arming_names_doors_of_each_family_in_its_words() -> None:
    """One table of both families."""
    both = [Address(A, 80), Address(B6, 8080)]
    for text in (nftrace.compile_table(1, (2, 3), both), nftrace.compile_doors(both)):
        assert "ip daddr . " in text
        assert "{ 10.0.0.1 . 80 }" in text
        assert "ip6 daddr . " in text
        assert "{ fd00::2 . 8080 }" in text
    echo = nftrace.compile_table(77, (2, 3), both, protocol="icmpv6")
    assert "icmpv6 id 77 meta nftrace set 1" in echo
    assert "meta l4proto ipv6-icmp ct original proto-src 77" in echo


@pytest.mark.parametrize(
    ("rule", "to"),
    [
        ("-j DNAT --to-destination [fd00::2]:8080", Address(B6, 8080)),
        ("-j DNAT --to-destination fd00::2", Address(B6, 80)),
        ("meta l4proto tcp dnat to [fd00::2]:8080", Address(B6, 8080)),
        ("tcp dport 80 dnat ip6 to fd00::2", Address(B6, 80)),
        ("-j DNAT --to-destination 10.0.0.1:9", Address(A, 9)),
        ("-j MASQUERADE", None),
    ],
)
def test_destination_that_a_rule_chose_is_read(rule: str, to: Address | None) -> None:
    """Brackets where there is a port, none where there is none."""
    assert diagnose.chosen_by(rule, 80) == to


def test_ip6tables_rules_are_followed() -> None:
    """Networks, brackets and its own word for ICMPv6."""
    saved = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d fd00::2/128 -p tcp -m tcp --dport 80 -j DNAT"
        " --to-destination [fd00::3]:8080\nCOMMIT\n*filter\n:INPUT DROP [0:0]\n"
        "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT\nCOMMIT\n"
    )
    tables = xtables.parse_save(saved)
    ((fate, packet),) = xtables.follow(tables, "nat", "PREROUTING", PACKET, HERE)
    assert (fate, packet.destination, packet.destination_port) == (Fate.ACCEPT, C6, 8080)
    echo = replace(PACKET, protocol="icmpv6")
    assert xtables.follow(tables, "filter", "INPUT", echo, HERE)[0][0] is Fate.ACCEPT
    assert xtables.follow(tables, "filter", "INPUT", PACKET, HERE)[0][0] is Fate.DROP


def test_rules_of_table_inet_about_the_other_family_do_not_match() -> None:
    """Neither what is nor what is not: such a rule asks for the family first."""
    drop = [{"drop": None}]
    rules = [
        {"match": {"op": op, "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.0.0.1"}}
        for op in ("==", "!=")
    ]  # fmt: skip
    objects = [
        {"table": {"family": "inet", "name": "wall"}},
        {"chain": {"family": "inet", "table": "wall", "name": "c"}},
        *({"rule": {"family": "inet", "table": "wall", "chain": "c", "expr": [rule, *drop]}} for rule in rules),
    ]  # fmt: skip
    (table,) = nftrules.parse_ruleset(objects, Family.IPV6)
    assert [fate for fate, _ in nftrules.follow(table, "c", PACKET, HERE)] == [Fate.CONTINUE]


DUAL = codec.decode(
    Service,
    {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00:96::9"], "ports": [{"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"ip": "2001:db8::1"}]}},
    },
)  # fmt: skip
POD = codec.decode(
    Pod,
    {
        "metadata": {"namespace": "default", "name": "web-0"},
        "spec": {"nodeName": "worker", "containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIP": "fd00::2", "podIPs": [{"ip": "fd00::2"}, {"ip": "10.0.0.2"}]},
    },
)  # fmt: skip
OBJECTS = ClusterObjects(services=(DUAL,), pods=(POD,))


@pytest.mark.parametrize(
    ("target", "family", "connect", "host", "note"),
    [
        ("svc/web", None, "10.96.0.9:80", "web.default.svc.cluster.local",
         "IPv4, its first family; -6 takes fd00:96::9"),
        ("svc/web", Family.IPV6, "[fd00:96::9]:80", "web.default.svc.cluster.local",
         "IPv6, its second family; -4 takes 10.96.0.9"),
        ("pod/web-0", None, "[fd00::2]:80", "[fd00::2]", "IPv6, its first family; -4 takes 10.0.0.2"),
        ("pod/web-0", Family.IPV4, "10.0.0.2:80", "10.0.0.2", "IPv4, its second family; -6 takes fd00::2"),
        ("[fd00::2]:8080", None, "[fd00::2]:8080", "[fd00::2]:8080", ""),
        ("http://[fd00::2]:8080/x", None, "[fd00::2]:8080", "[fd00::2]:8080", ""),
        ("http://[fd00::2]/x", None, "[fd00::2]:80", "[fd00::2]", ""),
    ],
)  # fmt: skip
def test_address_is_the_first_or_of_the_family_asked_for(
    target: str, family: Family | None, connect: str, host: str, note: str
) -> None:
    """Where there was a choice it is said, and how to choose the other."""
    place = Place(netns=Paths("lab").netns_node("worker"), role=Role.NODE, node="worker")
    request = request_of(Question(target=target, family=family, kind=Kind.HTTP), OBJECTS, place)
    assert (str(request.connect), request.host, request.note) == (connect, host, note)


def test_address_that_is_not_there_is_said() -> None:
    """Nothing is sent to the other family instead."""
    with pytest.raises(UsageError, match=r"cannot trace svc/x over IPv4: it has fd00::1 only"):
        families.choose(("fd00::1",), "svc/x", Family.IPV4)
    with pytest.raises(UsageError, match="it has no address"):
        families.choose(("", "None"), "svc/x")


def test_doors_are_of_the_family_that_is_asked() -> None:
    """A dual Service has a slice per family: a packet of one cannot go to an endpoint of the other."""
    slices = tuple(
        codec.decode(
            EndpointSlice,
            {
                "metadata": {
                    "namespace": "default", "name": f"web-{kind}", "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": kind,
                "ports": [{"port": 8080}],
                "endpoints": [{"addresses": [ip]}],
            },
        )
        for kind, ip in (("IPv4", "10.0.0.2"), ("IPv6", "fd00::2"))
    )  # fmt: skip
    objects = replace(OBJECTS, endpoint_slices=slices)
    vip = families.choose(families.cluster_ips(DUAL), "web", Family.IPV6)
    assert doors(objects, Address(vip, 80)) == (Address(B6, 8080),)
    assert [p.metadata.name for p in objects.endpoint_pods(Key("default", "web"))] == ["web-0"]


def test_id_that_nat_chose_for_an_echo_is_no_other_destination() -> None:
    """It stands for both ports, as in conntrack; the destination's address stays, so it is masquerading alone."""
    echo = Flow(Address(A6, 7), Address(B6, 7))
    hidden = Flow(Address(C6, 9), Address(B6, 9))
    kinds = [
        NatRewrite(netns="n", before=before, after=after, conntrack=None, evidence=()).kind
        for before, after in (
            (echo, hidden),
            (Flow(CLIENT6, SERVER6), Flow(CLIENT6, Address(C6, 8080))),
            (Flow(CLIENT6, SERVER6), Flow(Address(C6, 1), Address(C6, 8080))),
        )
    ]
    assert kinds == ["SNAT", "DNAT", "DNAT + SNAT"]
