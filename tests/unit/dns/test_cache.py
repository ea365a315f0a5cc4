"""Answers that are kept against answers made anew, while the cluster changes."""

import random

import dns.message
import pytest

from netpod.api.meta import Key, key_of
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.view import View
from tests.unit.dns import builders

ZONE = "cluster.local."
NAMES = (
    *(f"{name}.{space}.svc.{ZONE}" for name in ("a", "b", "c") for space in ("default", "other")),
    *(f"{label}.a.default.svc.{ZONE}" for label in ("host", "10-244-1-1")),
    f"_http._tcp.a.default.svc.{ZONE}",
    f"other.svc.{ZONE}",
    f"10-244-1-1.other.pod.{ZONE}",
    ZONE,
    *(f"{n}.1.244.10.in-addr.arpa." for n in (1, 2)),
    *(f"{n}.0.96.10.in-addr.arpa." for n in (1, 2)),
)
TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "NS")


def _handler(view: View) -> Handler:
    handler = Handler(Zone(view))
    handler.synced = True
    return handler


def _said(handler: Handler, query: dns.message.Message) -> tuple[object, ...]:
    """All but the serial of the zone, and the order of addresses, which turns."""
    wire = handler.respond(query.to_wire(), tcp=True)
    assert isinstance(wire, bytes)
    response = dns.message.from_wire(wire)
    records = sorted(f"{r.name} {r.rdtype} {d}" for r in response.answer for d in r)
    more = sorted(f"{r.name} {r.rdtype} {d}" for r in response.additional for d in r)
    return response.rcode(), records, more


@pytest.mark.parametrize("seed", range(8))
def test_no_answer_outlives_what_it_is_about(seed: int) -> None:
    """After every change, each kept answer is the one that a handler without a cache gives."""
    pick = random.Random(seed)
    view = View()
    view.set_namespace("default", True)
    kept = _handler(view)
    slices: dict[str, object] = {}
    queries = [dns.message.make_query(name, kind) for name in NAMES for kind in TYPES]
    for _ in range(60):
        name, space = pick.choice("abc"), pick.choice(("default", "other"))
        what = pick.randrange(6)
        if what == 0:
            view.set_namespace("other", pick.random() < 0.5)
        elif what == 1:
            view.set_service(Key(space, name), None)
        elif what == 2:
            target = f"{pick.choice('abc')}.{pick.choice(('default', 'other'))}.svc.cluster.local"
            alias = builders.service(name, namespace=space, external=target)
            view.set_service(key_of(alias), alias)
        elif what == 3:
            addresses = pick.choice(((), ("10.96.0.1",), ("10.96.0.2",)))
            service = builders.service(name, *addresses, namespace=space)
            view.set_service(key_of(service), service)
        else:
            old = slices.get(f"{space}/{name}")
            hostname, ready = pick.choice((None, "host")), pick.random() < 0.7
            address = f"10.244.1.{pick.randint(1, 2)}"
            new = builders.piece(name, (address, hostname, ready), namespace=space)
            new_or_none = new if pick.random() < 0.8 else None
            view.set_slice(old, new_or_none)  # type: ignore[arg-type]
            slices[f"{space}/{name}"] = new_or_none
        # Not all are asked each time, so that some are kept for long.
        for query in pick.sample(queries, 40):
            got = _said(kept, query)
            assert got == _said(_handler(view), query), query.question[0]


def test_a_change_leaves_answers_about_others() -> None:
    """A new Service empties nothing but what was said of it."""
    view = builders.cluster()
    handler = _handler(view)
    web = dns.message.make_query("web.default.svc.cluster.local.", "A").to_wire()
    new = dns.message.make_query("new.default.svc.cluster.local.", "A").to_wire()
    assert dns.message.from_wire(handler.respond(new, tcp=False)).rcode() == 3
    handler.respond(web, tcp=False)
    kept = handler._cache[web[2:], False]
    service = builders.service("new", "10.96.0.77")
    view.set_service(key_of(service), service)
    assert dns.message.from_wire(handler.respond(new, tcp=False)).rcode() == 0
    handler.respond(web, tcp=False)
    assert handler._cache[web[2:], False] is kept
