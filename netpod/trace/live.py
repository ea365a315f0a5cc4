"""`netpod trace --live`: follow connections that others make to a Service or pod; nothing is sent.

Their first packets are traced (at most nftrace.DOOR_RATE a second), all their packets captured. A connection is told
when it has ended, or has been quiet for a while.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address

from netpod.api.meta import Key
from netpod.errors import NotFound, UsageError
from netpod.paths import Paths
from netpod.trace import correlate, evaluate, session, where
from netpod.trace.clues import Examine
from netpod.trace.ears import Ears
from netpod.trace.links import observe_links
from netpod.trace.model import Address, Answer, Flow, Leg, Trace, Verdict
from netpod.trace.objects import ClusterObjects, load_balancer_ips
from netpod.trace.packet import parse_frame
from netpod.trace.postmortem import Inspector
from netpod.trace.record import Record
from netpod.trace.request import Kind, TraceRequest
from netpod.trace.rules import observe_rules
from netpod.trace.sources import nftrace, skbdrop
from netpod.trace.topology import World, doors
from netpod.trace.world import observe_world

TURN, QUIET = 0.05, 0.3
FIN, RST = 1, 4


def targets(objects: ClusterObjects, only: str, namespace: str) -> tuple[Address, ...]:
    """Return the addresses that a filter means: of a Service all its own and its endpoints', or a pod's.

    Raises:
        UsageError: it is neither svc/NAME nor pod/NAME.
        NotFound: there is no such object.
    """
    kind, _, name = only.partition("/")
    if kind in ("pod", "pods", "po") and name:
        pod = where.find_pod(objects, name, namespace)
        ports = [p.container_port for c in pod.spec.containers for p in c.ports]
        return tuple(Address(IPv4Address(pod.status.pod_ip), port) for port in ports)
    if kind not in ("svc", "service", "services") or not name:
        raise UsageError(f"cannot follow {only or 'everything'}: say --filter svc/NAME or pod/NAME")
    service = objects.service(Key(namespace, name))
    if service is None:
        raise NotFound(f'services "{name}" not found in namespace {namespace}')
    found: list[Address] = []
    ips = [service.spec.cluster_ip, *load_balancer_ips(service), *service.spec.external_ips]
    nodes = [a.address for n in objects.nodes for a in n.status.addresses if a.type == "InternalIP"]
    for port in service.spec.ports:
        found += [Address(IPv4Address(ip), port.port) for ip in ips if ip not in ("", "None")]
        found += [Address(IPv4Address(ip), port.node_port) for ip in nodes if port.node_port]
    for address in list(found)[:1]:
        found += doors(objects, address)
    return tuple(dict.fromkeys(found))


def follow(
    paths: Paths,
    objects: ClusterObjects,
    only: str,
    namespace: str,
    *,
    count: int = 1,
    dropped: bool = False,
    limit: float = 5.0,
) -> Iterator[Trace]:
    """Yield a trace of each connection as it ends.

    Args:
        paths: The cluster's names.
        objects: Its objects.
        only: svc/NAME or pod/NAME.
        namespace: Of the object.
        count: Connections after which to stop.
        dropped: Leave out those that arrived.
        limit: Seconds without a new connection after which to stop.
    """
    addresses = targets(objects, only, namespace)
    world = observe_world(
        paths, objects, services=[Key(namespace, only.partition("/")[2])], targets=objects.pods
    )
    with ExitStack() as stack:
        stack.enter_context(session.recorded(world))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=16))
        request = TraceRequest(
            id=session.new_id(), url=only, host="", path="/", connect=addresses[0],
            netns=world.client, kind=Kind.TCP, reserved=(0, 0),
        )  # fmt: skip
        ears = Ears(request, world, [a.port for a in addresses], pool)
        stack.callback(ears.close)
        stack.enter_context(session.armed(world.ruled(), nftrace.compile_doors(addresses), pool))
        listener = _Listener(request, world, ears, addresses)
        told, deadline = 0, time.monotonic() + limit
        while told < count and time.monotonic() < deadline:
            ears.wait(TURN)
            for trace in listener.turn(pool):
                deadline = time.monotonic() + limit
                if not dropped or trace.verdict is not Verdict.DELIVERED:
                    yield trace
                    told += 1
                    if told >= count:
                        return


class _Listener:
    """What was heard so far, and which connections have been told."""

    def __init__(
        self, request: TraceRequest, world: World, ears: Ears, wanted: tuple[Address, ...]
    ) -> None:
        self._request, self._world, self._ears = request, world, ears
        self._wanted = frozenset(wanted)
        now = time.time_ns()
        self._record = Record(
            answer=Answer(), flow=Flow(wanted[0], wanted[0]), started_at_ns=now,
            ended_at_ns=now, has_log=False, wants_log=False, drop_note=ears.drop_note,
        )  # fmt: skip
        self._told: set[object] = set()

    def turn(self, pool: ThreadPoolExecutor) -> Iterator[Trace]:
        """Read what came, and yield the connections that ended."""
        record, ears = self._record, self._ears
        record.frames += [f for c in ears.captures for f in c.read() if parse_frame(f.data)]
        record.events += [e for r in ears.rules for e in r.read()]
        record.entries += [e for c in ears.conntracks for e in c.read()]
        if ears.drops is not None:
            record.drops += ears.drops.read()
        topology = observe_links(record.crossed)
        walks = correlate.build_walks(record.frames, topology, record.started_at_ns)
        for leg in correlate.build_legs(walks):
            if leg.flows[0] in self._told or not self._concerns(leg) or not self._ended(leg):
                continue
            self._told.add(leg.flows[0])
            yield self._tell(leg, pool)

    def _concerns(self, leg: Leg) -> bool:
        return bool(leg.opening) and leg.flows[0].destination in self._wanted

    def _ended(self, leg: Leg) -> bool:
        last = leg.walks[-1].sightings[-1].time_ns
        fins = {leg.forward(w) for w in leg.walks if w.packet.flags & FIN}
        if len(fins) == 2 or any(w.packet.flags & RST for w in leg.walks):
            return True
        return time.time_ns() - self._record.started_at_ns - last > QUIET * 1e9

    def _tell(self, leg: Leg, pool: ThreadPoolExecutor) -> Trace:
        record, flow = self._record, leg.flows[0]
        answered = any(not leg.forward(w) and not w.packet.reset for w in leg.walks)
        begin = leg.walks[0].sightings[0]
        end = leg.walks[-1].sightings[-1].time_ns
        mine = {s.packet.flow for w in leg.walks for s in w.sightings}
        mine |= {f.reversed() for f in mine}
        keep = [f for f in record.frames if (p := parse_frame(f.data)) and p.flow in mine]
        own = replace(
            record,
            frames=keep,
            flow=flow,
            answer=Answer(reason="answered") if answered else Answer(error="no answer"),
            started_at_ns=record.started_at_ns + begin.time_ns,
            ended_at_ns=record.started_at_ns + end,
            counters=self._ears.counters.risen(),
        )
        request = replace(
            self._request, id=session.new_id(), connect=flow.destination, netns=begin.tap.netns,
            url=f"{flow} (live)",
            kind=Kind.UDP if leg.walks[0].packet.protocol == 17 else Kind.TCP,
        )  # fmt: skip
        books = observe_rules(own.ruled, pool)
        topology = observe_links([*own.crossed, request.netns])
        world = replace(self._world, client=request.netns)
        examine = Examine(inspect=Inspector(world), name_function=skbdrop.name_function)
        return evaluate.evaluate(request, world, own, books, topology, examine)
