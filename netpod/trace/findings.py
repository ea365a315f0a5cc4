"""All that is known about one request when it is over, and what can be asked of it (pure)."""

from dataclasses import dataclass, replace

from netpod.trace.accessline import AccessLine
from netpod.trace.diagnose import Diagnosis, Doctor
from netpod.trace.hop import Witness
from netpod.trace.model import (
    Answer,
    Evidence,
    Hop,
    Leg,
    Role,
    Source,
    Walk,
)
from netpod.trace.request import Kind, TraceRequest
from netpod.trace.topology import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was sent, what was recorded of it, joined into legs, and what came back."""

    request: TraceRequest
    world: World
    witness: Witness
    client: Leg | None
    upstream: Leg | None
    access: AccessLine | None
    answer: Answer
    doctor: Doctor

    @property
    def redirected(self) -> bool:
        """Whether the proxy answered by itself that the client should ask elsewhere, as a rule told it to."""
        access = self.access
        return access is not None and access.source is None and 300 <= access.status < 400

    def opening(self, leg: Leg | None) -> tuple[Hop, ...]:
        """Hops of the packet that opened a leg: rules and NAT are decided on it alone."""
        opener = leg.opener if leg is not None else None
        if leg is None or opener is None:
            return ()
        # Of one that got lost and came again only the first met the rules of NAT, where its entry had been made.
        earlier = [h for w in leg.opening if w is not opener for h in self.witness.hops(w)]
        met = {(h.netns, h.before, h.after): h.rules for h in reversed(earlier)}
        return tuple(
            replace(h, rules=max(h.rules, met.get((h.netns, h.before, h.after), ()), key=len))
            for h in self.witness.hops(opener)
        )

    def retried(self, leg: Leg | None) -> str:
        """What became of tries before the one that opened a connection, in words; "" when it was the first."""
        opener = leg.opener if leg is not None else None
        if leg is None or opener is None or not opener.packet.syn:
            return ""
        began = opener.sightings[0].time_ns
        tries = [w for w in leg.opening if w.sightings[0].time_ns < began]
        if not tries:
            return ""
        met = {w.path()[-1].packet.flow.reversed() for w in tries}
        stale = any(
            w.packet.flags & 0x16 == 0x10
            and w.packet.flow in met
            and w.sightings[0].time_ns < began
            for w in leg.walks
        )
        count = "its first SYN" if len(tries) == 1 else f"its first {len(tries)} SYNs"
        why = (
            "met what was left of an older connection from the same port"
            if stale
            else "went unanswered"
        )
        after = (began - tries[-1].sightings[0].time_ns) / 1e6
        return f"{count} {why}, the next came {after:.1f} ms later"

    def answering(self, leg: Leg | None) -> Walk | None:
        """The first packet that came back with something in it: data, or at least the acceptance."""
        since = self._since(leg)
        walks = [w for w in leg.walks if not leg.forward(w)] if leg is not None else []
        walks = [w for w in walks if w.sightings[0].time_ns >= since]
        data = [w for w in walks if w.packet.length or w.packet.protocol != 6]
        accepted = [w for w in walks if not w.packet.reset]
        return next(iter(data if self.request.kind is not Kind.TCP else data + accepted), None)

    def payload(self, leg: Leg | None, *, back: bool) -> Walk | None:
        """The first packet with payload of the request that the opener sent, or (`back`) got."""
        since = self._since(leg)
        for walk in leg.walks if leg is not None else ():
            late = walk.sightings[0].time_ns >= since
            if walk.packet.length and late and leg is not None and leg.forward(walk) is not back:
                return walk
        return None

    def _since(self, leg: Leg | None) -> int:
        """When the request itself began on a leg that may have carried others before: with the packet that names it."""
        carrier = leg.carrier(self.request.id) if leg is not None else None
        if carrier is None:
            return leg.walks[0].sightings[0].time_ns if leg is not None else 0
        return carrier.sightings[0].time_ns

    def asked(self) -> Walk | None:
        """The client's request: of TLS the last packet before the proxy opened its own connection."""
        if self.request.kind is not Kind.HTTPS or self.client is None or self.upstream is None:
            return self.payload(self.client, back=False)
        opened = self.upstream.walks[0].sightings[0].time_ns
        said = [w for w in self.client.walks if w.packet.length and self.client.forward(w)]
        return next((w for w in reversed(said) if w.sightings[0].time_ns < opened), None)

    def answered(self) -> Walk | None:
        """The answer on the client's connection: of TLS the first packet after the proxy had one itself."""
        came = self.payload(self.upstream, back=True)
        if self.request.kind is not Kind.HTTPS or self.client is None or came is None:
            return self.payload(self.client, back=True)
        had = came.sightings[-1].time_ns
        said = [w for w in self.client.walks if w.packet.length and not self.client.forward(w)]
        return next((w for w in said if w.sightings[0].time_ns >= had), None)

    def role(self, hop: Hop) -> Role:
        """What the namespace of a hop is."""
        return self.world.place(hop.netns).role

    def name(self, hop: Hop) -> str:
        """What the namespace of a hop is, in words."""
        return str(self.world.place(hop.netns))

    def blocked(self, leg: Leg | None) -> Diagnosis | None:
        """Why a leg did not get through, when that is known."""
        return None if leg is None else self.doctor.judge(leg)

    def last_seen(self, leg: Leg | None) -> str:
        """Where the opening packet of a leg was last seen, in words."""
        hops = self.opening(leg)
        if not hops:
            return "it was not seen anywhere"
        hop = hops[-1]
        if not (hop.outward or hop.inward):
            return f"last seen in {self.name(hop)}, as {hop.after}"
        interface = (hop.outward or hop.inward)[-1]
        way = "leaving by" if hop.outward else "arriving at"
        return f"last seen in {self.name(hop)}, {way} {interface}, as {hop.after}"


def hop_evidence(hops: tuple[Hop, ...]) -> tuple[Evidence, ...]:
    """One piece of evidence per interface side of each hop, then those of its NAT and rules."""
    found: list[Evidence] = []
    for hop in hops:
        taps = [f"{name} in" for name in hop.inward] + [f"{name} out" for name in hop.outward]
        found.append(
            Evidence(
                source=Source.CAPTURE,
                netns=hop.netns,
                time_ns=hop.start_ns,
                reference=", ".join(taps),
            )
        )
        if hop.conntrack is not None:
            found.append(
                Evidence(
                    source=Source.CONNTRACK,
                    netns=hop.netns,
                    reference=f"conntrack id {hop.conntrack.id:#x}",
                )
            )
        for rule in hop.rules:
            found += rule.evidence
    return tuple(dict.fromkeys(found))
