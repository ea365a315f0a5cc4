"""`netpod trace --live`: follow connections that others make to a Service or pod; nothing is sent.

Their first packets are traced (at most nftrace.DOOR_RATE a second), all their packets captured. A connection is told
when it has ended, or has been quiet for a while.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from netpod.api.meta import Key
from netpod.errors import NotFound, UsageError
from netpod.ip import by_family, family_of
from netpod.paths import Paths
from netpod.trace import arming, correlate, evaluate, pieces, session, where
from netpod.trace.clues import Examine
from netpod.trace.ears import Ears
from netpod.trace.families import among, cluster_ips, node_ips, pod_ips
from netpod.trace.links import observe_links
from netpod.trace.model import Address, Answer, Flow, Leg, Role, Trace, Verdict
from netpod.trace.objects import ClusterObjects, load_balancer_ips
from netpod.trace.packet import header_key
from netpod.trace.postmortem import Inspector
from netpod.trace.record import Record
from netpod.trace.request import Kind, TraceRequest
from netpod.trace.rules import observe_rules
from netpod.trace.sources import ctnetlink, ipvsconn, skbdrop
from netpod.trace.topology import World, doors
from netpod.trace.world import observe_world

TURN, QUIET, SETTLE = 0.05, 0.3, 0.03
DROPS = 200
"""Drops that are remembered: one is told apart by its packet, so others' do no harm."""
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
        return tuple(Address(ip, port) for port in ports for ip in among(pod_ips(pod)))
    if kind not in ("svc", "service", "services") or not name:
        raise UsageError(f"cannot follow {only or 'everything'}: say --filter svc/NAME or pod/NAME")
    service = objects.service(Key(namespace, name))
    if service is None:
        raise NotFound(f'services "{name}" not found in namespace {namespace}')
    found: list[Address] = []
    ips = among((*cluster_ips(service), *load_balancer_ips(service), *service.spec.external_ips))
    families = {family_of(ip) for ip in ips}
    nodes = [ip for n in objects.nodes for ip in among(node_ips(n)) if family_of(ip) in families]
    for port in service.spec.ports:
        found += [Address(ip, port.port) for ip in ips]
        found += [Address(ip, port.node_port) for ip in nodes if port.node_port]
    for first in by_family(address.ip for address in list(found)).values():
        found += doors(objects, next(it for it in found if it.ip == first))
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
        aim = arming.connections(addresses)
        stack.enter_context(session.armed(world.ruled(), aim, pool, legacy=ears.legacy))
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
        # Of a Service what is no endpoint; of a pod its addresses.
        inside = {a for a in wanted if world.objects.pod_by_ip(a.ip) is not None}
        self._own = self._wanted - inside or self._wanted
        now = time.time_ns()
        self._record = Record(
            answer=Answer(), flow=Flow(wanted[0], wanted[0]), started_at_ns=now,
            ended_at_ns=now, has_log=False, wants_log=False, drop_note=ears.drop_note,
        )  # fmt: skip
        self._topology = observe_links(())

    def turn(self, pool: ThreadPoolExecutor) -> Iterator[Trace]:
        """Read what came, and yield the connections that ended; forget those and what is none of ours."""
        record, ears = self._record, self._ears
        heard = [*record.frames, *(f for c in ears.captures for f in c.read())]
        record.frames = [f for f, flow in zip(heard, pieces.flows(heard), strict=True) if flow]
        record.events += [e for r in ears.rules for e in r.read()]
        record.entries += [e for c in ears.conntracks for e in c.read()]
        if ears.drops is not None:
            record.drops += ears.drops.read()
        if not set(record.crossed) <= {netns for netns, _ in self._topology.links}:
            self._topology = observe_links(record.crossed)
        walks = correlate.build_walks(record.frames, self._topology, record.started_at_ns)
        ended = [leg for leg in correlate.build_legs(walks) if self._ended(leg)]
        for leg in ended:
            # One that began before all were listening is not known whole.
            whole = leg.walks[0].sightings[0].time_ns >= 0
            if whole and leg.opening and leg.forward(leg.walks[0]) and self._meant(leg):
                yield self._tell(leg, pool)
        if ended:
            self._forget(ended)

    def _meant(self, leg: Leg) -> bool:
        """Whether a connection is to what was asked for: of a Service's endpoints not those that nodes probe."""
        to, begin = leg.flows[0].destination, leg.walks[0].sightings[0].tap.netns
        probed = self._world.place(begin).role is Role.NODE and to not in self._own
        return to in self._wanted and not probed

    def _ended(self, leg: Leg) -> bool:
        last = max(s.time_ns for w in leg.walks for s in w.sightings)
        silent = time.time_ns() - self._record.started_at_ns - last
        fins = {leg.forward(w) for w in leg.walks if w.packet.flags & FIN}
        over = len(fins) == 2 or any(w.packet.flags & RST for w in leg.walks)
        # One namespace is read after the other: the last packet may have been seen in the first of them only.
        return silent > (SETTLE if over else QUIET) * 1e9

    def _forget(self, legs: list[Leg]) -> None:
        record = self._record
        flows = {s.packet.flow for leg in legs for w in leg.walks for s in w.sightings}
        keys = {header_key(w.packet) for leg in legs for w in leg.walks}
        whose = zip(record.frames, pieces.flows(record.frames), strict=True)
        record.frames = [f for f, flow in whose if flow not in flows]
        record.events = [e for e in record.events if e.packet not in keys and e.flow not in flows]
        record.entries = [e for e in record.entries if e.original not in flows]
        record.drops = record.drops[-DROPS:]

    def _tell(self, leg: Leg, pool: ThreadPoolExecutor) -> Trace:
        record, flow = self._record, leg.flows[0]
        answered = any(not leg.forward(w) and not w.packet.reset for w in leg.walks)
        begin = leg.walks[0].sightings[0]
        end = leg.walks[-1].sightings[-1].time_ns
        mine = {s.packet.flow for w in leg.walks for s in w.sightings}
        mine |= {f.reversed() for f in mine}
        whose = zip(record.frames, pieces.flows(record.frames), strict=True)
        keep = [f for f, of in whose if of in mine]
        own = replace(
            record,
            frames=keep,
            flow=flow,
            answer=Answer(reason="answered") if answered else Answer(error="no answer"),
            started_at_ns=record.started_at_ns + begin.time_ns,
            ended_at_ns=record.started_at_ns + end,
            counters=self._ears.counters.risen(),
            virtual=ipvsconn.observe(self._world.ruled()),
        )
        request = replace(
            self._request, id=session.new_id(), connect=flow.destination, netns=begin.tap.netns,
            url=f"{flow} (live)",
            kind=Kind.UDP if leg.walks[0].packet.protocol == 17 else Kind.TCP,
        )  # fmt: skip
        if leg.walks[0].packet.protocol == 6 and not leg.walks[0].packet.syn:
            # Its entry was made before anybody listened.
            flows = {s.packet.flow for w in leg.walks for s in w.sightings}
            known = (e for name in self._world.ruled() for e in ctnetlink.observe(name))
            own.entries = [*own.entries, *(e for e in known if e.original in flows)]
        books = observe_rules(own.ruled, pool)
        topology = observe_links([*own.crossed, request.netns])
        world = replace(self._world, client=request.netns)
        examine = Examine(inspect=Inspector(world), name_function=skbdrop.name_function)
        return evaluate.evaluate(request, world, own, books, topology, examine)
