"""Connections that carry more than one request: the request followed is told apart from those beside it."""

import socket
import threading

from netpod.ip import host_port
from netpod.linux import netns
from netpod.trace import live, render, run
from netpod.trace.model import Trace, Verdict
from netpod.trace.run import Question
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
WEB0 = world.PATHS.netns_pod("worker", "default", "web-0")


def answered(trace: Trace) -> str:
    """The pod that says it answered."""
    return "pod default/" + trace.answer.body.decode().split()[0].removeprefix("pod=")


def ask(sock: socket.socket) -> str:
    """Send a request on an open connection; the pod that answered."""
    sock.sendall(REQUEST)
    got = b""
    while b"\n" not in got.partition(b"pod=")[2]:
        got += sock.recv(4096)
    return got.partition(b"pod=")[2].decode().split()[0]


def test_a_later_request_on_one_connection_has_its_own_leg_behind_the_ingress(
    lab: Lab, mode: str
) -> None:
    """Three requests, one connection to the ingress: the pod named is the third's, and so are times and connections."""
    for _ in range(4):
        trace = run.trace(
            world.PATHS, Question(target="http://example.com/", nth=3, timeout=5.0), lab.objects
        )
        text = render.to_text(trace, verbose=True)
        assert {s.verdict for s in trace.steps} == {Verdict.DELIVERED}, text
        assert "followed is request 3" in trace.steps[0].sentence
        client, upstream = trace.legs
        asked = [w for w in client.walks if client.forward(w) and w.packet.payload]
        assert len(asked) == 3
        assert [trace.id.encode() in w.packet.payload for w in asked] == [False, False, True]
        # What came before had connections of its own; this one begins after the third was asked.
        assert upstream.walks[0].sightings[0].time_ns > asked[2].sightings[0].time_ns
        assert trace.steps[3].time_ns == asked[2].sightings[-1].time_ns
        assert trace.steps[6].facts["pod"] == answered(trace), text
        home = [h for h in trace.steps[7].hops if h.netns == world.PATHS.netns_outside]
        assert home[0].start_ns > asked[2].sightings[0].time_ns


def test_a_later_request_to_a_service_stays_with_the_endpoint_of_the_first(
    lab: Lab, mode: str
) -> None:
    """kube-proxy chose once, by rules that are shown; the answer told is the last one's."""
    objects = lab.make(lab.plan.web[1:])  # the lab's bridges send nothing back where it came from
    lab.program(objects)
    question = Question(
        target=host_port(lab.plan.web_ip, 80), source="pod/web-0", nth=2, timeout=5.0
    )
    trace = run.trace(world.PATHS, question, objects)
    text = render.to_text(trace, verbose=True)
    assert trace.verdict is Verdict.DELIVERED, text
    container = next(s for s in trace.steps if s.name == "container")
    assert container.facts["pod"] == answered(trace), text
    proxy = next(s for s in trace.steps if s.name == "kube-proxy")
    assert any("DNAT" in r.text or "dnat to" in r.text for r in proxy.hops[0].rules), text
    (leg,) = trace.legs
    answers = [w for w in leg.walks if w.packet.length and not leg.forward(w)]
    back = next(s for s in trace.steps if s.name == "the way back")
    assert back.hops[0].start_ns >= answers[1].sightings[0].time_ns


def test_a_connection_that_was_open_before_is_followed_live(lab: Lab, mode: str) -> None:
    """No SYN, no rule of NAT any more: the entry that was there proves the rewrite."""
    objects = lab.make(lab.plan.web[1:])
    lab.program(objects)
    with netns.socket_in(WEB0, lab.plan.family.af, socket.SOCK_STREAM, 0) as sock:
        sock.settimeout(5)
        sock.connect((lab.plan.web_ip, 80))
        pod = ask(sock)
        own, stop = sock.getsockname()[1], threading.Event()

        def more() -> None:
            while not stop.wait(0.6):
                ask(sock)

        thread = threading.Thread(target=more)
        thread.start()
        try:
            (trace,) = live.follow(
                world.PATHS, objects, "svc/example-service", "default", count=1, limit=10.0
            )
        finally:
            stop.set()
            thread.join()
    text = render.to_text(trace)
    assert trace.verdict is Verdict.DELIVERED, text
    assert "on its open connection" in trace.steps[0].sentence
    assert str(own) in trace.steps[0].sentence
    proxy = next(s for s in trace.steps if s.name == "kube-proxy")
    assert proxy.hops[0].nat is not None
    assert proxy.hops[0].nat.conntrack is not None
    assert next(s for s in trace.steps if s.name == "container").facts["pod"].endswith(pod)
