"""IPVS as a witness: which virtual server took a packet, and which real server it chose (pure).

There is no rule to report. Proof of the choice is IPVS' own list of connections, which keeps a closed one for two
minutes; where an entry is not there any more, the choice is inferred from the addresses on the wire.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netpod.trace.model import Address, Confidence, Evidence, Flow, RuleHit, Source

FAMILY = "ipvs"
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_LATE = (("filter", "OUTPUT"), *(("nat", it) for it in ("POSTROUTING", "KUBE-POSTROUTING")))
"""Table and chain of the rules that a packet may meet first behind its virtual server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvsConnection:
    """One connection: its protocol ("tcp"), who opened it, to which virtual server, and where it goes."""

    protocol: str
    client: Address
    virtual: Address
    real: Address
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualServer:
    """A virtual server: "TCP 10.96.0.1:443 rr", its address, protocol, and real servers with their weights."""

    address: Address
    protocol: str
    scheduler: str
    real: tuple[tuple[Address, int], ...]

    @property
    def name(self) -> str:
        """As ipvsadm lists it."""
        return f"{self.protocol.upper()} {self.address} {self.scheduler}"

    @property
    def open(self) -> tuple[Address, ...]:
        """Real servers that take new connections."""
        return tuple(address for address, weight in self.real if weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipvs:
    """IPVS of one namespace."""

    servers: tuple[VirtualServer, ...]
    connections: tuple[IpvsConnection, ...] = ()

    def server(self, at: Address, protocol: str) -> VirtualServer | None:
        """The virtual server at an address and port, or None."""
        return next(
            (it for it in self.servers if (it.address, it.protocol) == (at, protocol)), None
        )

    def taken(self, flow: Flow, protocol: str) -> IpvsConnection | None:
        """What IPVS says of a connection, or None."""
        found = (
            it
            for it in self.connections
            if (it.client, it.virtual, it.protocol) == (flow.source, flow.destination, protocol)
        )
        return next(found, None)


def with_choice(
    rules: Sequence[RuleHit],
    where: Mapping[str, Ipvs],
    netns: str,
    before: Flow,
    after: Flow,
    protocol: int,
) -> tuple[RuleHit, ...]:
    """Put the virtual server's choice among the rules that a packet met in a namespace, where it stands (pure)."""
    hit = choice(where, netns, before, after, protocol)
    if hit is None:
        return tuple(rules)
    late = next(
        (i for i, rule in enumerate(rules) if (rule.table, rule.chain) in _LATE), len(rules)
    )
    return (*rules[:late], hit, *rules[late:])


def choice(
    where: Mapping[str, Ipvs], netns: str, before: Flow, after: Flow, protocol: int
) -> RuleHit | None:
    """The choice as if it were a rule; None when no virtual server took the packet (pure)."""
    name = _PROTOCOLS.get(protocol, "")
    known = where.get(netns)
    server = known.server(before.destination, name) if known is not None else None
    if known is None or server is None:
        return None
    taken = known.taken(before, name)
    real = taken.real if taken is not None else after.destination
    if taken is None and before.destination == after.destination:
        return None
    confidence = Confidence.PROVEN if taken is not None else Confidence.INFERRED
    reference = (
        f"ip_vs_conn {name.upper()} {taken.client} {taken.virtual} {taken.real} {taken.state}"
        if taken is not None
        else f"virtual server {server.name}; its connection is not listed any more"
    )
    weight = dict(server.real).get(real)
    count = len(server.open)
    drains = "" if weight else ", which takes no new connections by now"
    return RuleHit(
        netns=netns,
        family=FAMILY,
        table=FAMILY,
        chain=server.name,
        handle=0,
        verdict="accept",
        target="",
        text=f"-> {real} Masq" + ("" if weight is None else f" {weight}"),
        meaning=f"1 of {count} real servers, chosen by {server.scheduler}: {real}{drains}",
        evidence=(
            Evidence(source=Source.IPVS, confidence=confidence, netns=netns, reference=reference),
        ),
    )


def refusal(
    where: Mapping[str, Ipvs], netns: str, to: Address, protocol: int
) -> VirtualServer | None:
    """The virtual server at an address that has no real server to send to, or None (pure)."""
    known = where.get(netns)
    server = known.server(to, _PROTOCOLS.get(protocol, "")) if known is not None else None
    return server if server is not None and not server.open else None
