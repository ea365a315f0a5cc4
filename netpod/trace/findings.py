"""All that is known about one request when it is over, and what can be asked of it (pure)."""

from dataclasses import dataclass

from netpod.trace.hop import Witness
from netpod.trace.model import (
    AccessLine,
    Answer,
    Evidence,
    Hop,
    Leg,
    Role,
    RuleHit,
    Source,
    Verdict,
    Walk,
)
from netpod.trace.request import TraceRequest
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

    def opening(self, leg: Leg | None) -> tuple[Hop, ...]:
        """Hops of the packet that opened a leg: rules and NAT are decided on it alone.

        Of several, because one got lost, the first that got furthest: NAT is only decided once.
        """
        walks = [w for w in leg.walks if w.packet.syn] if leg is not None else []
        return max(map(self.witness.hops, walks), key=len, default=())

    def payload(self, leg: Leg | None, *, back: bool) -> Walk | None:
        """The first packet with payload that the opener sent, or (`back`) got."""
        for walk in leg.walks if leg is not None else ():
            if walk.packet.length and leg is not None and leg.forward(walk) is not back:
                return walk
        return None

    def role(self, hop: Hop) -> Role:
        """What the namespace of a hop is."""
        return self.world.place(hop.netns).role

    def name(self, hop: Hop) -> str:
        """What the namespace of a hop is, in words."""
        return str(self.world.place(hop.netns))

    def blocked(self, leg: Leg | None) -> tuple[Verdict, str] | None:
        """Why the opening of a leg did not get through, when that is known: a rule's verdict, or a reset."""
        hops = self.opening(leg)
        if leg is None or not hops:
            return None
        for hop in hops:
            for rule in hop.rules:
                if rule.verdict == "drop":
                    return _by_rule(rule, self.name(hop))
        established = any(w.packet.flags & 0x12 == 0x12 for w in leg.walks)
        reset = next((w for w in leg.walks if w.packet.reset and not leg.forward(w)), None)
        if reset is not None and not established:
            where = self.world.place(reset.sightings[0].tap.netns)
            return Verdict.REFUSED, f"{where} answered with a reset: nothing listens there"
        return None

    def last_seen(self, leg: Leg | None) -> str:
        """Where the opening packet of a leg was last seen, in words."""
        hops = self.opening(leg)
        if not hops:
            return "it was not seen anywhere"
        hop = hops[-1]
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


def _by_rule(rule: RuleHit, where: str) -> tuple[Verdict, str]:
    words = rule.meaning or rule.text or f"policy of chain {rule.chain}"
    if "REJECT" in rule.text or rule.text.startswith("reject") or " reject" in rule.text:
        return Verdict.REFUSED, f"{where} refused it in chain {rule.chain} ({words})"
    return Verdict.DROPPED, f"{where} dropped it in chain {rule.chain} ({words})"
