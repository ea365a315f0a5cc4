"""Bytes in, bytes out."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpod.api.meta import key_of
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.view import View
from tests.unit.dns import builders

WEB = "web.default.svc.cluster.local."


def _handler(view: View | None = None) -> Handler:
    handler = Handler(Zone(view or builders.cluster()))
    handler.synced = True
    return handler


def _ask(handler: Handler, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
    return dns.message.from_wire(handler.respond(query.to_wire(), tcp=tcp))


def test_everything_fails_before_the_first_sync() -> None:
    """Half a view would say NXDOMAIN of a Service that exists; SERVFAIL makes the client ask again."""
    handler = _handler()
    handler.synced = False
    query = dns.message.make_query(WEB, "A")
    assert _ask(handler, query).rcode() == dns.rcode.SERVFAIL
    handler.synced = True
    assert _ask(handler, query).rcode() == dns.rcode.NOERROR


def test_answer_carries_the_id_the_spelling_and_aa() -> None:
    """The question comes back as it was written, and twice the same question is twice answered right."""
    handler = _handler()
    for _ in range(2):
        query = dns.message.make_query("Web.Default.svc.CLUSTER.local.", "A")
        response = _ask(handler, query)
        assert response.id == query.id
        assert response.flags & dns.flags.AA
        assert response.answer[0].name.to_text() == "Web.Default.svc.CLUSTER.local."
        assert query.is_response(response)


def test_foreign_names_do_not_exist_and_nobody_is_asked() -> None:
    """Without forwarding every other name is NXDOMAIN, not authoritative."""
    response = _ask(_handler(), dns.message.make_query("example.com.", "A"))
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert not response.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("qtype", "qclass", "rcode"),
    [("AXFR", "IN", dns.rcode.REFUSED), ("TXT", "CH", dns.rcode.REFUSED)],
)
def test_transfers_and_other_classes_are_refused(qtype: str, qclass: str, rcode: int) -> None:
    """The zone is not handed out."""
    query = dns.message.make_query("cluster.local.", qtype, qclass)
    assert _ask(_handler(), query, tcp=True).rcode() == rcode


def test_addresses_take_turns() -> None:
    """Clients that use the first address spread over all endpoints of a headless Service."""
    handler = _handler()
    query = dns.message.make_query("db.default.svc.cluster.local.", "A")
    first = {_ask(handler, query).answer[0][0].to_text() for _ in range(4)}
    assert first == {"10.244.1.7", "10.244.2.7"}


def test_change_is_answered_at_once() -> None:
    """The cache of answers never outlives the view it was made from."""
    view = builders.cluster()
    handler = _handler(view)
    query = dns.message.make_query("new.default.svc.cluster.local.", "A")
    assert _ask(handler, query).rcode() == dns.rcode.NXDOMAIN
    new = builders.service("new", "10.96.0.77")
    view.set_service(key_of(new), new)
    assert _ask(handler, query).answer[0][0].to_text() == "10.96.0.77"


def test_alias_inside_the_zone_is_followed() -> None:
    """An ExternalName that points to a Service brings that Service's address."""
    response = _ask(_handler(), dns.message.make_query("alias.default.svc.cluster.local.", "A"))
    assert [rrset.to_text().split(" ", 4)[3:] for rrset in response.answer] == [
        ["CNAME", WEB],
        ["A", "10.96.0.20"],
    ]


@pytest.mark.parametrize(
    ("edns", "tcp", "truncated"), [(None, False, True), (4096, False, True), (None, True, False)]
)
def test_long_answer_is_truncated_on_udp_only(edns: int | None, tcp: bool, truncated: bool) -> None:
    """Above 512 bytes, or the client's EDNS size up to 1232, UDP says TC and TCP says all."""
    view = builders.cluster()
    many = [(f"10.244.3.{n}", None, True) for n in range(1, 200)]
    view.set_slice(None, builders.piece("db", *many, suffix="many"))
    query = dns.message.make_query("db.default.svc.cluster.local.", "A")
    if edns:
        query.use_edns(0, payload=edns)
    data = _handler(view).respond(query.to_wire(), tcp=tcp)
    response = dns.message.from_wire(data)
    assert bool(response.flags & dns.flags.TC) == truncated
    assert len(data) <= (65535 if tcp else 1232)
    assert (len(response.answer[0]) == 201) if tcp else not response.answer


def test_nonsense_gets_formerr_or_silence() -> None:
    """A broken query is answered with its id; a response is never answered, so two servers never talk forever."""
    handler = _handler()
    query = dns.message.make_query(WEB, "A").to_wire()
    broken = handler.respond(query[:20], tcp=False)
    assert broken[:2] == query[:2]
    assert dns.message.from_wire(broken).rcode() == dns.rcode.FORMERR
    assert handler.respond(handler.respond(query, tcp=False), tcp=False) == b""
    assert handler.respond(b"", tcp=False) == b""


@given(st.binary(max_size=80))
def test_no_bytes_break_the_handler(data: bytes) -> None:
    """Whatever arrives, an answer or silence follows, never a crash."""
    assert isinstance(_handler(View()).respond(data, tcp=False), bytes)


@given(st.binary(max_size=40))
def test_no_question_breaks_the_handler(tail: bytes) -> None:
    """The same after a well-formed header of a query with one question."""
    header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    assert _handler(View()).respond(header + tail, tcp=False)[:2] == b"\x12\x34"


def test_aliases_in_a_circle_end() -> None:
    """Two ExternalName Services that name each other are answered once each, and everything else keeps its name."""
    view = builders.cluster()
    for name, other in (("one", "two"), ("two", "one")):
        alias = builders.service(name, external=f"{other}.default.svc.cluster.local")
        view.set_service(key_of(alias), alias)
    handler = _handler(view)
    response = _ask(handler, dns.message.make_query("one.default.svc.cluster.local.", "A"))
    assert response.rcode() == dns.rcode.NOERROR
    assert [str(rrset.name).partition(".")[0] for rrset in response.answer] == ["one", "two"]
    assert _ask(handler, dns.message.make_query(WEB, "A")).answer
