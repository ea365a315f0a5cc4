"""What a trace is asked for (pure)."""

from dataclasses import dataclass
from enum import StrEnum

from netpod.ip import Family, family_of
from netpod.trace.model import Address

HEADER = "X-Netpod-Trace"
"""Marks the traced request. The ingress sends it by a twin of its backend with a source port from RESERVED_PORTS."""
RESERVED_PORTS = (61000, 61999)
"""Source ports of traced upstream connections: above net.ipv4.ip_local_port_range (32768-60999), so no one else's."""


class Kind(StrEnum):
    """What is sent. `tcp` only opens a connection; `udp` sends one datagram; `dns` one query over UDP."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    UDP = "udp"
    DNS = "dns"
    ICMP = "icmp"


_NUMBERS = {Kind.UDP: 17, Kind.DNS: 17}
_ECHO = {Family.IPV4: 1, Family.IPV6: 58}


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """What to send.

    Attributes:
        id: Trace identity, sent in the header; letters and digits, unique.
        url: The target as the user wrote it.
        host: Host header, with the port when it is not 80; also the name TLS asks for.
        path: Path and query, begins with "/".
        connect: Address to connect to: the load balancer's, whatever the host's name resolves to elsewhere.
        netns: Namespace the client stands in.
        timeout: Seconds for connecting and for each silence after.
        kind: What is sent.
        query: Name that a DNS query asks for, without a dot at its end.
        record: Type of record that it asks for.
        size: Payload bytes of a UDP datagram or an ICMP echo; 0 is a short one. What fits the client's own link is
            sent with "don't fragment", so that a smaller MTU on the way is found; what does not, in fragments.
        whole: Never in fragments.
        ttl: Hops the packets may take; 0 is the kernel's default.
        nth: Which request on its connection is followed; those before it are sent without the identity.
        note: How the target's address was found, e.g. by which name, or "".
    """

    id: str
    url: str
    host: str
    path: str
    connect: Address
    netns: str
    method: str = "GET"
    timeout: float = 5.0
    reserved: tuple[int, int] = RESERVED_PORTS
    headers: tuple[tuple[str, str], ...] = ()
    kind: Kind = Kind.HTTP
    query: str = ""
    record: str = "A"
    size: int = 0
    whole: bool = False
    ttl: int = 0
    nth: int = 1
    note: str = ""

    @property
    def protocol(self) -> int:
        """IP protocol number."""
        return _ECHO[self.family] if self.kind is Kind.ICMP else _NUMBERS.get(self.kind, 6)

    @property
    def family(self) -> Family:
        """Family of the address it connects to."""
        return family_of(self.connect.ip)

    @property
    def protocol_name(self) -> str:
        """The protocol as nft and conntrack write it: "tcp", "udp", "icmp" or "icmpv6"."""
        return {17: "udp", 1: "icmp", 6: "tcp", 58: "icmpv6"}[self.protocol]

    @property
    def http(self) -> bool:
        """Whether an HTTP request is sent."""
        return self.kind in (Kind.HTTP, Kind.HTTPS)

    @property
    def what(self) -> str:
        """What is sent, in words, e.g. "GET http://example.com/"."""
        if self.http:
            which = f" as request {self.nth} on one connection" if self.nth > 1 else ""
            return f"{self.method} {self.url}{which}"
        if self.kind is Kind.DNS:
            return f"DNS query for {self.query} ({self.record}) to {self.url}"
        return f"{self.kind.upper()} to {self.url}"
