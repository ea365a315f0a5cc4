"""Frames → walks → legs, and which upstream leg belongs to the request (pure).

A packet's fingerprint survives NAT and routers, so sightings with one fingerprint are one packet's walk. Address pairs
seen on one walk are one connection's, so walks that share a pair are one leg: no conntrack is needed for this, which
is why conntrack can serve as the proof.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netpod.trace.accessline import AccessLine
from netpod.trace.headers import IPPROTO_TCP
from netpod.trace.model import (
    Confidence,
    CtEntry,
    Direction,
    Evidence,
    Flow,
    Leg,
    Packet,
    Sighting,
    Source,
    Tap,
    Walk,
)
from netpod.trace.packet import HeaderKey, header_key, parse_frame
from netpod.trace.pieces import Pieces
from netpod.trace.sources.frames import Frame
from netpod.trace.sources.nftrace import RuleEvent
from netpod.trace.topology import Topology


def build_walks(frames: Iterable[Frame], topology: Topology, start_ns: int) -> list[Walk]:
    """Group frames by fingerprint into walks, in order of time.

    Args:
        frames: Of all namespaces, in any order.
        topology: Which links are bridge ports or veth peers; may be empty.
        start_ns: Start of the request since the Unix epoch; sightings count from there.
    """
    groups: dict[tuple[int, ...], list[list[Sighting]]] = {}
    parsed = [
        (f, parse_frame(f.data)) for f in sorted(frames, key=lambda f: (f.time_ns, f.sequence))
    ]
    pieces = Pieces(parsed)
    for frame, packet in parsed:
        if packet is None:
            continue
        packet = pieces.joined(frame, packet)
        direction = Direction.OUT if frame.outgoing else Direction.IN
        sighting = Sighting(
            tap=Tap(netns=frame.netns, interface=frame.interface, direction=direction),
            time_ns=frame.time_ns - start_ns,
            packet=packet,
            # A bridge takes whatever comes in by its ports, whoever it is addressed to.
            for_us=frame.for_us or topology.bridge_port(frame.netns, frame.interface),
        )
        walks = groups.setdefault(packet.fingerprint, [])
        # A retransmitted SYN-ACK or RST is the same in every header (its IP id is 0): it starts again where it began.
        if not walks or walks[-1][0].tap == sighting.tap:
            walks.append([])
        walks[-1].append(sighting)
    found = [_tree(walk, topology) for walks in groups.values() for walk in walks]
    return sorted(found, key=lambda w: w.sightings[0].time_ns)


SOCKET = "socket"
"""Stands for an interface where a packet begins or ends inside a namespace that has rules of its own."""


def attach_socket(
    walks: Iterable[Walk],
    flow: Flow,
    netns: str,
    entries: Iterable[CtEntry],
    events: Iterable[RuleEvent],
) -> list[Walk]:
    """Give the packets of a client in a namespace with rules their true beginning: the socket, before NAT.

    A node's own packets are seen when they leave it, already rewritten. What they were is known from conntrack; what
    became of one that never left, from the rules it met.

    Args:
        walks: Of all packets.
        flow: The client's connection as its socket knows it.
        netns: The client's namespace.
        entries: Conntrack entries.
        events: Rules met.
    """
    wire = {flow} | {e.reply.reversed() for e in entries if e.netns == netns and e.original == flow}
    found: list[Walk] = []
    for walk in walks:
        first, last = walk.sightings[0], walk.path()[-1]
        if (
            first.tap.netns == netns
            and first.tap.direction is Direction.OUT
            and (first.packet.flow in wire)
        ):
            begin = Sighting(
                tap=Tap(netns=netns, interface=SOCKET, direction=Direction.IN),
                time_ns=first.time_ns,
                packet=replace(first.packet, flow=flow),
            )
            parents = [0 if p is None else p + 1 for p in walk.parents]
            walk = Walk(sightings=(begin, *walk.sightings), parents=(None, *parents))
        elif (
            last.tap.netns == netns
            and last.tap.direction is Direction.IN
            and (last.packet.flow.reversed() in wire and last.packet.flow.reversed() != flow)
        ):
            end = Sighting(
                tap=Tap(netns=netns, interface=SOCKET, direction=Direction.OUT),
                time_ns=last.time_ns,
                packet=replace(last.packet, flow=flow.reversed()),
            )
            parent = walk.sightings.index(last)
            walk = Walk(sightings=(*walk.sightings, end), parents=(*walk.parents, parent))
        found.append(walk)
    known = {header_key(w.packet) for w in found}
    for event in events:
        if event.netns == netns and event.flow == flow and event.packet not in (None, *known):
            found.append(_unsent(event.packet or (), flow, netns))
            known.add(event.packet or ())
    return sorted(found, key=lambda w: w.sightings[0].time_ns)


def _unsent(key: HeaderKey, flow: Flow, netns: str) -> Walk:
    """A packet known only from the rules it met; when that was, no source says."""
    tcp = key[0] == IPPROTO_TCP
    packet = Packet(
        fingerprint=(*key, 0, 0, 0),
        flow=flow,
        protocol=key[0],
        flags=key[4] if tcp else 0,
        length=key[5] if tcp else 0,
        ip_id=key[1],
    )
    tap = Tap(netns=netns, interface=SOCKET, direction=Direction.IN)
    return Walk(sightings=(Sighting(tap=tap, time_ns=0, packet=packet),), parents=(None,))


def _tree(sightings: Sequence[Sighting], topology: Topology) -> Walk:
    parents = [_parent(sightings, i, topology) for i in range(len(sightings))]
    return Walk(sightings=tuple(sightings), parents=tuple(parents))


def _parent(sightings: Sequence[Sighting], index: int, topology: Topology) -> int | None:
    """Find where a sighting came from: inside its namespace, or through the veth that leads into it."""
    here = sightings[index].tap
    earlier = range(index - 1, -1, -1)
    if here.direction is Direction.IN:
        for i in earlier:
            tap = sightings[i].tap
            if tap.direction is Direction.OUT and tap.netns != here.netns:
                ends = (tap.netns, tap.interface), (here.netns, here.interface)
                if topology.connected(*ends) in (True, None):
                    return i
    for i in earlier:
        tap = sightings[i].tap
        # A bridge floods: one way out of it never leads to another.
        dead_end = tap.direction is Direction.OUT and topology.bridge_port(tap.netns, tap.interface)
        if tap.netns == here.netns and not (here.direction is Direction.OUT and dead_end):
            return i
    return index - 1 if index else None


def build_legs(walks: Iterable[Walk]) -> list[Leg]:
    """Group walks into connections, in order of their first packet; `flows` begin with the opener's."""
    parents: dict[frozenset[object], frozenset[object]] = {}

    def find(pair: frozenset[object]) -> frozenset[object]:
        parents.setdefault(pair, pair)
        while parents[pair] != pair:
            pair = parents[pair]
        return pair

    walks = list(walks)
    for walk in walks:
        first = _pair(walk.packet)
        for sighting in walk.sightings:
            parents[find(_pair(sighting.packet))] = find(first)
    groups: dict[frozenset[object], list[Walk]] = {}
    for walk in walks:
        groups.setdefault(find(_pair(walk.packet)), []).append(walk)
    return [_leg(group) for group in groups.values()]


