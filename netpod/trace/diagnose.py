"""Why a connection did not come about: where its first lost packet ended, and what says so (pure but for `inspect`).

In the order of what counts most: a rule's verdict, the kernel's own drop reason, an ICMP error or a reset on the wire,
a counter that rose, the state of links and routes. Where none of them speaks, nothing is said but the last place seen.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import pairwise

from netpod.ip import family_of
from netpod.trace import causes, virtual
from netpod.trace.clues import Clues, Drop, Finding, IcmpError, Stuck
from netpod.trace.hop import Witness
from netpod.trace.model import (
    Address,
    Confidence,
    Direction,
    Evidence,
    Flow,
    Leg,
    Role,
    RuleHit,
    Source,
    Verdict,
    Walk,
)
from netpod.trace.packet import header_key
from netpod.trace.topology import World

_DNAT = re.compile(
    r"(?:--to-destination|dnat(?: ip6?)? to) "
    r"(?:\[?(?P<six>[0-9a-f]*:[0-9a-f:.]+)\]?|(?P<four>\d+(?:\.\d+){3}))"
    r"(?::(?P<port>\d+))?"
)

REJECT_CHAIN = "reject-chain"
"""Where kube-proxy's nftables mode refuses. Source: kubernetes pkg/proxy/nftables/proxier.go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why, in words, with what says so. `cause` is one word of causes.py, or "" where nothing is known."""

    verdict: Verdict
    sentence: str
    cause: str
    netns: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Judges legs of one request."""

    world: World
    witness: Witness
    clues: Clues
    name_function: Callable[[int], str]

    def judge(self, leg: Leg) -> Diagnosis | None:
        """Return why a leg failed; None when all of its packets arrived."""
        lost = self._lost(leg)
        if lost is None:
            return None
        walk, silent = lost
        place = walk.path()[-1].tap.netns
        found = [
            *self._rules(leg, walk),
            *self._virtual(walk),
            *self._kernel(walk),
            *self._wire(leg),
            *self._silence(walk),
            *self._pieces(walk),
            *self._counters(walk, place, silent=silent),
            *self._state(walk),
        ]
        if not found:
            return None
        first = found[0]
        down = next((d for d in found if d.cause == "link-down"), None)
        if down is not None and first.cause in ("neighbour", "host-unreachable"):
            # Why the neighbour does not answer.
            return replace(down, evidence=first.evidence + down.evidence)
        nobody = next((d for d in found if d.cause == "neighbour"), None)
        if nobody is not None and first.cause == "host-unreachable":
            # Why it is unreachable. Of several packets in the queue for one neighbour not each has a reason of its own.
            first = replace(nobody, evidence=first.evidence + nobody.evidence)
        detail = next((d for d in found[1:] if _details(first, d)), None)
        sentence = first.sentence if detail is None else detail.sentence
        same = tuple(e for d in found if d.cause == first.cause for e in d.evidence)
        evidence = tuple(dict.fromkeys((*first.evidence, *same)))
        return replace(first, sentence=sentence, evidence=evidence)

    def arrived(self, walk: Walk, home: str) -> bool:
        """Whether a packet got to the namespace that has its destination address, or back to its opener."""
        last = walk.path()[-1]
        if not last.packet.whole:
            return False
        if last.tap.direction is Direction.OUT:
            return last.tap.netns == home and last.tap.interface == "socket"
        if last.tap.netns == home and len(walk.sightings) > 1:
            return True
        ours = self.clues.addresses.get(last.tap.netns)
        if ours is None:
            return self.world.place(last.tap.netns).role is Role.POD
        return last.packet.flow.destination.ip in ours and last.tap.interface != "socket"

    def _lost(self, leg: Leg) -> tuple[Walk, bool] | None:
        """The first packet that did not arrive, or that arrived and was met with silence (True)."""
        home = leg.walks[0].sightings[0].tap.netns
        opening = leg.opening
        back = [w for w in leg.walks if not leg.forward(w)]
        if not opening:
            return None
        through = [w for w in opening if self.arrived(w, "")]
        if not through:
            return max(opening, key=lambda w: len(w.path())), False
        if not back:
            return through[0], True
        if all(w.packet.reset for w in back):
            return through[0], True
        returned = [w for w in back if self.arrived(w, home)]
        if not returned:
            return max(back, key=lambda w: len(w.path())), False
        for walk in leg.walks:
            forward = leg.forward(walk)
            if walk in opening or not (walk.packet.length or walk.packet.protocol != 6):
                continue
            again = [
                w for w in leg.walks
                if leg.forward(w) is forward and w.packet.fingerprint[2] == walk.packet.fingerprint[2]
            ]  # fmt: skip
            if not any(self.arrived(w, "" if forward else home) for w in again):
                return walk, False
        return None

    def _rules(self, leg: Leg, walk: Walk) -> Iterable[Diagnosis]:
        """A rule that stopped this packet, or one like it of the same leg."""
        like = [w for w in leg.walks if leg.forward(w) is leg.forward(walk)]
        for item in (walk, *like):
            for hop in self.witness.hops(item):
                for index, rule in enumerate(hop.rules):
                    if rule.verdict == "drop":
                        yield self._by_rule(rule, hop.before, hop.rules[:index])
                        return
        flows = {s.packet.flow for w in like for s in w.sightings}
        for flow, rule in self.witness.stopped:
            if flow in flows:
                yield self._by_rule(rule, flow)
                return

    def _by_rule(self, rule: RuleHit, flow: Flow, before: tuple[RuleHit, ...] = ()) -> Diagnosis:
        where, chain = self.world.place(rule.netns), rule.chain
        words = rule.meaning or (rule.text if rule.handle else "") or f"policy of chain {chain}"
        sent = next((r for r in reversed(before) if r.target == chain == REJECT_CHAIN), None)
        if sent is not None:
            # It only carries out what another rule decided.
            words, chain = sent.meaning or words, sent.chain
        service = self.world.objects.service_at(flow.destination)
        if service is not None:
            name = f"Service {service.metadata.namespace}/{service.metadata.name}"
            words = words.replace("its Service", name, 1)
        text = f" {rule.text} "
        refused = "REJECT" in text or " reject" in text or rule.chain == REJECT_CHAIN
        return Diagnosis(
            verdict=Verdict.REFUSED if refused else Verdict.DROPPED,
            sentence=f"{where} {'refused' if refused else 'dropped'} it in chain {chain} ({words})",
            cause="rule",
            netns=rule.netns,
            evidence=rule.evidence,
        )

    def _virtual(self, walk: Walk) -> Iterable[Diagnosis]:
        """A virtual server of IPVS that has nobody to send the packet to."""
        last = walk.path()[-1]
        to = last.packet.flow.destination
        server = virtual.refusal(self.witness.virtual, last.tap.netns, to, walk.packet.protocol)
        if server is not None:
            words = f"virtual server {server.name} has no real server that takes connections"
            evidence = Evidence(source=Source.IPVS, netns=last.tap.netns, reference=words)
            yield Diagnosis(
                verdict=Verdict.REFUSED,
                sentence=f"{self.world.place(last.tap.netns)} refused it: {words}",
                cause="rule",
                netns=last.tap.netns,
                evidence=(evidence,),
            )

    def _kernel(self, walk: Walk) -> Iterable[Diagnosis]:
        """The kernel freed this very packet without sending it on."""
        key = header_key(walk.packet)
        mine = [d for d in self.clues.drops if d.packet == key and d.reason not in causes.HARMLESS]
        for drop in sorted(mine, key=lambda d: d.reason == "NOT_SPECIFIED"):
            function = self.name_function(drop.location)
            cause = causes.of_reason(drop.reason, function)
            if cause:
                yield self._made(walk, cause, drop.netns, _kernel_evidence(drop, function))

    def _wire(self, leg: Leg) -> Iterable[Diagnosis]:
        """An ICMP error about a packet of this leg, or a reset."""
        flows = {s.packet.flow for w in leg.walks for s in w.sightings}
        for error in self.clues.icmp:
            if error.flow in flows or error.flow.reversed() in flows:
                cause = causes.of_icmp(error)
                if cause:
                    yield self._made(leg.walks[0], cause, error.netns, _icmp_evidence(error))
        for walk in leg.walks:
            if walk.packet.reset and not leg.forward(walk):
                first = walk.sightings[0]
                evidence = Evidence(
                    source=Source.CAPTURE,
                    netns=first.tap.netns,
                    time_ns=first.time_ns,
                    reference=f"reset leaving {first.tap}",
                )
                yield self._made(walk, "no-listener", first.tap.netns, evidence)
                return

    def _silence(self, walk: Walk) -> Iterable[Diagnosis]:
        """Nobody answered for the destination's address where the packet ended."""
        last = walk.path()[-1]
        wanted = (self._chosen(walk) or last.packet.flow.destination).ip
        for silence in self.clues.silent:
            if silence.netns == last.tap.netns and silence.address == wanted:
                what = "ARP" if silence.address.version == 4 else "neighbour solicitation"
                words = f"{what} for {silence.address} asked {silence.asked} times on {silence.interface}, no answer"
                evidence = Evidence(
                    source=Source.CAPTURE,
                    netns=silence.netns,
                    time_ns=silence.time_ns,
                    reference=words,
                )
                yield self._made(walk, "neighbour", silence.netns, evidence)

    def _pieces(self, walk: Walk) -> Iterable[Diagnosis]:
        """Fewer fragments of it came to an interface than had passed the one before."""
        for before, after in pairwise(walk.path()):
            if before.packet.whole and not after.packet.whole and not self.clues.frames_lost:
                evidence = Evidence(
                    source=Source.CAPTURE,
                    confidence=Confidence.INFERRED,
                    netns=after.tap.netns,
                    time_ns=after.time_ns,
                    reference=f"{before.packet.fragments} fragments at {before.tap},"
                    f" {after.packet.fragments} at {after.tap}",
                )
                yield self._made(walk, "fragment", after.tap.netns, evidence)
                return

    def _counters(self, walk: Walk, netns: str, *, silent: bool) -> Iterable[Diagnosis]:
        """A counter of the namespace in which the packet ended rose while the request ran."""
        for counter in self.clues.counters:
            cause = causes.of_counter(counter.name)
            if counter.netns == netns and cause and (cause != "backlog" or silent):
                evidence = Evidence(
                    source=Source.COUNTERS,
                    confidence=Confidence.INFERRED,
                    netns=netns,
                    reference=f"{counter.name} rose by {counter.delta}",
                )
                yield self._made(walk, cause, netns, evidence)

    def _state(self, walk: Walk) -> Iterable[Diagnosis]:
        """What links, routes and settings say where the packet ended."""
        path = walk.path()
        last = path[-1]
        here = [s for s in path if s.tap.netns == last.tap.netns]
        ways = {
            d: next((s.tap.interface for s in here if s.tap.direction is d), "") for d in Direction
        }
        flow = last.packet.flow
        if not ways[Direction.OUT]:
            # Rewritten and then dropped: no tap saw the new address, the rule that chose it has it.
            flow = flow._replace(destination=self._chosen(walk) or flow.destination)
        stuck = Stuck(
            netns=last.tap.netns,
            inward=ways[Direction.IN],
            outward=ways[Direction.OUT],
            flow=flow,
            protocol=last.packet.protocol,
            source_netns=path[0].tap.netns,
        )
        for finding in self.clues.inspect(stuck):
            yield Diagnosis(
                verdict=causes.verdict(finding.cause),
                sentence=self._where(stuck.netns, finding),
                cause=finding.cause,
                netns=stuck.netns,
                evidence=(_state_evidence(stuck.netns, finding),),
            )

    def _chosen(self, walk: Walk) -> Address | None:
        """The destination that the last DNAT rule in the last namespace chose, or None."""
        rules = [r for h in self.witness.hops(walk)[-1:] for r in h.rules]
        port = walk.packet.flow.destination.port
        return next((to for r in reversed(rules) if (to := chosen_by(r.text, port))), None)

    def _where(self, netns: str, finding: Finding) -> str:
        word = "refused" if causes.verdict(finding.cause) is Verdict.REFUSED else "dropped"
        return f"{self.world.place(netns)} {word} it: {finding.words}"

    def _made(self, walk: Walk, cause: str, netns: str, evidence: Evidence) -> Diagnosis:
        where = str(self.world.place(netns)) if netns else "a router"
        return Diagnosis(
            verdict=causes.verdict(cause),
            sentence=f"{where} {causes.words(cause, family_of(walk.packet.flow.source.ip))}",
            cause=cause,
            netns=netns,
            evidence=(evidence,),
        )


