"""Routing -> HAProxy's configuration and the maps it searches (pure).

HAProxy 2.6 and later. Routes are data, not configuration: the host picks a site in hosts.map, `SITE#PATH` picks
a rule in exact.map or, with one slash appended and the longest key winning, in prefix.map. `SITE#` alone in
prefix.map is the site's default backend. A rule reads

    TARGET|SERVICE|INGRESS|PATHTYPE|HOST|PATH         default:web:80|default/web:80|default/site|Prefix|a.io|/

and names the configuration's section `svc-TARGET`. A request with the header X-Netpod-Trace goes through its twin
`trace-TARGET`, which opens a connection of its own from a source port of TRACE_PORTS: so the connection behind
the proxy is known before its first packet leaves. HAProxy binds to a source port only together with an address
(haproxy issue 2204), hence Settings.source.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netpod.ingress import sections
from netpod.ingress.gateway import frontend as gateways
from netpod.ingress.gateway.frontend import ROUTES
from netpod.ingress.gateway.model import Frontend
from netpod.ingress.model import H2C, Address, Backend, Options, Routing, Rule, Target

TRACE_HEADER = "X-Netpod-Trace"
TRACE_PORTS = (61000, 61999)
"""Source ports of traced requests; above net.ipv4.ip_local_port_range, so nothing else has them."""
LOGGED_PER_SECOND = 500
"""While a frontend has more requests a second, one of a hundred is logged, and all that are traced or fail by 5xx:
an access line costs half of what a request does, and nobody reads so many."""
EVERY_HOST = "*"
"""The site of rules without host."""
HOSTS, EXACT, PREFIX, WHY = "hosts.map", "exact.map", "prefix.map", "why.map"
MAPS = (HOSTS, EXACT, PREFIX, ROUTES, WHY)
CERTIFICATES, DEFAULT_CERTIFICATE = "certificates.list", "default.pem"
"""Which certificate for which name a client asks for (SNI); the one for all others."""

Slots = Mapping[str, tuple[Address | None, ...]]
"""Servers by target id. A server without address is in maintenance, ready to be given one at run time."""
Maps = Mapping[str, Mapping[str, str]]
"""Key -> value, by the map's file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What does not come from the API.

    Attributes:
        bind: Arguments of `bind` in the HTTP frontend, e.g. "0.0.0.0:80" or "fd@7".
        tls: The same for HTTPS; none leaves certificates aside.
        health: Where GET /healthz says 200 while HAProxy lives, and /metrics its metrics in Prometheus' form, e.g.
            "0.0.0.0:10254"; "" for nowhere.
        sources: Addresses of this pod, which traced requests come from, at most one of each family.
        gateways: Arguments of `bind` by what a Gateway's frontend listens on; the port where there are none.
        socket: Path of the runtime API's unix socket.
        maxconn: Connections of clients at a time.
    """

    bind: tuple[str, ...]
    tls: tuple[str, ...] = ()
    health: str = ""
    sources: tuple[str, ...]
    socket: str
    gateways: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    maxconn: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a HAProxy runs with."""

    slots: Slots = field(default_factory=dict)
    maps: Maps = field(default_factory=lambda: {name: {} for name in MAPS})
    options: Mapping[str, Options] = field(default_factory=dict)
    """By target id, of targets that have any."""
    certificates: Mapping[str, str] = field(default_factory=dict)
    """PEM by host, each in a file of its own, so that changing one is one transaction."""
    frontends: tuple[Frontend, ...] = ()
    """Of Gateways."""


def compile(
    routing: Routing,
    frontends: Iterable[Frontend] = (),
    backends: Mapping[Target, Backend] | None = None,
) -> Config:
    """Turn a routing, and the frontends of Gateways with their backends, into addresses and maps; deterministic."""
    maps: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    every = {**routing.backends, **(backends or {})}
    ids = {target: _id(target, backend) for target, backend in every.items()}
    served = tuple(frontends)
    for frontend in served:
        maps[ROUTES].update(gateways.lines(frontend, ids))
        maps[WHY].update(gateways.reasons(frontend))
    for host, site in sorted(routing.sites.items()):
        name = host or EVERY_HOST
        maps[HOSTS][name] = name
        for path, rule in sorted(site.exact.items()):
            maps[EXACT][f"{name}#{path}"] = _line(rule, ids)
        for path, rule in sorted(site.prefix.items()):
            maps[PREFIX][f"{name}#{path}"] = _line(rule, ids)
        default = site.default or routing.default
        if default is not None:
            maps[PREFIX][f"{name}#"] = _line(default, ids)
    if routing.default is not None:
        maps[PREFIX].setdefault(f"{EVERY_HOST}#", _line(routing.default, ids))
    for target, backend in sorted(every.items()):
        maps[WHY][ids[target]] = _why(backend)
    slots = {ids[target]: backend.addresses for target, backend in sorted(every.items())}
    options = {ids[t]: t.options for t in every if t.options != Options()}
    return Config(
        slots=slots,
        maps=maps,
        options=options,
        certificates=dict(sorted(routing.certificates.items())),
        frontends=served,
    )


