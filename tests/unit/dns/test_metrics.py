"""What the name server tells of itself, in CoreDNS' words."""

import dns.message
from prometheus_client.parser import text_string_to_metric_families

from netpod.dns.handler import Handler
from netpod.dns.metrics import Metrics
from netpod.dns.records import Zone
from netpod.dns.view import View

ZONE = {"server": "dns://:53", "view": ""}


def _value(text: bytes, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def _handler() -> Handler:
    view = View()
    view.set_namespace("default", True)
    handler = Handler(Zone(view))
    handler.synced = True
    return handler


def test_answers_are_counted_by_kind_and_outcome() -> None:
    """Name by name as in CoreDNS: protocol, family, type and code; odd types are one."""
    handler, counted = _handler(), Metrics()
    for name, kind in (("cluster.local", "SOA"), ("gone.default.svc.cluster.local", "A")):
        query = dns.message.make_query(name, kind).to_wire()
        response = handler.respond(query, tcp=False)
        assert isinstance(response, bytes)
        counted.answered("1", "udp", query, response, 300_000)
    for odd in range(300, 400):
        query = dns.message.make_query("cluster.local", f"TYPE{odd}").to_wire()
        counted.answered("2", "tcp", query, query, 1)
    text = counted.text(0, 0)
    name = "coredns_dns_requests_total"
    found = _value(text, name, **ZONE, zone=".", proto="udp", family="1", type="SOA")
    assert found == 1
    assert _value(text, name, **ZONE, zone=".", proto="tcp", family="2", type="other") == 100
    name = "coredns_dns_responses_total"
    assert _value(text, name, **ZONE, zone=".", rcode="NXDOMAIN") == 1
    name = "coredns_dns_request_duration_seconds"
    assert _value(text, f"{name}_count", **ZONE, zone=".") == 102
    assert _value(text, f"{name}_bucket", le="0.00025") == 100
    assert _value(text, f"{name}_bucket", le="0.0005") == 102
    assert _value(text, "coredns_dns_request_size_bytes_count", proto="tcp") == 100


def test_hits_and_misses_of_the_cache_are_counted() -> None:
    """The first answer is compiled, the next ones are hits: of something, or of a denial."""
    handler = _handler()
    for name, times in (("cluster.local", 3), ("gone.default.svc.cluster.local", 5)):
        query = dns.message.make_query(name, "SOA").to_wire()
        for _ in range(times):
            handler.respond(query, tcp=False)
    text = handler.counted.text(*handler.cached())
    assert _value(text, "coredns_cache_hits_total", type="success") == 2
    assert _value(text, "coredns_cache_hits_total", type="denial") == 4
    assert _value(text, "coredns_cache_misses_total", zones=".") == 2
    assert _value(text, "coredns_cache_entries", type="denial") == 1
    assert _value(text, "coredns_cache_entries", type="success") == 1


def test_who_was_asked_outside_is_counted() -> None:
    """Upstream by upstream, with what it said; who says nothing has no code."""
    counted = Metrics()
    response = dns.message.make_response(dns.message.make_query("x.test", "A")).to_wire()
    counted.forwarded("10.0.0.1:53", response, 0.01)
    counted.forwarded("10.0.0.1:53", b"", 2.0)
    text = counted.text(0, 0)
    assert _value(text, "coredns_forward_requests_total", to="10.0.0.1:53") == 2
    assert _value(text, "coredns_forward_responses_total", to="10.0.0.1:53", rcode="NOERROR") == 1
    name = "coredns_proxy_request_duration_seconds_count"
    assert _value(text, name, proxy_name="forward", to="10.0.0.1:53", rcode="") == 1
