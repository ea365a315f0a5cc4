"""Datagrams and echoes longer than a link: traced fragment by fragment, and joined."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netpod.linux import nft, process
from netpod.trace import render, run
from netpod.trace.model import Trace, Verdict
from netpod.trace.request import Kind
from netpod.trace.run import Question
from tests.kernel.trace import lab as world
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab
from tests.kernel.trace.plan import FOUR
from tests.kernel.trace.test_directions import udp_echo

WORKER2 = world.PATHS.netns_node("worker2")
UNDERLAY = world.PATHS.netns_underlay


@pytest.fixture(autouse=True)
def fresh(lab: Lab) -> None:
    """No pod remembers a small MTU on the way that another test made."""
    for node, name in (("worker", "web-0"), ("worker2", "web-1")):
        for family in ("-4", "-6"):
            pod = world.PATHS.netns_pod(node, "default", name)
            process.run(["ip", family, "route", "flush", "cache"], netns=pod)


def ask(lab: Lab, target: str, kind: Kind, size: int, *, whole: bool = False) -> Trace:
    """Trace from web-0, on the other node."""
    question = Question(
        target=target, source="pod/web-0", kind=kind, size=size, whole=whole, timeout=2.0
    )
    return run.trace(world.PATHS, question, lab.objects)


@pytest.mark.parametrize("size", [1473, 20_000, 60_000])
def test_an_echo_in_fragments_is_one_packet_all_the_way(lab: Lab, mode: str, size: int) -> None:
    """As many fragments at each interface as the length asks for, there and back."""
    trace = ask(lab, "pod/web-1", Kind.ICMP, size)
    text = render.to_text(trace, verbose=True)
    assert trace.verdict is Verdict.DELIVERED, text
    assert trace.answer.reason == f"echo reply, {size} bytes"
    # An IPv6 fragment has 40 + 8 bytes of headers, and its length is a multiple of 8.
    count = -(-(size + 8) // (1480 if lab.plan is FOUR else 1448))
    assert f"in {count} fragments" in trace.steps[0].sentence
    (leg,) = trace.legs
    assert len(leg.walks) == 2, text
    for walk in leg.walks:
        assert len(walk.sightings) >= 8
        # A bridge that asks iptables sees the packet that conntrack put together.
        assert {s.packet.fragments for s in walk.sightings} - {0} == {count}, text
        assert {(s.packet.whole, s.packet.length) for s in walk.sightings} == {(True, size)}, text


def test_a_datagram_in_fragments_meets_the_rules_once(lab: Lab, mode: str) -> None:
    """Where conntrack put it together its rules were met, by the packet whose first fragment was seen."""
    with udp_echo(9999, lab.plan.family):
        trace = ask(lab, lab.plan.far(9999), Kind.UDP, 20_000)
    text = render.to_text(trace, verbose=True)
    assert trace.verdict is Verdict.DELIVERED, text
    (leg,) = trace.legs
    there, back = leg.walks
    assert {s.packet.fragments for s in there.sightings} - {0} == {14}
    assert {s.packet.length for s in there.sightings} == {20_000}
    assert {s.packet.length for s in back.sightings} == {len(b"you said ") + 20_000}
    nodes = [h for s in trace.steps for h in s.hops if h.netns == WORKER2 and h.rules]
    assert nodes, text


def test_what_may_not_be_fragmented_names_the_mtu(lab: Lab, mode: str) -> None:
    """The client's own kernel refuses it, and says how much would go."""
    trace = ask(lab, "pod/web-1", Kind.ICMP, 60_000, whole=True)
    assert trace.verdict is Verdict.DROPPED, trace.sentence
    assert "MTU 1500" in trace.sentence
    assert trace.steps[0].facts["cause"] == "mtu"
    assert {s.verdict for s in trace.steps[1:]} == {Verdict.NOT_REACHED}


@contextmanager
def losing() -> Iterator[None]:
    """The switch between the nodes loses what begins 2,960 bytes into a packet."""
    rule = "ip frag-off & 0x1fff == 370 drop"
    hook = "type filter hook forward priority 0;"
    text = f"table bridge thief {{ chain forward {{ {hook} {rule}\n }}\n}}\n"
    nft.apply(UNDERLAY, text)
    try:
        yield
    finally:
        nft.apply(UNDERLAY, "delete table bridge thief")


@pytest.mark.parametrize("mode", modes.OLD, indirect=True)
def test_a_lost_fragment_is_missed_where_it_was_lost(lab: Lab, mode: str) -> None:
    """Of three fragments two come out of the switch; the node behind cannot put them together."""
    with losing():
        trace = ask(lab, "pod/web-1", Kind.ICMP, 4000)
    text = render.to_text(trace, verbose=True)
    assert trace.verdict is Verdict.DROPPED, text
    assert "lost fragments of it" in trace.sentence, text
    ended = next(s for s in trace.steps if s.verdict is Verdict.DROPPED)
    assert any("3 fragments at" in e.reference for e in ended.evidence), text