def certificate_file(host: str) -> str:
    """Name of a host's certificate file, below the configuration's folder."""
    return f"certificates/{host.replace('*', '_')}.pem"


def certificates_text(hosts: Iterable[str]) -> str:
    """Return the list of certificates; the first is for whoever asks for none of the others."""
    lines = [f"{DEFAULT_CERTIFICATE} !*", *(f"{certificate_file(h)} {h}" for h in sorted(hosts))]
    return "".join(f"{line}\n" for line in lines)


def _why(backend: Backend) -> str:
    """What the 503 page says, for the case that it is ever sent."""
    places = ", ".join(map(str, backend.addresses[:3])) + (", ..." if backend.addresses[3:] else "")
    failing = f"connections to {places} fail" if places else ""
    return ", and ".join(filter(None, (backend.why, failing)))


def _id(target: Target, backend: Backend) -> str:
    """Name of a target's section; a Service that begins to speak HTTP/2 gets another one."""
    return f"{target.id}:{H2C}" if backend.h2c else target.id


def _line(rule: Rule, ids: Mapping[Target, str]) -> str:
    return "|".join(
        (
            ids[rule.target],
            str(rule.target),
            str(rule.ingress),
            rule.path_type,
            rule.host or EVERY_HOST,
            rule.path,
        )
    )


def map_text(entries: Mapping[str, str]) -> str:
    """Return a map file: one `key value` a line, sorted."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def text(config: Config, settings: Settings) -> str:
    """Return haproxy.cfg; the maps are files beside it."""
    parts = [_HEAD.format(socket=settings.socket, maxconn=settings.maxconn, log=_log_format())]
    if settings.health:
        parts.append(_HEALTH.format(health=settings.health))
    https = [f"{bind} ssl crt-list {CERTIFICATES} alpn h2,http/1.1" for bind in settings.tls]
    binds = "\n".join(f"    bind {bind}" for bind in (*settings.bind, *https))
    head = _REQUEST.format(trace=TRACE_HEADER, logged=LOGGED_PER_SECOND)
    parts.append(_FRONTEND.format(binds=binds, head=head, send=_SEND))
    for frontend in config.frontends:
        own = settings.gateways.get(frontend.bind, (f"0.0.0.0:{frontend.bind}",))
        parts.append(gateways.text(frontend, own, head, _SEND))
    parts.append(_UNKNOWN)
    parts.append(sections.userlists(config.options.values()))
    for target, addresses in sorted(config.slots.items()):
        options = config.options.get(target, Options())
        source = _source(settings, addresses)
        for twin, words in (("", ""), (_TRACE_OPTIONS, source)):
            parts.append(sections.backend(target, addresses, options, twin=twin, source=words))
    return "\n".join(parts)


def _source(settings: Settings, addresses: Sequence[Address | None]) -> str:
    """Words that bind the connections of traced requests to our address of the servers' family."""
    six = any(it is not None and ":" in it.ip for it in addresses)
    own = next((it for it in settings.sources if (":" in it) == six), settings.sources[0])
    return f" source {own}:{TRACE_PORTS[0]}-{TRACE_PORTS[1]}"


