"""Many requests at once, each followed: who reaches whom, in the time of a few.

They share the sockets, the rules and one quiet end, and are told apart by their source ports, a range of their own.
What the ingress proxy does with a request is not joined here: for that a request is followed alone.
"""

import errno
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from netpod.errors import KernelError
from netpod.trace import arming, correlate, evaluate, pieces, session
from netpod.trace.clues import Examine
from netpod.trace.ears import Ears
from netpod.trace.links import observe_links
from netpod.trace.model import Answer, CtEntry, Flow, Leg, Trace, Walk
from netpod.trace.packet import header_key
from netpod.trace.postmortem import Inspector
from netpod.trace.probe import Probe
from netpod.trace.record import Heard, Record
from netpod.trace.request import TraceRequest
from netpod.trace.rules import observe_rules
from netpod.trace.sources import ipvsconn, skbdrop
from netpod.trace.topology import World

LOWEST, PORTS = 10000, 20000
"""Source ports of batches: below node ports (30000) and the kernel's own choice (32768)."""
AT_ONCE = 32
LARGEST = 1000
"""Requests of one batch: some 70 rule events each must fit the buffers."""


def follow_all(requests: Sequence[TraceRequest], world: World) -> list[Trace]:
    """Send some requests at once and follow each.

    Args:
        requests: What to send, at most LARGEST.
        world: Where they may go; `client` is replaced by each request's own namespace.

    Returns:
        One trace per request, in their order.

    Raises:
        KernelError: a namespace has no route, or listening or arming was refused.
    """
    assert len(requests) <= LARGEST, "a batch's rule events must fit the buffers"
    if not requests:
        return []
    with ExitStack() as stack:
        stack.enter_context(session.recorded(world))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=AT_ONCE))
        low = LOWEST + secrets.randbelow(PORTS - 2 * len(requests))
        records = _send_all(requests, world, low, pool)
        topology = observe_links([*records[0].crossed, *{r.netns for r in requests}])
        books = observe_rules(records[0].ruled, pool)
        virtual_servers = ipvsconn.observe(world.ruled())
        for record in records:
            record.virtual = virtual_servers
        shares = _Shares(records[0], correlate.build_walks(records[0].frames, topology, 0))
        examine = Examine(inspect=Inspector(world), name_function=skbdrop.name_function)
        return [
            evaluate.evaluate(
                request,
                replace(world, client=request.netns),
                shares.of(request, record),
                books,
                topology,
                examine,
            )
            for request, record in zip(requests, records, strict=True)
        ]


def _send_all(
    requests: Sequence[TraceRequest], world: World, low: int, pool: ThreadPoolExecutor
) -> list[Record]:
    """Send, and hear all of it: frames, events and entries of all requests are in each of the records."""
    with ExitStack() as stack:
        probes: list[Probe] = []
        port = low
        for request in requests:
            probe, port = _bound(request, port)
            stack.callback(probe.close)
            probes.append(probe)
        ears = Ears(requests[0], world, (), pool, everything=True)
        stack.callback(ears.close)
        aim = arming.ports(low, port - 1)

        def send(probe: Probe) -> tuple[int, Answer, int]:
            began = time.time_ns()
            answer = probe.send()
            ended = time.time_ns()
            probe.close()
            return began, answer, ended

        with session.armed(world.ruled(), aim, pool, legacy=ears.legacy):
            heard = Heard()
            sending = [pool.submit(send, probe) for probe in probes]
            while not all(item.done() for item in sending):
                # Read meanwhile: nobody asks how long these take, and buffers must not run over.
                ears.wait(session.QUIET)
                ears.read_into(heard)
            sent = [item.result() for item in sending]
            while ears.wait(session.QUIET):
                ears.read_into(heard)
            ears.finish(heard)
    return [
        Record(
            answer=answer,
            flow=Flow(probe.source, probe.destination),
            started_at_ns=began,
            ended_at_ns=ended,
            has_log=False,
            wants_log=False,
            drop_note=ears.drop_note,
            frames=heard.frames,
            events=heard.events,
            entries=heard.entries,
            drops=heard.drops,
            frames_lost=heard.frames_lost,
            events_lost=heard.events_lost,
            entries_lost=heard.entries_lost,
        )
        for probe, (began, answer, ended) in zip(probes, sent, strict=True)
    ]


def _bound(request: TraceRequest, port: int) -> tuple[Probe, int]:
    """A probe from the first port that nobody has, and the next one; connections of an earlier batch still close."""
    while True:
        try:
            return Probe(request, port), port + 1
        except KernelError as error:
            if error.errno != errno.EADDRINUSE or port >= LOWEST + PORTS:
                raise
            port += 1


class _Shares:
    """Which frames, events and entries of a batch belong to which request."""

    def __init__(self, whole: Record, walks: Sequence[Walk]) -> None:
        self._whole = whole
        self._entries: dict[Flow, list[CtEntry]] = {}
        for entry in whole.entries:
            self._entries.setdefault(entry.original, []).append(entry)
        self._legs: dict[Flow, list[Leg]] = {}
        for leg in correlate.build_legs(walks):
            for seen in {s.packet.flow for w in leg.walks for s in w.sightings}:
                self._legs.setdefault(seen, []).append(leg)
        self._frames: dict[Flow, list[int]] = {}
        for index, flow in enumerate(pieces.flows(whole.frames, errors=True)):
            if flow is not None:
                self._frames.setdefault(flow, []).append(index)

    def of(self, request: TraceRequest, record: Record) -> Record:
        """Return a request's record with nothing in it but its own."""
        whole, mine = self._whole, {record.flow}
        keys = set()
        for _ in range(2):
            # A node's own packets are seen rewritten only: conntrack says how.
            mine |= {e.reply.reversed() for f in mine for e in self._entries.get(f, ())}
            for flow in list(mine):
                for leg in self._legs.get(flow, ()):
                    for walk in leg.walks:
                        keys.add(header_key(walk.packet))
                        mine |= {s.packet.flow for s in walk.sightings}
        mine |= {flow.reversed() for flow in mine}
        indexes = sorted({i for flow in mine for i in self._frames.get(flow, ())})
        return replace(
            record,
            frames=[whole.frames[i] for i in indexes],
            events=[e for e in whole.events if e.packet in keys or e.flow in mine],
            entries=[e for flow in mine for e in self._entries.get(flow, ())],
            drops=[d for d in whole.drops if d.packet in keys or d.flow in mine],
        )
