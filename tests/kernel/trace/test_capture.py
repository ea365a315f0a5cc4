"""Frames from the shared ring: every one of them, at the right link and in the right words for tshark."""

import io
import socket
from pathlib import Path

from netpod.linux import netns, process
from netpod.trace import listen
from netpod.trace.world import observe_world
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

COUNT = 20_000


def test_ring_loses_nothing_and_tshark_reads_it(lab: Lab, tmp_path: Path) -> None:
    """Datagrams as fast as one socket sends them are all in the file, once per link, in both directions of a router."""
    places = listen.places(world.PATHS, lab.objects, "edge", "default")
    program = listen.compile_expression(["udp", "and", "dst", "port", "9"])
    turns: list[int] = []

    def stop() -> bool:
        turns.append(1)
        if len(turns) == 1:
            with netns.socket_in(
                world.PATHS.netns_outside, socket.AF_INET, socket.SOCK_DGRAM, 0
            ) as sock:
                for number in range(COUNT):
                    sock.sendto(number.to_bytes(4, "big") * 16, ("172.18.0.3", 9))
        return len(turns) > 8

    file = tmp_path / "fast.pcapng"
    with file.open("wb") as out:
        written, lost = listen.capture(
            places,
            observe_world(world.PATHS, lab.objects),
            out,
            program=program,
            stop=stop,
            fast=True,
        )
    assert (written, lost) == (2 * COUNT, 0)
    argv = ["tshark", "-r", str(file), "-T", "fields", "-e", "frame.interface_name", "-e", "data"]
    rows = [line.split("\t") for line in process.run(argv, timeout=60).stdout.decode().splitlines()]
    edge = world.PATHS.netns_edge
    for link in ("outside", "eth0"):
        seen = [int(data[:8], 16) for name, data in rows if name == f"{edge}/{link}"]
        assert seen == list(range(COUNT))


def test_count_ends_a_fast_capture(lab: Lab) -> None:
    """No more frames than asked for."""
    places = listen.places(world.PATHS, lab.objects, "node/worker", "default")
    turns: list[int] = []

    def stop() -> bool:
        turns.append(1)
        process.run(
            ["ping", "-c", "2", "-i", "0.01", "-W", "1", "172.18.0.4"], netns=places[0].netns
        )
        return len(turns) > 20

    out = io.BytesIO()
    written, _ = listen.capture(
        places, observe_world(world.PATHS, lab.objects), out, stop=stop, count=3, fast=True
    )
    assert written == 3
