"""What ConfigMap kube-system/dns says, and which names go elsewhere."""

from pathlib import Path

import dns.message
import dns.rcode

from netpod.dns import forward
from netpod.dns.handler import Elsewhere, Handler
from netpod.dns.records import Zone
from tests.unit.dns import builders


def _handler(relay: Path | None = None, **data: str) -> Handler:
    handler = Handler(Zone(builders.cluster()))
    handler.synced = True
    handler.rules = forward.rules(data, relay)
    return handler


def _ask(handler: Handler, name: str, rtype: str = "A") -> dns.message.Message | str:
    found = handler.respond(dns.message.make_query(name, rtype).to_wire(), tcp=False)
    return found.name if isinstance(found, Elsewhere) else dns.message.from_wire(found)


def test_hosts_are_answered() -> None:
    """A line of hosts(5) gives each of its names an address; another family is NODATA."""
    handler = _handler(hosts="# mine\n192.0.2.1 a.example b.example\n192.0.2.2 A.example.\n")
    answer = _ask(handler, "a.example.")
    assert isinstance(answer, dns.message.Message)
    assert {str(item) for item in answer.answer[0]} == {"192.0.2.1", "192.0.2.2"}
    other = _ask(handler, "b.example.", "AAAA")
    assert isinstance(other, dns.message.Message)
    assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])


def test_only_names_outside_the_zone_go_elsewhere() -> None:
    """A stub domain's names go to its servers, all others to the machine only when it lets them; ours never."""
    stub = _handler(stubDomains='{"Corp.example.": ["10.244.1.9"]}')
    assert _ask(stub, "x.corp.EXAMPLE.") == "x.corp.example"
    assert stub.rules.servers("corp.example") == ("10.244.1.9",)
    for handler, name in (
        (stub, "corp2.example."),
        (_handler(Path("/x")), "no.svc.cluster.local."),
    ):
        answer = _ask(handler, name)
        assert isinstance(answer, dns.message.Message)
        assert answer.rcode() == dns.rcode.NXDOMAIN
    assert _ask(_handler(Path("/x")), "example.com.") == "example.com"


def test_what_cannot_be_read_is_said_and_left_aside() -> None:
    """A mistake in one line or domain leaves the others in force."""
    rules = forward.rules(
        {
            "hosts": "192.0.2.300 a\n192.0.2.1\n192.0.2.2 good\n",
            "stubDomains": '{"a": ["x"], "b": 5, "c": ["10.0.0.1:5353"]}',
        },
        None,
    )
    assert (set(rules.hosts), set(rules.stubs), len(rules.problems)) == ({"good"}, {"c"}, 4)
    assert forward.rules({"stubDomains": "[]"}, None).problems
