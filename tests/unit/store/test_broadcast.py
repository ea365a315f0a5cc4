"""What a broadcast vouches for, when revisions are named before their events come."""

from netpod.store.broadcast import Broadcast
from netpod.store.store import Event, EventType, KeyValue, Revision

NAMESPACES, PODS = ["/registry/namespaces/"], ["/registry/pods/"]


def test_who_read_at_a_named_revision_may_not_have_seen_older_events() -> None:
    """An event that comes late touches what was read before it came, whatever revision the reader knew of."""
    broadcast = Broadcast(Revision(5))
    assert broadcast.untouched(NAMESPACES, Revision(9))
    kv = KeyValue("/registry/namespaces/x", b"", Revision(6), Revision(6))
    broadcast.publish([Event(EventType.PUT, kv, None)], named=Revision(9))
    assert not broadcast.untouched(NAMESPACES, Revision(9))
    assert broadcast.untouched(NAMESPACES, Revision(10))
    assert broadcast.untouched(PODS, Revision(9))


def test_nothing_of_before_a_restart_is_vouched_for() -> None:
    """Neither when it went back, nor when revisions have come as far again."""
    broadcast = Broadcast(Revision(5))
    broadcast.restart(Revision(3))
    assert not broadcast.untouched(PODS, Revision(3))
    assert not broadcast.untouched(PODS, Revision(4))
    assert broadcast.untouched(PODS, Revision(5))
