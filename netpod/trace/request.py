"""What a trace is asked for (pure)."""

from dataclasses import dataclass

from netpod.trace.model import Address

HEADER = "X-Netpod-Trace"
"""Marks the traced request. The ingress sends it by a twin of its backend with a source port from RESERVED_PORTS."""
RESERVED_PORTS = (61000, 61999)
"""Source ports of traced upstream connections: above net.ipv4.ip_local_port_range (32768-60999), so no one else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """What to send.

    Attributes:
        id: Trace identity, sent in the header; letters and digits, unique.
        host: Host header, with the port when it is not 80.
        path: Path and query, begins with "/".
        connect: Address to connect to: the load balancer's, whatever the host's name resolves to elsewhere.
        netns: Namespace the client stands in.
        timeout: Seconds for connecting and for each silence after.
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
