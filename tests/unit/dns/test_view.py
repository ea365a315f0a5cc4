"""The view follows changes, and counts only those that an answer could show."""

from dataclasses import replace

from netpod.api.meta import Key, key_of
from netpod.dns.records import Zone
from tests.unit.dns import builders


def test_deleted_service_is_forgotten_by_name_and_address() -> None:
    """After the deletion neither the name nor the address is known."""
    view = builders.cluster()
    view.set_service(Key("default", "web"), None)
    zone = Zone(view)
    answer = zone.answer("web.default.svc.cluster.local", "A")
    assert answer is not None
    assert answer.rcode == "NXDOMAIN"
    assert zone.answer("20.0.96.10.in-addr.arpa", "PTR") is None


def test_endpoint_that_turns_ready_appears() -> None:
    """A headless Service comes into being with its first ready endpoint, and goes with the last."""
    view = builders.cluster()
    zone = Zone(view)
    unready = builders.piece("idle", ("10.244.1.9", None, False))
    ready = builders.piece("idle", ("10.244.1.9", None, True))
    name = "idle.default.svc.cluster.local"

    def rcode() -> str:
        answer = zone.answer(name, "A")
        assert answer is not None
        return answer.rcode

    view.set_slice(unready, ready)
    assert rcode() == "NOERROR"
    assert zone.answer("9.1.244.10.in-addr.arpa", "PTR") is not None
    view.set_slice(ready, None)
    assert rcode() == "NXDOMAIN"
    assert zone.answer("9.1.244.10.in-addr.arpa", "PTR") is None


def test_revision_stays_when_no_answer_changes() -> None:
    """A change of status or labels empties no cache."""
    view = builders.cluster()
    before = view.revision
    web = builders.service("web", "10.96.0.20", ports=(("http", 80), ("https", 443)))
    view.set_service(key_of(web), web)
    view.set_slice(None, builders.piece("web", ("10.244.1.5", None, True)))
    view.set_namespace("default", True)
    assert view.revision == before
    moved = replace(web, spec=replace(web.spec, cluster_ips=("10.96.0.99",)))
    view.set_service(key_of(moved), moved)
    assert view.revision == before + 1


def test_slice_that_changes_its_service_leaves_the_old_one() -> None:
    """The label decides whose endpoints a slice holds."""
    view = builders.cluster()
    old = builders.piece("web", ("10.244.1.5", None, True))
    new = replace(
        old,
        metadata=replace(old.metadata, labels={"kubernetes.io/service-name": "plain"}),
    )
    view.set_slice(old, new)
    assert view.endpoints(Key("default", "web")) == ()
    assert [e.address for e in view.endpoints(Key("default", "plain"))] == ["10.244.1.5"]
