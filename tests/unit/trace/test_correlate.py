"""Frames become walks, walks become legs, and the proxy's two connections are joined or not."""

from dataclasses import replace

from netpod.trace import correlate, evaluate
from netpod.trace.accessline import AccessLine
from netpod.trace.hop import Witness
from netpod.trace.model import Address, Confidence, CtEntry, Flow, Leg
from netpod.trace.sources.frames import Frame
from netpod.trace.topology import Link, Topology
from tests.unit.trace.builders import ACK, PSH_ACK, RST, SYN_ACK, A, B, C, frame, seen

NOTHING = Topology(links={})
CLIENT, VIP = Address(A, 40000), Address(B, 80)
POD, SERVICE, WEB = Address(C, 61000), Address(B, 8), Address(A, 8080)
RESERVED = (61000, 61999)


def legs_of(frames: list[Frame]) -> list[Leg]:
    """The legs of some frames."""
    return correlate.build_legs(correlate.build_walks(frames, NOTHING, 0))


def upstream(legs: list[Leg], access: AccessLine | None = None) -> Leg | None:
    """The upstream leg of a request with trace id `id-1`."""
    client = correlate.find_client_leg(legs, Flow(CLIENT, VIP))
    return correlate.find_upstream_leg(
        legs, client, trace_id="id-1", access=access, reserved=RESERVED
    )


def access_line(source: Address) -> AccessLine:
    """An access line that names a source."""
    return AccessLine(
        trace_id="id-1", client=None, ingress="d/i", rule="r", service="d/s:80", backend="b",
        source=source, server=None, status=200, ended="", raw="{}",
    )  # fmt: skip


def test_one_packet_is_one_walk_across_nat() -> None:
    """Three sightings with other addresses, in any order of reading."""
    frames = [
        seen("edge", "eth0", "out", 30, frame(CLIENT, Address(C, 30080), ttl=63)),
        seen("outside", "eth0", "out", 10, frame(CLIENT, VIP)),
        seen("edge", "ext", "in", 20, frame(CLIENT, VIP)),
    ]
    (walk,) = correlate.build_walks(frames, NOTHING, 5)
    assert [s.time_ns for s in walk.sightings] == [5, 15, 25]
    assert walk.parents == (None, 0, 1)
    (leg,) = correlate.build_legs([walk])
    assert leg.flows == (Flow(CLIENT, VIP), Flow(CLIENT, Address(C, 30080)))


def test_flooded_packet_is_a_tree_and_its_path_ends_where_it_was_meant() -> None:
    """A bridge that does not know the port sends to all; only the pod addressed takes the frame."""
    links = [
        Link(netns="node", index=2, name="v1", peer=9, master=5),
        Link(netns="node", index=3, name="v2", peer=8, master=5),
        Link(netns="one", index=9, name="eth0", peer=2),
        Link(netns="two", index=8, name="eth0", peer=3),
    ]
    topology = Topology(links={(link.netns, link.name): link for link in links})
    data = frame(CLIENT, VIP)
    frames = [
        seen("node", "cni0", "out", 1, data),
        seen("node", "v1", "out", 2, data),
        seen("one", "eth0", "in", 3, data),
        seen("node", "v2", "out", 4, data),
        seen("two", "eth0", "in", 5, data, for_us=False),
    ]
    (walk,) = correlate.build_walks(frames, topology, 0)
    assert walk.parents == (None, 0, 1, 0, 3)
    path = [f"{s.tap.netns}/{s.tap.interface}" for s in walk.path()]
    assert path == ["node/cni0", "node/v1", "one/eth0"]


def test_repeated_packet_begins_a_new_walk() -> None:
    """A SYN-ACK sent twice has the same headers, IP id 0 included."""
    data = frame(VIP, CLIENT, flags=SYN_ACK, ip_id=0)
    frames = [seen("pod", "eth0", "out", t, data) for t in (1, 1000)]
    assert len(correlate.build_walks(frames, NOTHING, 0)) == 2


def test_trace_id_in_the_payload_proves_the_join() -> None:
    """Among two connections of the proxy only one carries the id; an answer that quotes it proves nothing."""
    other = Address(C, 50000)
    frames = [
        seen("out", "eth0", "out", 1, frame(CLIENT, VIP, sequence=1)),
        seen("in", "eth0", "out", 2, frame(other, SERVICE, sequence=2)),
        seen("in", "eth0", "out", 3, frame(POD, SERVICE, sequence=3)),
        seen("in", "eth0", "out", 4, frame(POD, SERVICE, flags=PSH_ACK, payload=b"x: id-1")),
        seen("in", "eth0", "in", 5, frame(SERVICE, other, flags=PSH_ACK, payload=b"HTTP id-1")),
    ]
    leg = upstream(legs_of(frames))
    assert leg is not None
    assert leg.flows[0].source == POD
    assert leg.evidence[0].confidence is Confidence.PROVEN