def _log_format() -> str:
    """One JSON object a request. `client` and `source` are the two connections, joined; -1 ms: not reached."""

    def escaped(expression: str) -> str:
        return f'"%[{expression},json(utf8s)]"'

    fields = {
        "time": "%Ts.%ms",
        "trace": escaped("var(txn.trace)"),
        "id": '"%ID"',
        "request_id": escaped("var(txn.request)"),
        "client": '"%ci:%cp"',
        "frontend": '"%f"',
        "tls": '"%sslv"',
        "local": '"%fi:%fp"',
        "method": '"%HM"',
        "host": escaped("var(txn.host)"),
        "path": escaped("var(txn.path)"),
        "kind": escaped("var(txn.kind)"),
        "ingress": escaped("var(txn.rule),field(3,|)"),
        "rule_path_type": escaped("var(txn.rule),field(4,|)"),
        "rule_host": escaped("var(txn.rule),field(5,|)"),
        "rule_path": escaped("var(txn.rule),field(6,|,0)"),
        "backend": escaped("var(txn.rule),field(2,|)"),
        "haproxy_backend": '"%b"',
        "server": '"%s"',
        "source": '"%bi:%bp"',
        "destination": '"%si:%sp"',
        "status": "%ST",
        "ended": '"%ts"',
        "retries": '"%rc"',
        "request_ms": "%TR",
        "queue_ms": "%Tw",
        "connect_ms": "%Tc",
        "response_ms": "%Tr",
        "total_ms": "%Ta",
        "bytes_in": "%U",
        "bytes_out": "%B",
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


# A refused connection is retried once, after a second: by then kube-proxy has dropped a pod that just died. A Service
# that is known not to answer is tried once, by the twin for traced requests: kube-proxy refuses it at once.
_HEAD = """\
global
    maxconn {maxconn}
    nbthread 1
    no strict-limits
    hard-stop-after 30s
    default-path config
    stats socket {socket} mode 600 level admin
    stats timeout 1h
    tune.ssl.cachesize 1000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    log stdout len 8192 format raw local0

defaults
    mode http
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout client 60s
    timeout connect 1s
    timeout server 60s
    timeout tunnel 1h
    retries 1
    option redispatch
    option dontlognull
    option idle-close-on-response
    balance roundrobin
    http-reuse safe
    unique-id-format %[uuid()]
    log-format '{log}'
    http-error status 502 content-type text/plain lf-string \
"502: %[var(txn.kind)] %[var(txn.rule),field(3,|)] sent this to Service %[var(txn.rule),field(2,|)], \
whose server %si:%sp broke off or sent no valid answer\\n"
    http-error status 503 content-type text/plain lf-string \
"503: %[var(txn.kind)] %[var(txn.rule),field(3,|)] matched, but Service %[var(txn.rule),field(2,|)] does not answer: \
%[var(txn.rule),field(1,|),map_str(why.map)]\\n"
    http-error status 504 content-type text/plain lf-string \
"504: %[var(txn.kind)] %[var(txn.rule),field(3,|)] sent this to Service %[var(txn.rule),field(2,|)], \
whose server %si:%sp did not answer in time\\n"
"""

_HEALTH = """\
frontend health
    bind {health}
    http-request return status 200 content-type text/plain string "ok\\n" if {{ path /healthz }}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request return status 404 content-type text/plain string "only /healthz and /metrics are here\\n"
"""

# Requests end and begin connections of their own, so X-Forwarded-* are what we saw, whatever the client claims.
_REQUEST = """\
    log global
    http-request set-log-level silent if {{ fe_req_rate gt {logged} }} {{ rand(100) gt 0 }} \
!{{ req.hdr({trace}) -m found }}
    http-response set-log-level info if {{ status ge 500 }}
    http-request set-var(txn.trace) req.hdr({trace}) if {{ req.hdr({trace}) -m found }}
    http-request set-var(txn.path) path
    http-request set-var(txn.host) req.hdr(Host),host_only,lower,rtrim(.)
    http-request set-header X-Request-ID %[unique-id] unless {{ req.hdr(X-Request-ID) -m found }}
    http-request set-var(txn.request) req.hdr(X-Request-ID)
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
"""

# A set-var that finds nothing leaves the variable as it was, so an exact path comes after prefixes.
_FRONTEND = """\
frontend http
{binds}
{head}\
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-var(txn.kind) str(Ingress)
    http-request set-var(txn.site) var(txn.host),map_str(hosts.map)
    http-request set-var(txn.site) var(txn.host),regsub(^[^.]+,*),map_str(hosts.map) unless {{ var(txn.site) -m found }}
    http-request set-var(txn.site) str(*) unless {{ var(txn.site) -m found }}
    http-request set-var(txn.rule) 'var(txn.site),concat(#,txn.path,/),map_beg(prefix.map)'
    http-request set-var(txn.rule) 'var(txn.site),concat(#,txn.path),map_str(exact.map)'
    http-request return status 404 content-type text/plain hdr X-Content-Type-Options nosniff lf-string \
"404: no Ingress serves host %[var(txn.host)]\\n" \
if !{{ var(txn.rule) -m found }} {{ var(txn.site) -m str * }}
    http-request return status 404 content-type text/plain hdr X-Content-Type-Options nosniff lf-string \
"404: no rule of host %[var(txn.site)] matches path %[var(txn.path)]\\n" unless {{ var(txn.rule) -m found }}
{send}"""

_SEND = """\
    use_backend trace-%[var(txn.rule),field(1,|)] if { var(txn.trace) -m found } or \
{ var(txn.rule),field(1,|),map_str(why.map) -m beg "Service " }
    use_backend svc-%[var(txn.rule),field(1,|)]
    default_backend unknown
"""

# A rule whose target is not configured; the order in which changes are made keeps requests out of here.
_UNKNOWN = """\
backend unknown
"""

_TRACE_OPTIONS = """\
    retries 0
    http-reuse never
    option http-server-close
"""
