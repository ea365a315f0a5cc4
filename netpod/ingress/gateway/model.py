"""What HAProxy serves for Gateways: one frontend per Gateway and port (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from netpod.api.meta import Key
from netpod.ingress.model import Target

CONTROLLER = "netpod.dev/gateway"
"""`spec.controllerName` of the GatewayClasses served here."""
CLASS = "netpod"
"""The GatewayClass that is there from the start."""


class Kind(StrEnum):
    """How a value is compared."""

    EXACT = "Exact"
    PREFIX = "PathPrefix"
    REGEX = "RegularExpression"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Value:
    """A header or query parameter that must have a value."""

    name: str
    value: str
    kind: Kind = Kind.EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where a share of the requests goes: to a target, or, with `why`, to the answer 500."""

    target: Target | None = None
    weight: int = 1
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where clients are sent; "" and 0 stay as they were asked.

    `full_path` replaces the path, `prefix` its matched beginning: (what was matched, what stands in for it).
    """

    scheme: str = ""
    host: str = ""
    port: int = 0
    full_path: str = ""
    prefix: tuple[str, ...] = ()
    status: int = 302
    response_headers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One match of a route's rule: what requests must be like, and what becomes of them.

    Attributes:
        id: Unique among all matches.
        route: The HTTPRoute.
        hostname: The name that listener and route have in common; `*.a.com` is any number of labels more.
        method: "" is any.
        outcomes: Weighted; their weights may all be 0, which is an answer 500, too.
        redirect: Instead of outcomes.
    """

    id: str
    route: Key
    hostname: str
    kind: Kind
    path: str
    method: str = ""
    headers: tuple[Value, ...] = ()
    params: tuple[Value, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    redirect: Redirect | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A listener: requests for its hostname, "" being all, are its own, whether one of its matches fits or not."""

    name: str
    hostname: str
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """Listeners of one Gateway on one port.

    Attributes:
        gateway: The Gateway.
        port: What clients connect to.
        bind: What HAProxy listens on in its pod.
        https: TLS ends here.
        sites: The less specific their hostnames, the earlier.
        certificates: (hostname, file) pairs; hostname "" is for who asks for no other.
        pems: PEM of chain and key by file.
    """

    gateway: Key
    port: int
    bind: int
    https: bool = False
    sites: tuple[Site, ...] = ()
    certificates: tuple[tuple[str, str], ...] = ()
    pems: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its section and of its files, without characters HAProxy refuses."""
        return f"gateway-{self.gateway.namespace}:{self.gateway.name}:{self.port}"

    @property
    def targets(self) -> frozenset[Target]:
        """What its requests may be sent to."""
        return frozenset(
            outcome.target
            for site in self.sites
            for match in site.matches
            for outcome in match.outcomes
            if outcome.target is not None
        )