def test_refused_connection_is_joined_by_declaration() -> None:
    """A SYN that was dropped carries no payload: the reserved port and the access line say whose it was."""
    frames = [
        seen("out", "eth0", "out", 1, frame(CLIENT, VIP, sequence=1)),
        seen("in", "eth0", "out", 3, frame(POD, SERVICE, sequence=3)),
    ]
    leg = upstream(legs_of(frames), access_line(POD))
    assert leg is not None
    assert {e.confidence for e in leg.evidence} == {Confidence.DECLARED}
    assert upstream(legs_of(frames)) is not None


def test_ambiguous_connections_are_not_joined() -> None:
    """Two connections from reserved ports to different places, no id, no access line: no guess."""
    frames = [
        seen("in", "eth0", "out", 1, frame(POD, SERVICE, sequence=1)),
        seen("in", "eth0", "out", 2, frame(Address(C, 61001), WEB, sequence=2)),
    ]
    assert upstream(legs_of(frames)) is None
    assert upstream(legs_of(frames), access_line(POD)) is not None


def test_connection_from_another_port_is_not_joined() -> None:
    """Time alone joins nothing."""
    frames = [seen("in", "eth0", "out", 1, frame(Address(C, 50000), SERVICE))]
    assert upstream(legs_of(frames)) is None


def test_rewrite_without_conntrack_entry_is_not_proven() -> None:
    """The wire shows other addresses; only an entry with just these tuples proves why."""
    frames = [
        seen("edge", "ext", "in", 20, frame(CLIENT, VIP)),
        seen("edge", "eth0", "out", 30, frame(CLIENT, WEB, ttl=63)),
    ]
    (walk,) = correlate.build_walks(frames, NOTHING, 0)
    entry = CtEntry(netns="edge", id=1, original=Flow(CLIENT, VIP), reply=Flow(WEB, CLIENT))
    wrong = replace(entry, reply=Flow(SERVICE, CLIENT))
    for entries, proof in (((entry,), entry), ((wrong,), None), ((), None)):
        (hop,) = Witness(rules={}, entries=entries).hops(walk)
        assert hop.nat is not None
        assert hop.nat.conntrack == proof
        assert hop.nat.kind == "DNAT"


def test_a_syn_that_met_an_old_connection_is_no_opener_when_the_next_was_accepted() -> None:
    """Masquerading may give a port on which the pod's last connection is in TIME_WAIT: it answers ACK, not SYN ACK.

    The client resets that and tries again; NAT then chooses anew. What the kernel did was seen among busy clients.
    """
    old, new = Address(B, 48116), Address(B, 2292)
    frames = [
        seen("node", "eth0", "in", 1, frame(CLIENT, VIP)),
        seen("pod", "eth0", "in", 2, frame(old, WEB)),
        seen("pod", "eth0", "out", 3, frame(WEB, old, flags=ACK, sequence=77, ip_id=0)),
        seen("node", "eth0", "out", 4, frame(VIP, CLIENT, flags=ACK, sequence=77, ip_id=0)),
        seen("node", "eth0", "in", 5, frame(CLIENT, VIP, flags=RST, ip_id=0)),
        seen("node", "eth0", "in", 6, frame(CLIENT, VIP, ip_id=8)),
        seen("pod", "eth0", "in", 7, frame(new, WEB, ip_id=8)),
        seen("pod", "eth0", "out", 8, frame(WEB, new, flags=SYN_ACK, sequence=78, ip_id=0)),
        seen("node", "eth0", "out", 9, frame(VIP, CLIENT, flags=SYN_ACK, sequence=78, ip_id=0)),
    ]
    (leg,) = legs_of(frames)
    assert leg.opener is not None
    assert leg.opener.path()[-1].packet.flow == Flow(new, WEB)
    assert set(leg.flows) == {Flow(CLIENT, VIP), Flow(old, WEB), Flow(new, WEB)}
    entries = [
        CtEntry(
            netns="node", id=5, original=Flow(CLIENT, VIP), reply=Flow(WEB, port), events=("new",)
        )
        for port in (old, new)
    ]
    # An entry that follows another at the same place in memory has the same id.
    kept = evaluate.entries_of(entries, (leg,))
    assert [e.reply.destination for e in kept] == [old, new]
