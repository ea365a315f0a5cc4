"""The packet that is followed in thought, and what a rule may do to it (values; pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from netpod.ip import Address, Family, family_of
from netpod.trace import model as endpoint

Virtual = tuple[Address, int, str]
"""Address, port and protocol ("tcp") of a virtual server."""


class Fate(StrEnum):
    """What a rule, chain or namespace decides."""

    CONTINUE = "continue"
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What becomes of a request that an ingress proxy has read.

    Attributes:
        rule: In words: what matches and where it leads, or why nothing does.
        addresses: All that the proxy may connect to; none when it answers itself.
        redirects: Whether that answer is a redirect that the rule asks for.
    """

    rule: str
    addresses: tuple[endpoint.Address, ...] = ()
    redirects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """A packet that opens a connection, as it would be at one place.

    Attributes:
        protocol: "tcp", "udp", "icmp" or "icmpv6".
        inward: Link it came in by, "" when a local socket sends it.
        outward: Link it goes out by, "" before routing.
        masquerade: A rule said that its source becomes the node's own.
        translated: A rule changed its destination; NAT is decided once.
        met: Chains in which a rule matched, in order.
        virtual: The virtual server of IPVS that sent it here, in this namespace.
        unsure: Texts of rules that could not be read and might have mattered.
    """

    source: Address
    destination: Address
    protocol: str
    source_port: int
    destination_port: int
    inward: str = ""
    outward: str = ""
    mark: int = 0
    masquerade: bool = False
    translated: bool = False
    met: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    stopped_by: str = ""
    virtual: Virtual | None = None

    @property
    def family(self) -> Family:
        """Family of its addresses."""
        return family_of(self.destination)

    @property
    def echo(self) -> bool:
        """Whether it is an ICMP echo request of either family."""
        return self.protocol in ("icmp", "icmpv6")


Result = tuple[Fate, Mock]
"""What became of it, and how it looks then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The namespace that a packet is in.

    Attributes:
        local: Its own addresses.
        bridges: Names of its bridges.
        sets: Type and members of its ipsets, e.g. ("bitmap:port", {"31080"}).
    """

    netns: str
    local: frozenset[Address] = field(default_factory=frozenset)
    bridges: frozenset[str] = field(default_factory=frozenset)
    sets: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)

    def is_local(self, ip: Address) -> bool:
        """Whether an address is the namespace's own."""
        return ip in self.local or ip.is_loopback