def _pair(packet: Packet) -> frozenset[object]:
    return frozenset((*packet.flow, packet.protocol))


def _leg(walks: list[Walk]) -> Leg:
    syns = [w for w in walks if w.packet.syn]
    opener = max(syns, key=lambda w: len(w.sightings), default=walks[0])
    flows = dict.fromkeys(s.packet.flow for w in (opener, *syns) for s in w.sightings)
    return Leg(name="", flows=tuple(flows), walks=tuple(walks), evidence=())


def find_client_leg(legs: Iterable[Leg], flow: Flow) -> Leg | None:
    """Return the leg that the client opened: its port was bound before the first packet left."""
    for leg in legs:
        if leg.flows[0] == flow:
            evidence = Evidence(
                source=Source.CLIENT,
                time_ns=leg.walks[0].sightings[0].time_ns,
                reference=f"source port {flow.source.port}, bound before connecting",
            )
            return Leg(name="client", flows=leg.flows, walks=leg.walks, evidence=(evidence,))
    return None


def find_upstream_leg(
    legs: Iterable[Leg],
    client: Leg | None,
    *,
    trace_id: str,
    access: AccessLine | None,
    reserved: tuple[int, int],
) -> Leg | None:
    """Return the leg that the ingress opened for the request, or None when nothing tells which.

    Proven: the trace id travels in its payload. Declared: the proxy's access line names its source address, or it
    alone uses the source ports that the proxy keeps for traced requests. Several legs from those ports that lead to
    one destination are the proxy's retries; the last is taken. To different destinations: nothing is said.
    """
    others = [leg for leg in legs if client is None or leg.flows[0] != client.flows[0]]
    evidence: list[Evidence] = []
    chosen: Leg | None = None
    for leg in others:
        found = leg.carrier(trace_id)
        if found is not None:
            first = found.sightings[0]
            evidence.append(
                Evidence(
                    source=Source.CAPTURE,
                    netns=first.tap.netns,
                    time_ns=first.time_ns,
                    reference=f"trace id in the payload at {first.tap}",
                )
            )
            chosen = leg
    if access is not None and access.source is not None:
        for leg in others:
            if leg.flows[0].source == access.source and chosen in (None, leg):
                evidence.append(
                    Evidence(
                        source=Source.PROXY_LOG,
                        confidence=Confidence.DECLARED,
                        reference=f"access line names source {access.source}",
                    )
                )
                chosen = leg
    ours = [leg for leg in others if reserved[0] <= leg.flows[0].source.port <= reserved[1]]
    ours = [leg for leg in ours if leg.walks[0].packet.syn]
    if chosen is None and len({leg.flows[0].destination for leg in ours}) == 1:
        chosen = ours[-1]
    if chosen is None:
        return None
    if chosen in ours:
        first = chosen.walks[0].sightings[0]
        evidence.append(
            Evidence(
                source=Source.CAPTURE,
                confidence=Confidence.DECLARED,
                netns=first.tap.netns,
                time_ns=first.time_ns,
                reference=f"source port {chosen.flows[0].source.port} is kept for traced requests "
                f"({reserved[0]}-{reserved[1]})",
            )
        )
    return Leg(name="upstream", flows=chosen.flows, walks=chosen.walks, evidence=tuple(evidence))
