"""What the kernel and the proxy say, decoded from bytes."""

import struct
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netpod.trace.model import Address, Flow
from netpod.trace.packet import header_key, header_of, parse_frame
from netpod.trace.sources import afpacket, ctnetlink, netlink, nftrace
from netpod.trace.sources.proxylog import ProxyLog, parse_line
from tests.unit.trace.builders import A6, B6, A, B, frame, six


def nla(kind: int, value: bytes) -> bytes:
    """One netlink attribute."""
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def run_filter(program: list[afpacket.Instruction], data: bytes) -> int:
    """Run a classic BPF program as the kernel does."""
    pc = a = x = 0
    while True:
        code, jump_true, jump_false, k = program[pc]
        pc += 1
        if code == 0x06:
            return k
        if code in (0x28, 0x48):
            at = k + (x if code == 0x48 else 0)
            a = int.from_bytes(data[at : at + 2], "big")
        elif code == 0x30:
            a = data[k]
        elif code == 0xB1:
            x = (data[k] & 15) * 4
        elif code == 0x01:
            x = k
        elif code == 0x05:
            pc += k
        else:
            test = {0x15: a == k, 0x35: a >= k, 0x25: a > k, 0x45: bool(a & k)}[code]
            pc += jump_true if test else jump_false


@pytest.mark.parametrize(
    ("source", "destination", "kept"),
    [
        (40000, 80, True),
        (80, 40000, True),
        (61000, 5, True),
        (5, 61999, True),
        (60999, 62000, False),
        (40001, 81, False),
    ],
)
def test_filter_keeps_the_flow_and_the_reserved_ports(
    source: int, destination: int, kept: bool
) -> None:
    """A port at either end decides; both ends of the range belong to it."""
    program = afpacket.compile_filter((40000, 80), ((61000, 61999),))
    for near, far in ((A, B), (A6, B6)):
        data = frame(source=Address(near, source), destination=Address(far, destination))
        assert bool(run_filter(program, data)) is kept


def test_filter_without_ports_keeps_tcp_udp_icmp_and_arp() -> None:
    """No port is known: every segment and datagram; ICMP and ARP always, they say why packets die."""
    program = afpacket.compile_filter((), ())
    data = frame()
    assert run_filter(program, data) == afpacket.SNAP_LENGTH
    for protocol in (1, 17):
        assert run_filter(program, data[:23] + bytes([protocol]) + data[24:])
    assert run_filter(program, data[:12] + b"\x08\x06" + data[14:])
    assert not run_filter(program, data[:23] + b"\x84" + data[24:])
    assert not run_filter(program, data[:12] + b"\x88\xcc" + data[14:])
    for follows, kept in ((6, True), (17, True), (58, True), (0, True), (44, True), (132, False)):
        assert bool(run_filter(program, six(A6, B6, follows, b"\0" * 40))) is kept


def test_fingerprint_survives_nat() -> None:
    """Other addresses, ports, TTL and checksums: the same packet."""
    before = parse_frame(frame(payload=b"GET /"))
    after = parse_frame(frame(Address(B, 9), Address(A, 7), payload=b"GET /", ttl=61))
    assert before is not None
    assert after is not None
    assert before.fingerprint == after.fingerprint
    assert before.flow != after.flow


def test_headers_of_a_rule_event_give_the_same_key_as_the_frame() -> None:
    """nf_tables copies the IP header and 20 bytes of TCP: enough to find the packet."""
    data = frame(payload=b"hello", options=b"\x01\x01\x01\x01")
    packet = parse_frame(data)
    assert packet is not None
    assert header_of(data[14:34], data[34:54]) == header_key(packet)


@pytest.mark.parametrize("cut", [0, 13, 20, 40, 53])
def test_truncated_frames_are_ignored(cut: int) -> None:
    """A frame that ends before its TCP header is nobody's packet."""
    assert parse_frame(frame()[:cut]) is None


def test_later_rule_events_belong_to_the_last_headers_of_their_id() -> None:
    """The trace id is a buffer's address, used again: what counts is the order of arrival."""
    data = frame()
    other = frame(sequence=99)

    def event(handle: int, headers: bytes = b"", identity: int = 7) -> bytes:
        body = struct.pack("!BBH", 2, 0, 0) + nla(1, b"nat\0") + nla(2, b"PREROUTING\0")
        body += nla(3, struct.pack("!Q", handle)) + nla(4, struct.pack("!I", 3))
        body += nla(5, nla(1, struct.pack("!i", -3)) + nla(2, b"KUBE-SERVICES\0"))
        body += nla(6, struct.pack("!I", identity))
        return body + (nla(8, headers[14:34]) + nla(9, headers[34:54]) if headers else b"")

    events = nftrace.parse_events("n", [event(1, data), event(2), event(3, other), event(4)])
    packets = [e.packet for e in events]
    assert packets[0] == packets[1] != packets[2] == packets[3]
    assert [e.handle for e in events] == [1, 2, 3, 4]
    assert (events[0].family, events[0].verdict, events[0].target) == (
        "ip",
        "jump",
        "KUBE-SERVICES",
    )
    assert nftrace.parse_events("n", [event(2)])[0].packet is None
    assert nftrace.parse_events("n", [b"\2\0\0\0", b""]) == []


