"""A trace among others' traffic: complete, nothing lost, and about its own request only.

Four traces in each mode; NETPOD_NOISE_TRACES=100 makes a hundred.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from netpod.linux import process
from netpod.trace import render, run
from netpod.trace.model import Source, Verdict
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

CLIENTS = 3
TRACES = int(os.environ.get("NETPOD_NOISE_TRACES", "4"))


_CLIENT = """
import socket, sys
while True:
    with socket.create_connection((sys.argv[1], 80), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: example.com\\r\\nConnection: close\\r\\n\\r\\n")
        while sock.recv(65536):
            pass
    print("x", flush=True)
"""


@contextmanager
def noise(folder: Path, vip: str) -> Iterator[Callable[[], int]]:
    """Clients outside that ask for the same URL, each as fast as it gets answers: processes of their own.

    Yields a function that says how many answers they have had.
    """
    files = [folder / f"client{number}" for number in range(CLIENTS)]
    pids: list[int] = []
    try:
        for path in files:
            with path.open("wb") as file:
                argv = [sys.executable, "-c", _CLIENT, vip]
                pids.append(
                    process.spawn(argv, netns=world.PATHS.netns_outside, stdout=file.fileno())
                )
        yield lambda: sum(path.stat().st_size // 2 for path in files)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_traces_under_noise_are_whole_and_right(lab: Lab, mode: str, tmp_path: Path) -> None:
    """Every step, both choices of an endpoint with their rules, no event lost, and the pod that really answered."""
    question = run.Question(target="http://example.com/", timeout=5.0)
    with noise(tmp_path, lab.plan.vip) as sent:
        found = [run.trace(world.PATHS, question, lab.objects) for _ in range(TRACES)]
        assert sent() > 10 * TRACES, "it was noisy"
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
        assert entered[0].nat is not None
        assert entered[0].nat.conntrack is not None, text
        lost = {r.source: r.lost for r in trace.sources}
        assert lost[Source.NFTRACE] == lost[Source.CAPTURE] == lost[Source.CONNTRACK] == 0, text
