"""Which rule takes a request: the values that Ingress objects are merged into, and the match itself.

How a host is chosen, then a path (kubenet-facts F.1, F.2):

    host   example.com    the Host header without port and trailing dot, in lower case
           *.foo.com      exactly one more label
           ""             every host that is none of the above
    path   Exact /foo     that path, byte for byte
           Prefix /foo    /foo, /foo/, /foo/bar, never /foobar; the longest wins, Exact wins over Prefix
           (default)      the host's default backend, else the controller's

A host that is known keeps its requests: a path it does not serve never falls back to a wildcard or to rules
without host, only to a default backend. ImplementationSpecific means Prefix.

Source: Kubernetes Ingress concept page, "Path types", "Hostname wildcards", "DefaultBackend".
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from netpod.api.meta import Key

DEFAULT_BACKEND = "DefaultBackend"
"""What stands as `path_type` of a default backend's rule."""


ENDPOINTS, H2C = "endpoints", "h2c"
"""Words in a target's id, after the port."""


class Upstream(StrEnum):
    """Where HAProxy sends requests: to the Service's cluster IP, or past kube-proxy to the pods."""

    SERVICE = "service"
    ENDPOINTS = "endpoints"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Options:
    """What annotations ask for about requests that one rule takes; without any, nothing.

    Attributes:
        redirect: Plain HTTP is sent to HTTPS.
        rewrite: (path of the rule, what stands in for it); empty for none.
        connect_ms: How long a connection may take; 0 is the default, here and below.
        read_ms: How long a server may say nothing.
        tunnel_ms: How long a WebSocket may be silent.
        cookie: Name of the cookie that says which pod a client has; "" for none.
        rate: Requests per second of one client address; 0 is any number.
        realm: Of basic authentication.
        users: (name, hash in the form of crypt(3)).
        sources: Networks that clients may come from; none is all.
        refuse: Why nobody is let in; "" when somebody is.
        host: What servers see as the Host; "" is what was asked for.
        full_path: The same for the path.
        request_headers: (set, add or del; name; value) in order.
        response_headers: The same for what comes back.
    """

    redirect: bool = False
    rewrite: tuple[str, ...] = ()
    connect_ms: int = 0
    read_ms: int = 0
    tunnel_ms: int = 0
    cookie: str = ""
    rate: int = 0
    realm: str = ""
    users: tuple[tuple[str, str], ...] = ()
    sources: tuple[str, ...] = ()
    refuse: str = ""
    host: str = ""
    full_path: str = ""
    request_headers: tuple[tuple[str, str, str], ...] = ()
    response_headers: tuple[tuple[str, str, str], ...] = ()

    @property
    def digest(self) -> str:
        """Eight characters that differ between different options."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Target:
    """A Service port as an Ingress names it: `port` is a number, or the port's name."""

    namespace: str
    service: str
    port: str
    upstream: Upstream = Upstream.SERVICE
    options: Options = Options()

    @property
    def id(self) -> str:
        """Name without characters HAProxy refuses: `NAMESPACE:SERVICE:PORT`.

        `:endpoints` follows past kube-proxy, and eight characters that stand for options.
        """
        parts = [self.namespace, self.service, self.port]
        if self.upstream is Upstream.ENDPOINTS:
            parts.append(ENDPOINTS)
        if self.options != Options():
            parts.append(self.options.digest)
        return ":".join(parts)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Address:
    """Where a backend listens: an IP address in text form and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What a target resolves to. `why` says what keeps it from answering, "" when nothing is known to.

    `h2c`: it speaks HTTP/2 without TLS, as gRPC does.
    """

    addresses: tuple[Address, ...] = ()
    why: str = ""
    h2c: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of an Ingress, or its default backend (`path` "" and `path_type` DEFAULT_BACKEND)."""

    host: str
    path: str
    path_type: str
    ingress: Key
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All that is served for one host.

    Attributes:
        exact: Rules by path.
        prefix: Rules by path with one trailing slash, so that "/foo/" is a prefix of "/foobar" + "/" never.
        default: Where other paths go, if anywhere.
    """

    exact: Mapping[str, Rule] = field(default_factory=dict)
    prefix: Mapping[str, Rule] = field(default_factory=dict)
    default: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with an Ingress that leaves the rest of it in service; becomes a Warning event."""

    ingress: Key
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What the controller serves.

    Attributes:
        sites: By host: `example.com`, `*.foo.com`, or "" for rules without host.
        default: The controller's default backend.
        backends: By target, each target that a rule of `sites` or `default` names.
        problems: What is wrong, ordered.
        certificates: PEM of chain and key by TLS host: `example.com` or `*.foo.com`.
        secrets: Secrets that are named, whether they exist or not.
        changes: When a certificate begins or ends to be valid next.
    """

    sites: Mapping[str, Site] = field(default_factory=dict)
    default: Rule | None = None
    backends: Mapping[Target, Backend] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[Key] = frozenset()
    changes: datetime | None = None


def normalize_host(header: str) -> str:
    """Return the host of a Host header: without port and trailing dot, in lower case."""
    host = header.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def wildcard_of(host: str) -> str:
    """Return the wildcard that covers a host: `bar.foo.com` -> `*.foo.com`."""
    _, dot, rest = host.partition(".")
    return f"*.{rest}" if dot else ""


def prefix_key(path: str) -> str:
    """Return a Prefix path as elements: without trailing slashes but one; `/foo` and `/foo/` are the same."""
    return path.rstrip("/") + "/"


def match(routing: Routing, host: str, path: str) -> Rule | None:
    """Say which rule takes a request, or None (HTTP 404).

    Args:
        routing: What is served.
        host: The Host header.
        path: The request's path, without query.
    """
    name = normalize_host(host)
    site = routing.sites.get(name) if name else None
    if site is None and (wildcard := wildcard_of(name)):
        site = routing.sites.get(wildcard)
    if site is None:
        site = routing.sites.get("", Site())
    if path in site.exact:
        return site.exact[path]
    elements = path + "/"
    fitting = [key for key in site.prefix if elements.startswith(key)]
    if fitting:
        return site.prefix[max(fitting, key=len)]
    return site.default or routing.default
