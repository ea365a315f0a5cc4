"""The tables of kubenet-facts E.1 and E.2: what is asked, and what is answered."""

import pytest

from netpod.dns.records import Rcode, Zone
from tests.unit.dns import builders

ANSWERS = [
    ("web.default.svc.cluster.local", "A", ["A 10.96.0.20"]),
    ("dual.default.svc.cluster.local", "A", ["A 10.96.0.21"]),
    ("dual.default.svc.cluster.local", "AAAA", ["AAAA fd00:96::21"]),
    ("plain.default.svc.cluster.local", "A", ["A 10.96.0.22"]),
    (
        "_http._tcp.web.default.svc.cluster.local",
        "SRV",
        ["SRV 0 100 80 web.default.svc.cluster.local."],
    ),
    (
        "web.default.svc.cluster.local",
        "SRV",
        [
            "SRV 0 50 80 web.default.svc.cluster.local.",
            "SRV 0 50 443 web.default.svc.cluster.local.",
        ],
    ),
    ("10-244-1-5.web.default.svc.cluster.local", "A", ["A 10.244.1.5"]),
    ("20.0.96.10.in-addr.arpa", "PTR", ["PTR web.default.svc.cluster.local."]),
    ("7.1.244.10.in-addr.arpa", "PTR", ["PTR db-0.db.default.svc.cluster.local."]),
    (
        "1.2.0.0" + ".0" * 20 + ".6.9.0.0.0.0.d.f.ip6.arpa",
        "PTR",
        ["PTR dual.default.svc.cluster.local."],
    ),
    ("db.default.svc.cluster.local", "A", ["A 10.244.1.7", "A 10.244.2.7"]),
    ("db.default.svc.cluster.local", "AAAA", ["AAAA fd00:244::7"]),
    ("db-0.db.default.svc.cluster.local", "A", ["A 10.244.1.7"]),
    ("db-0.db.default.svc.cluster.local", "AAAA", ["AAAA fd00:244::7"]),
    (
        "_http._tcp.db.default.svc.cluster.local",
        "SRV",
        [
            "SRV 0 33 8080 db-0.db.default.svc.cluster.local.",
            "SRV 0 33 8080 db-1.db.default.svc.cluster.local.",
        ],
    ),
    ("away.default.svc.cluster.local", "A", ["CNAME www.example.com."]),
    ("away.default.svc.cluster.local", "AAAA", ["CNAME www.example.com."]),
    ("away.default.svc.cluster.local", "CNAME", ["CNAME www.example.com."]),
    ("dns-version.cluster.local", "TXT", ['TXT "1.1.0"']),
    ("10-244-9-9.default.pod.cluster.local", "A", ["A 10.244.9.9"]),
    ("fd00-244--7.default.pod.cluster.local", "AAAA", ["AAAA fd00:244::7"]),
    ("cluster.local", "NS", ["NS ns.dns.cluster.local."]),
    ("ns.dns.cluster.local", "A", ["A 10.96.0.10"]),
]

EMPTY = [
    ("web.default.svc.cluster.local", "AAAA"),
    ("web.default.svc.cluster.local", "MX"),
    ("_http._tcp.web.default.svc.cluster.local", "A"),
    ("plain.default.svc.cluster.local", "SRV"),
    ("20.0.96.10.in-addr.arpa", "A"),
    ("away.default.svc.cluster.local", "SRV"),
    ("away.default.svc.cluster.local", "TXT"),
    ("cluster.local", "A"),
    ("svc.cluster.local", "A"),
    ("pod.cluster.local", "A"),
    ("default.svc.cluster.local", "A"),
    ("empty.svc.cluster.local", "A"),
    ("default.pod.cluster.local", "A"),
    ("dns-version.cluster.local", "A"),
    ("10-244-9-9.default.pod.cluster.local", "AAAA"),
    ("dns.cluster.local", "A"),
]

MISSING = [
    ("nope.default.svc.cluster.local", "A"),
    ("web.nope.svc.cluster.local", "A"),
    ("nope.svc.cluster.local", "A"),
    ("nope.pod.cluster.local", "A"),
    ("a.b.c.d.web.default.svc.cluster.local", "A"),
    ("_nope._tcp.web.default.svc.cluster.local", "SRV"),
    ("_http._udp.web.default.svc.cluster.local", "SRV"),
    ("idle.default.svc.cluster.local", "A"),
    ("db-9.db.default.svc.cluster.local", "A"),
    ("10-244-1-9.idle.default.svc.cluster.local", "A"),
    ("_http._tcp.away.default.svc.cluster.local", "SRV"),
    ("10-244-9.default.pod.cluster.local", "A"),
    ("10-244-9-9.nope.pod.cluster.local", "A"),
    ("web.default.cluster.local", "A"),
]

OUTSIDE = ["example.com", "", "notcluster.local", "9.9.9.9.in-addr.arpa", "5.1.244.10.in-addr.arpa"]


@pytest.fixture
def zone() -> Zone:
    """Serve the tests' cluster."""
    return Zone(builders.cluster())


@pytest.mark.parametrize(("name", "qtype", "records"), ANSWERS)
def test_name_has_records(zone: Zone, name: str, qtype: str, records: list[str]) -> None:
    """The records of the specification, version 1.1.0."""
    answer = zone.answer(name, qtype)
    assert answer is not None
    assert answer.rcode is Rcode.NOERROR
    found = [f"{record.type} {record.data}" for record in answer.records]
    assert found[: len(records)] == records
    assert {record.name for record in answer.records} == {name}
    assert answer.authority == ()


@pytest.mark.parametrize(("name", "qtype"), EMPTY)
def test_name_without_that_type_is_no_error(zone: Zone, name: str, qtype: str) -> None:
    """A name that exists gets NOERROR, no records and the SOA: never NXDOMAIN for one family."""
    answer = zone.answer(name, qtype)
    assert answer is not None
    assert (answer.rcode, answer.records) == (Rcode.NOERROR, ())
    assert [record.type for record in answer.authority] == ["SOA"]


@pytest.mark.parametrize(("name", "qtype"), MISSING)
def test_unknown_name_does_not_exist(zone: Zone, name: str, qtype: str) -> None:
    """What names nothing gets NXDOMAIN and the SOA; a headless Service with nothing ready is such a name."""
    answer = zone.answer(name, qtype)
    assert answer is not None
    assert (answer.rcode, answer.records) == (Rcode.NXDOMAIN, ())
    assert [record.type for record in answer.authority] == ["SOA"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_name_of_somebody_else_is_not_ours(zone: Zone, name: str) -> None:
    """Names outside the zone, and addresses that are nobody's, are for somebody else to answer."""
    assert zone.answer(name, "A") is None


def test_srv_brings_the_targets_addresses(zone: Zone) -> None:
    """The additional section saves the second query."""
    answer = zone.answer("_http._tcp.db.default.svc.cluster.local", "SRV")
    assert answer is not None
    assert [f"{r.name.split('.')[0]} {r.type} {r.data}" for r in answer.additional] == [
        "db-0 A 10.244.1.7",
        "db-1 A 10.244.2.7",
        "db-0 AAAA fd00:244::7",
    ]


def test_cluster_ip_resolves_without_endpoints(zone: Zone) -> None:
    """A Service with a cluster IP has its record whether or not anybody is behind it."""
    answer = zone.answer("plain.default.svc.cluster.local", "A")
    assert answer is not None
    assert len(answer.records) == 1
