"""One request as the ingress proxy logged it (a value)."""

from dataclasses import dataclass

from netpod.trace.model import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLine:
    """One request as the ingress proxy logged it; absent fields are None or "".

    Attributes:
        client: The connection's other end as the proxy saw it.
        ingress: "namespace/name" of the object whose rule matched, "" when none did; `kind` is Ingress or HTTPRoute.
        rule: That rule: host, path type, path.
        service: "namespace/name:port" that the rule names.
        backend: The proxy's own name for it.
        source: Address and port the proxy connected from.
        server: Address and port it connected to.
        ended: HAProxy's termination state, "--" for a request that went well.
    """

    trace_id: str
    client: Address | None
    ingress: str
    rule: str
    service: str
    backend: str
    source: Address | None
    server: Address | None
    status: int
    ended: str
    raw: str
    kind: str = "Ingress"
