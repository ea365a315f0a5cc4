"""A trace among others' traffic: complete, nothing lost, and about its own request only.

Four traces in each mode; NETPOD_WHOLE=1 makes a hundred.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from netpod.linux import netns
from netpod.trace import render, run
from netpod.trace.model import Source, Verdict
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

CLIENTS = 3
TRACES = 100 if os.environ.get("NETPOD_WHOLE") else 4


@contextmanager
def noise() -> Iterator[list[int]]:
    """Clients outside that ask for the same URL, each as fast as it gets answers."""
    stop, sent = threading.Event(), list[int]()

    def ask() -> None:
        while not stop.is_set():
            with netns.socket_in(
                world.PATHS.netns_outside, socket.AF_INET, socket.SOCK_STREAM, 0
            ) as sock:
                sock.settimeout(5)
                sock.connect((world.VIP, 80))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
                while sock.recv(65536):
                    pass
                sent.append(1)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_traces_under_noise_are_whole_and_right(lab: Lab, mode: str) -> None:
    """Every step, both choices of an endpoint with their rules, no event lost, and the pod that really answered."""
    question = run.Question(target="http://example.com/", timeout=5.0)
    with noise() as sent:
        found = [run.trace(world.PATHS, question, lab.objects) for _ in range(TRACES)]
    assert len(sent) > TRACES
    for trace in found:
        text = render.to_text(trace, verbose=True)
        assert {s.verdict for s in trace.steps} == {Verdict.DELIVERED}, text
        answered = trace.answer.body.decode().split()[0].removeprefix("pod=")
        assert trace.steps[6].facts["pod"] == f"pod default/{answered}", text
        upstream = trace.steps[5].hops[0]
        chosen = [r for r in upstream.rules if "DNAT" in r.text or "dnat to" in r.text]
        assert len(chosen) == 1, text
        assert str(upstream.after.destination) in chosen[0].text, text
        entered = [h for h in trace.steps[2].hops if h.nat is not None]
        assert any("DNAT" in r.text or "dnat to" in r.text for r in entered[0].rules), text
        lost = {r.source: r.lost for r in trace.sources}
        assert lost[Source.NFTRACE] == 0, text
