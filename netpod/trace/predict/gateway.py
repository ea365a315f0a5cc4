"""Which HTTPRoute serves a request, and where the proxy connects to, as netpod/ingress/gateway has it (pure)."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl

from netpod.api.meta import Key
from netpod.ingress.gateway import plan, references
from netpod.ingress.gateway.model import Frontend, Kind, Match, Outcome, Value
from netpod.trace.model import Address
from netpod.trace.predict.packet import Routed
from netpod.trace.request import HEADER, TraceRequest


def route(world: plan.World, gateway: Key, port: int, request: TraceRequest) -> Routed:
    """Match a request as the proxy does.

    Args:
        world: What there is, as the ingress controller sees it.
        gateway: Where the request arrives.
        port: Which port of its Service.
        request: Host, path, method and headers.
    """
    made = plan.make(world)
    what = f"host {request.host}, path {request.path}"
    frontends = [f for f in made.frontends if (f.gateway, f.port) == (gateway, port)]
    match = _match(frontends[0], request) if frontends else None
    where = f"Gateway {gateway.namespace}/{gateway.name}"
    if match is None:
        return Routed(rule=f"{where}: no rule serves {what}: it answers 404")
    name = f"HTTPRoute {match.route.namespace}/{match.route.name}"
    line = " ".join(filter(None, (match.hostname, match.method, match.kind, match.path)))
    words = f"{name}, rule {line}"
    if match.redirect is not None:
        answers = f"it answers {match.redirect.status} itself, a redirect"
        return Routed(rule=f"{words}: {answers}", redirects=True)
    weighed = [o for o in match.outcomes if o.weight]
    leads = ", or ".join(_lead(o, sum(x.weight for x in weighed)) for o in weighed)
    found = [made.backends[o.target] for o in weighed if o.target is not None]
    addresses = [Address(ip_address(a.ip), a.port) for backend in found for a in backend.addresses]
    if not addresses:
        why = next((b.why for b in found if b.why), "") or "no backend"
        return Routed(rule=f"{words}{f' → {leads}' if leads else ''}: {why}; it answers itself")
    return Routed(rule=f"{words} → {leads}", addresses=tuple(dict.fromkeys(addresses)))


def _lead(outcome: Outcome, total: int) -> str:
    share = f" ({outcome.weight} of {total} requests)" if outcome.weight != total else ""
    return f"Service {outcome.target}{share}" if outcome.target else f"500: {outcome.why}{share}"


def _match(frontend: Frontend, request: TraceRequest) -> Match | None:
    """The most specific listener for the host takes the request; of its matches the first that fits counts."""
    host = request.host.rpartition(":")[0] or request.host
    host = host.lower() if not host.endswith("]") else host
    sites = [s for s in frontend.sites if references.common(s.hostname, host) is not None]
    if not sites:
        return None
    path, _, query = request.path.partition("?")
    headers = {"host": request.host, HEADER.lower(): request.id, "connection": "close"}
    headers |= {name.lower(): value for name, value in request.headers}
    params = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    fits = (
        match
        for match in sites[-1].matches
        if references.common(match.hostname, host) is not None
        and _path(match, path)
        and match.method in ("", request.method)
        and all(_has(value, headers, str.lower) for value in match.headers)
        and all(_has(value, params, str) for value in match.params)
    )
    return next(fits, None)


def _path(match: Match, path: str) -> bool:
    if match.kind is Kind.EXACT:
        return path == match.path
    if match.kind is Kind.REGEX:
        return re.fullmatch(match.path, path) is not None
    return f"{path}/".startswith(match.path.rstrip("/") + "/")


def _has(value: Value, given: Mapping[str, str], fold: Callable[[str], str]) -> bool:
    found = given.get(fold(value.name))
    if found is None or value.kind is not Kind.REGEX:
        return found == value.value
    return re.fullmatch(value.value, found) is not None
