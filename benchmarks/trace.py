"""What a trace costs, and whether it stays whole among noise.

    python -P benchmarks/trace.py [--cluster NAME] [--traces 100] [--noise 3]

Run as root in private namespaces, e.g. `unshare --net --mount --pid --fork --mount-proc`, with a cluster up
(`netpod demo`). Prints one line per number; compares each with its target.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from netpod.client.blocking import BlockingClient
from netpod.linux import process
from netpod.paths import Paths
from netpod.trace import awaitable, listen, run
from netpod.trace.model import Role, Trace, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.probe import Probe
from netpod.trace.run import Question
from netpod.trace.topology import Place
from netpod.trace.world import observe_world

URL = "http://example.com/"
ARMING = 0.1
"""Seconds from one request to the next, about what a trace takes to arm."""


def main() -> int:
    """Measure everything; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cluster", default="netpod")
    parser.add_argument("--traces", type=int, default=100)
    parser.add_argument("--noise", type=int, default=3)
    options = parser.parse_args()
    paths = Paths(options.cluster)
    objects = awaitable.observe_objects(BlockingClient(paths.api_socket))
    missed = 0

    def say(name: str, value: float, unit: str, target: float, *, most: bool = True) -> None:
        nonlocal missed
        good = value <= target if most else value >= target
        missed += not good
        sign = "≤" if most else "≥"
        print(
            f"{name:<52} {value:10.2f} {unit:<8} target {sign} {target:g}  {'ok' if good else 'MISSED'}"
        )

    def command() -> float:
        began = time.monotonic()
        process.run(
            [
                sys.executable,
                "-c",
                "from netpod_cli.main import entry; entry()",
                "--cluster",
                options.cluster,
                "trace",
                URL,
            ]
        )
        return (time.monotonic() - began) * 1000

    say(
        "netpod trace, Enter to output, p50 of 7",
        statistics.median(command() for _ in range(7)),
        "ms",
        700,
    )

    question = Question(target=URL)
    bare, traced, timed = list[float](), list[float](), list[float]()
    for _ in range(40):
        # Arming takes a while in which proxy, pods and caches rest: a request without it must find them as cold.
        threading.Event().wait(ARMING)
        bare.append(_bare(paths, objects, question))
        traced.append(run.trace(paths, question, objects).duration_ns / 1e6)
        followed = run.follow(paths, question, objects, timing=True)
        timed.append(followed.trace.duration_ns / 1e6)
    base = statistics.median(bare)
    print(f"{'a bare request, p50':<52} {base:10.2f} ms")
    say("added by a trace, p50", statistics.median(traced) - base, "ms", 2)
    say("added by --timing, p50", statistics.median(timed) - base, "ms", 0.7)

    with _noise(paths, options.noise) as sent:
        found = [run.trace(paths, question, objects) for _ in range(options.traces)]
    print(f"{'requests of noisy clients meanwhile':<52} {len(sent):10}")
    whole = sum(_whole(trace) for trace in found)
    for trace in found:
        if not _whole(trace):
            lost = [f"{r.source} {r.lost}" for r in trace.sources if r.lost]
            print(f"  not whole: {trace.verdict}: {trace.sentence} {lost}")
    say(
        "traces with every step and the whole rule path",
        whole,
        "traces",
        options.traces,
        most=False,
    )
    say(
        "rule events lost",
        sum(r.lost for t in found for r in t.sources if r.source == "nftrace"),
        "events",
        0,
    )
    for fast, wanted in ((False, 20_000), (True, 100_000)):
        rate, lost = _capture(paths, objects, wanted, fast=fast)
        word = "with --high-rate" if fast else "by default"
        say(f"frames written a second {word}", rate, "frames", wanted * 0.98, most=False)
        say(f"frames lost {word}", lost, "frames", 0)
    return 1 if missed else 0


def _bare(paths: Paths, objects: ClusterObjects, question: Question) -> float:
    place = Place(netns=paths.netns_outside, role=Role.OUTSIDE)
    probe = Probe(run.request_of(question, objects, place))
    began = time.perf_counter()
    probe.send()
    took = (time.perf_counter() - began) * 1000
    probe.close()
    return took


def _whole(trace: Trace) -> bool:
    """Whether nothing is missing: all steps, and on both legs the rule that chose the endpoint."""
    chosen = [
        h for h in trace.hops if any("DNAT" in r.text or "dnat to" in r.text for r in h.rules)
    ]
    steps = all(s.verdict is Verdict.DELIVERED for s in trace.steps)
    return steps and len(chosen) >= 3


@contextmanager
def _noise(paths: Paths, clients: int) -> Iterator[list[int]]:
    """Clients outside that ask the same URL as fast as they can."""
    stop, sent = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            done = process.run(
                ["curl", "-s", "-o", "/dev/null", "--resolve", "example.com:80:198.51.100.1",
                 *[URL] * 50], netns=paths.netns_outside, timeout=60,
            )  # fmt: skip
            assert done is not None, "curl answers"
            sent.extend([1] * 50)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()


_SENDER = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("203.0.113.1", 0)); sock.connect(("203.0.113.10", 9))
rate, began, sent = float(sys.argv[1]), time.monotonic(), 0
while (passed := time.monotonic() - began) < 3:
    for _ in range(int(passed * rate) - sent):
        try:
            sock.send(b"x" * 64)
            sent += 1
        except OSError:
            pass  # the answer to an earlier one: nobody listens
print(sent)
"""


def _capture(paths: Paths, objects: ClusterObjects, rate: int, *, fast: bool) -> tuple[float, int]:
    """Send small datagrams for three seconds at a rate, into a file, and count what was written and lost.

    Each is seen once, leaving the edge by outside0.
    """
    place = Place(netns=paths.netns_edge, role=Role.EDGE)
    program = listen.compile_expression(["udp", "and", "dst", "port", "9"])
    sent: list[int] = []

    def send() -> None:
        argv = [sys.executable, "-c", _SENDER, str(rate)]
        sent.append(int(process.run(argv, netns=paths.netns_edge, timeout=60).stdout))

    thread = threading.Thread(target=send)
    with open(os.devnull, "wb") as file:
        ended: list[float] = []

        def stop() -> bool:
            if not thread.ident:
                thread.start()  # asked first when all listens
            elif not thread.is_alive() and not ended:
                ended.append(time.monotonic())
            return bool(ended) and time.monotonic() > ended[0] + 0.5

        written, lost = listen.capture(
            [place], observe_world(paths, objects), file, program=program, stop=stop, fast=fast
        )
    thread.join()
    return written / 3, max(lost, sent[0] - written)


if __name__ == "__main__":
    sys.exit(main())