def chosen_by(rule: str, port: int) -> Address | None:
    """Return the destination that a rule's text names, with a port that it may leave as it was; None of any other."""
    found = _DNAT.search(rule)
    if found is None:
        return None
    return Address(ip_address(found["six"] or found["four"]), int(found["port"] or port))


def _details(first: Diagnosis, other: Diagnosis) -> bool:
    """Whether another finding says the same in more words: those of the state, which name the thing."""
    state = other.evidence[0].source is Source.STATE
    return state and other.cause == first.cause and first.cause != "rule"


def _kernel_evidence(drop: Drop, function: str) -> Evidence:
    place = f" in {function}" if function else ""
    return Evidence(
        source=Source.KFREE_SKB,
        netns=drop.netns,
        time_ns=drop.time_ns,
        reference=f"drop reason {drop.reason}{place}",
    )


def _icmp_evidence(error: IcmpError) -> Evidence:
    mtu = f", MTU {error.mtu}" if error.mtu else ""
    name = "ICMP" if error.sender.version == 4 else "ICMPv6"
    return Evidence(
        source=Source.ICMP,
        netns=error.netns,
        time_ns=error.time_ns,
        reference=f"{name} type {error.type} code {error.code}{mtu} from {error.sender}",
    )


def _state_evidence(netns: str, finding: Finding) -> Evidence:
    return Evidence(
        source=Source.STATE,
        confidence=Confidence.INFERRED,
        netns=netns,
        reference=finding.reference,
    )