def test_arming_names_one_flow_and_the_reserved_ports() -> None:
    """Nothing else is traced, so nothing else can fill the buffer."""
    text = nftrace.compile_table(40000, (61000, 61999))
    marked = [line for line in text.splitlines() if "nftrace set 1" in line]
    assert marked
    assert all("40000" in line or "61000-61999" in line for line in marked)
    door = nftrace.compile_table(1, (61000, 61999), [Address(A, 80), Address(B, 80)])
    assert "{ 10.0.0.1 . 80, 10.0.0.2 . 80 } ct state new limit rate" in door
    assert text.index("delete table") < text.index("chain")


def test_conntrack_entry_has_both_tuples() -> None:
    """A DNAT entry: the reply comes from where the packet really went."""

    def tuple_(flow: Flow) -> bytes:
        ip = nla(1, flow.source.ip.packed) + nla(2, flow.destination.ip.packed)
        ports = nla(2, struct.pack("!H", flow.source.port))
        ports += nla(3, struct.pack("!H", flow.destination.port))
        return nla(1, ip) + nla(2, nla(1, b"\x06") + ports)

    original = Flow(Address(A, 1), Address(B, 2))
    reply = Flow(Address(IPv4Address("10.0.0.9"), 3), Address(A, 1))
    body = b"\2\0\0\0" + nla(1, tuple_(original)) + nla(2, tuple_(reply)) + nla(12, b"\0\0\0\7")
    entry = ctnetlink.parse_entry("n", 256, 0x600, body)
    assert entry is not None
    assert (entry.original, entry.reply, entry.id, entry.events) == (original, reply, 7, ("new",))
    assert ctnetlink.parse_entry("n", 258, 0, body).events == ("destroy",)  # type: ignore[union-attr]
    assert ctnetlink.parse_entry("n", 257, 0, body) is None
    assert ctnetlink.parse_entry("n", 256, 0, b"\2\0\0\0") is None


def test_netlink_stops_at_a_length_that_cannot_be() -> None:
    """A length of less than its own header would never end."""
    assert netlink.attributes(b"\0\0\1\0" * 3) == {}
    assert list(netlink.messages(b"\0" * 32)) == []


LINE = (
    b'2026-11-23T15:00:00.1Z stdout F {"trace":"t1","client":"10.244.1.1:5","ingress":"default\\/site",'
    b'"rule_path_type":"Prefix","rule_host":"a.io","rule_path":"\\/","backend":"default\\/web:80",'
    b'"haproxy_backend":"trace-x","source":"10.244.1.5:61000","destination":"10.96.0.9:80",'
    b'"status":200,"ended":"----"}'
)


def test_access_line_names_rule_and_both_connections() -> None:
    """CRI's prefix is skipped; addresses are values."""
    access = parse_line(LINE)
    assert access is not None
    assert (access.trace_id, access.ingress, access.rule) == ("t1", "default/site", "a.io Prefix /")
    assert access.source == Address(IPv4Address("10.244.1.5"), 61000)
    assert access.status == 200


@pytest.mark.parametrize(
    "line", [b"", b"2026 stdout F starting", b"{", b'{"trace":""}', b"[1]", b'{"trace":"-"}', b"{}"]
)
def test_other_lines_are_no_access_lines(line: bytes) -> None:
    """A log holds more than requests, and requests that are not traced."""
    assert parse_line(line) is None


def test_connection_that_was_never_made_is_no_address() -> None:
    """HAProxy writes a dash where it had nothing."""
    access = parse_line(b'{"trace":"t","source":"-:-","destination":"","status":-1}')
    assert access is not None
    assert (access.source, access.server, access.status) == (None, None, -1)


def test_log_is_read_from_where_it_ended_and_by_whole_lines(tmp_path: Path) -> None:
    """What was there before the trace is another's; half a line waits for its other half."""
    log = tmp_path / "0.log"
    log.write_bytes(LINE + b"\n")
    proxy = ProxyLog([tmp_path])
    assert proxy.read() == []
    with log.open("ab") as file:
        file.write(LINE[:40])
        file.flush()
        assert proxy.read() == []
        file.write(LINE[40:] + b"\n")
    assert [line.trace_id for line in proxy.read()] == ["t1"]
    (tmp_path / "1.log").write_bytes(LINE + b"\n")
    assert len(proxy.read()) == 1
    assert not ProxyLog([tmp_path / "absent"]).readable
