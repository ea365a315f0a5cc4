"""Would this connection be allowed, and which policies say so (pure): the answer without a packet.

A connection passes when both ends agree: the source's egress and the destination's ingress. The node a pod runs on
always reaches it, and a pod itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpod.ip import Address
from netpod.policy.model import (
    Block,
    Direction,
    PodFacts,
    Policy,
    Rule,
    Selector,
    namespace_labels,
)

Labels = Mapping[str, Mapping[str, str]]
"""Labels by namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One end of a connection.

    Attributes:
        address: As the packet has it where it is judged: after DNAT, before masquerading.
        pod: The pod whose address that is; None is a node or the world.
        node: Name of the node, when it is one.
    """

    address: Address
    pod: PodFacts | None = None
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one end's policies say.

    Attributes:
        direction: Egress is the source's side, Ingress the destination's.
        allowed: Whether the connection passes on this side.
        isolating: Policies that isolate the pod in this direction; none: everything is allowed.
        allowing: Those of them that allow this connection.
        exempt: Why no policy is asked, or "".
    """

    direction: Direction
    allowed: bool
    isolating: tuple[Policy, ...] = ()
    allowing: tuple[Policy, ...] = ()
    exempt: str = ""

    def __str__(self) -> str:
        name = self.direction.lower()
        if self.exempt:
            return f"{name}: allowed, {self.exempt}"
        if not self.isolating:
            return f"{name}: allowed, no policy isolates it"
        if self.allowing:
            return f"{name}: allowed by {', '.join(map(str, self.allowing))}"
        return f"{name}: denied, isolated by {', '.join(map(str, self.isolating))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Both sides of a connection."""

    egress: Side
    ingress: Side

    @property
    def allowed(self) -> bool:
        """Whether the connection passes."""
        return self.egress.allowed and self.ingress.allowed

    @property
    def deciding(self) -> tuple[Policy, ...]:
        """Policies without which it might be otherwise: those that allow it, or those that deny it."""
        found: dict[Policy, None] = {}
        for side in (self.egress, self.ingress):
            if self.allowed:
                found.update(dict.fromkeys(side.allowing))
            elif not side.allowed:
                found.update(dict.fromkeys(side.isolating))
        return tuple(found)


def check(
    policies: Iterable[Policy],
    namespaces: Labels,
    source: Party,
    destination: Party,
    protocol: str,
    port: int,
) -> Verdict:
    """Judge a connection.

    Args:
        policies: All policies; those of other namespaces do no harm.
        namespaces: Labels by namespace.
        source: Who opens it.
        destination: Whom it is opened to, after DNAT.
        protocol: TCP, UDP or SCTP; anything else is allowed only by rules without ports.
        port: Of the destination, e.g. a container's.
    """
    known = list(policies)
    exempt = ""
    if source.pod is not None and source.address == destination.address:
        exempt = "a pod reaches itself"
    return Verdict(
        egress=_side(
            known, namespaces, Direction.EGRESS, source, destination, protocol, port, exempt
        ),
        ingress=_side(
            known, namespaces, Direction.INGRESS, destination, source, protocol, port, exempt
        ),
    )


def _side(
    policies: list[Policy],
    namespaces: Labels,
    direction: Direction,
    subject: Party,
    peer: Party,
    protocol: str,
    port: int,
    exempt: str,
) -> Side:
    pod = subject.pod
    if pod is None:
        return Side(direction=direction, allowed=True)
    if not exempt and direction is Direction.INGRESS and peer.node and peer.node == pod.node:
        exempt = "a node reaches its own pods"
    if exempt:
        return Side(direction=direction, allowed=True, exempt=exempt)
    destination = pod if direction is Direction.INGRESS else peer.pod
    isolating, allowing = [], []
    for policy in policies:
        rules = policy.rules(direction)
        if rules is None or not policy.selects(pod):
            continue
        isolating.append(policy)
        if any(_allows(rule, namespaces, peer, destination, protocol, port) for rule in rules):
            allowing.append(policy)
    return Side(
        direction=direction,
        allowed=bool(allowing) or not isolating,
        isolating=tuple(isolating),
        allowing=tuple(allowing),
    )


def _allows(
    rule: Rule,
    namespaces: Labels,
    peer: Party,
    destination: PodFacts | None,
    protocol: str,
    port: int,
) -> bool:
    if rule.peers is None:
        return _ports(rule, protocol, port, destination)
    for other in rule.peers:
        # A named port is asked of pods that were chosen as such, never of an address.
        named = destination
        if isinstance(other, Block) and peer.pod is not None and destination is peer.pod:
            named = None
        if _is(other, peer, namespaces) and _ports(rule, protocol, port, named):
            return True
    return False


def _ports(rule: Rule, protocol: str, port: int, destination: PodFacts | None) -> bool:
    return rule.ports is None or any(
        match.matches(protocol, port, destination) for match in rule.ports
    )


def _is(other: Selector | Block, peer: Party, namespaces: Labels) -> bool:
    if isinstance(other, Block):
        return other.matches(peer.address)
    if peer.pod is None:
        return False
    space = peer.pod.key.namespace
    return other.matches(peer.pod, namespace_labels(space, namespaces.get(space)))
