"""An HTTPRoute's rules -> matches, and the order in which they are tried (pure).

Across all routes of a listener, the first of these that fits takes a request:

    1. hostname: without wildcard before with, longer before shorter, none last
    2. path: Exact, then RegularExpression, then the longest PathPrefix
    3. with a method before without
    4. more headers, then more query parameters
    5. the older route, then by namespace/name
    6. the order in the route

Source: Gateway API reference, HTTPRouteRule.matches, HTTPRouteSpec.hostnames. Where RegularExpression stands is ours
to choose.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netpod.api.gateway import (
    HTTPBackendRef,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPValueMatch,
    ObjectRef,
    ReferenceGrant,
)
from netpod.api.meta import Key, key_of
from netpod.api.service import Service
from netpod.ingress import upstream
from netpod.ingress.gateway import filters, references
from netpod.ingress.gateway.filters import UnsupportedError
from netpod.ingress.gateway.model import Kind, Match, Outcome, Redirect, Value
from netpod.ingress.model import Target, Upstream, prefix_key
from netpod.ingress.options import UPSTREAM

_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_TOKEN = re.compile(r"[A-Za-z0-9!&*+.^_|~-]+")
_LOOK = re.compile(r"\(\?(?!:|i\))|\\[1-9gk]|[*+?}]\+")
"""What the two languages of regular expressions read differently: looking around, groups by name, references."""


@dataclass(slots=True)
class Read:
    """A route's rules, and what is wrong with them.

    Attributes:
        matches: Without hostname and id.
        refs: (reason, message) of the first reference that leads nowhere.
        unsupported: Why rules are not served, by the rule's place.
        services: All that its backends name, whether they exist or not.
    """

    matches: list[Match] = field(default_factory=list)
    refs: tuple[str, str] | None = None
    unsupported: dict[int, str] = field(default_factory=dict)
    services: set[Key] = field(default_factory=set)


def read(
    route: HTTPRoute, services: Mapping[Key, Service], grants: Sequence[ReferenceGrant]
) -> Read:
    """Turn a route's rules into matches, in the route's order; hostname and id come later."""
    made = Read()
    for position, rule in enumerate(route.spec.rules):
        fresh: list[Match] = []
        try:
            for match in rule.matches:
                fresh.append(_match(route, rule, match, services, grants, made))
        except UnsupportedError as error:
            made.unsupported[position] = f"rule {position}: {error}"
            fresh = [
                _bare(route, match, (Outcome(why=str(error)),), None)
                for match in rule.matches
                if _readable(match)
            ]
        made.matches += fresh
    return made


def _match(
    route: HTTPRoute,
    rule: HTTPRouteRule,
    match: HTTPRouteMatch,
    services: Mapping[Key, Service],
    grants: Sequence[ReferenceGrant],
    made: Read,
) -> Match:
    _check(match)
    path = match.path.value if match.path is not None else "/"
    sent = filters.redirect(rule.filters, path)
    if sent is not None:
        return _bare(route, match, (), sent)
    # What cannot be done is said also where no backend would need it.
    filters.options(rule.filters, rule.timeouts, path)
    outcomes = tuple(
        _outcome(route, rule, ref, path, services, grants, made) for ref in rule.backend_refs
    )
    return _bare(route, match, outcomes or (Outcome(why="the rule names no backend"),), None)


def _bare(
    route: HTTPRoute, match: HTTPRouteMatch, outcomes: tuple[Outcome, ...], sent: Redirect | None
) -> Match:
    return Match(
        id="",
        route=key_of(route),
        hostname="",
        kind=Kind(match.path.type) if match.path is not None else Kind.PREFIX,
        path=match.path.value if match.path is not None else "/",
        method=match.method,
        # Of headers that are named twice the first counts.
        headers=_values(match.headers, str.lower),
        params=_values(match.query_params, str),
        outcomes=outcomes,
        redirect=sent,
    )


def _values(items: Iterable[HTTPValueMatch], form: Callable[[str], str]) -> tuple[Value, ...]:
    found: dict[str, Value] = {}
    for item in items:
        value = Value(name=form(item.name), value=item.value, kind=Kind(item.type or "Exact"))
        found.setdefault(value.name, value)
    return tuple(found.values())


def _outcome(
    route: HTTPRoute,
    rule: HTTPRouteRule,
    ref: HTTPBackendRef,
    path: str,
    services: Mapping[Key, Service],
    grants: Sequence[ReferenceGrant],
    made: Read,
) -> Outcome:
    weight = 1 if ref.weight is None else ref.weight
    own = route.metadata.namespace
    key = Key(ref.namespace or own, ref.name)

    def lost(reason: str, why: str) -> Outcome:
        made.refs = made.refs or (reason, why)
        return Outcome(weight=weight, why=why)

    if (ref.group or "", ref.kind or "Service") != ("", "Service"):
        return lost("InvalidKind", f"backend {ref.group or ''}/{ref.kind} {key} is no Service")
    named = ObjectRef(group="", kind="Service", name=ref.name)
    if not references.granted(grants, "HTTPRoute", own, named, key.namespace):
        said = f"no ReferenceGrant in namespace {key.namespace} lets HTTPRoutes of {own} name Service {key}"
        return lost("RefNotPermitted", said)
    made.services.add(key)
    target = Target(
        namespace=key.namespace,
        service=key.name,
        port=str(ref.port),
        upstream=_upstream(route),
        options=filters.options((*rule.filters, *ref.filters), rule.timeouts, path),
    )
    backend = upstream.resolve(target, services, {})
    # Without endpoints it is a Service all the same, which answers 503.
    if not backend.addresses and not backend.why.endswith(upstream.NO_ENDPOINTS):
        reason = "UnsupportedProtocol" if key in services else "BackendNotFound"
        return lost(reason, backend.why)
    return Outcome(target=target, weight=weight)


def _upstream(route: HTTPRoute) -> Upstream:
    said = route.metadata.annotations.get(UPSTREAM, "")
    return Upstream.ENDPOINTS if said == Upstream.ENDPOINTS else Upstream.SERVICE


def _readable(match: HTTPRouteMatch) -> bool:
    try:
        _check(match)
    except UnsupportedError:
        return False
    return True


def _check(match: HTTPRouteMatch) -> None:
    """Raise UnsupportedError when HAProxy could not read what the match says."""
    path = match.path
    if path is not None and path.type == Kind.REGEX:
        _expression(path.value)
    for header in match.headers:
        if not _TOKEN.fullmatch(header.name):
            raise UnsupportedError(f"header {header.name!r} cannot be matched")
    for param in match.query_params:
        if not _NAME.fullmatch(param.name):
            raise UnsupportedError(f"query parameter {param.name!r} cannot be matched")
    for item in (*match.headers, *match.query_params):
        if item.type == Kind.REGEX:
            _expression(item.value)


def _expression(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise UnsupportedError(f"{text!r} is no regular expression: {error}") from error
    if _LOOK.search(text):
        raise UnsupportedError(f"{text!r} uses more than plain regular expressions have")


def order(age: tuple[str, Key], position: int, match: Match) -> tuple[object, ...]:
    """Sort key of a match.

    Args:
        age: When the route was made, and its key.
        position: Place of the match in its route.
        match: With its hostname.
    """
    kinds = {Kind.EXACT: 0, Kind.REGEX: 1, Kind.PREFIX: 2}
    length = len(prefix_key(match.path)) if match.kind is Kind.PREFIX else 0
    return (
        references.specificity(match.hostname),
        kinds[match.kind],
        -length,
        not match.method,
        -len(match.headers),
        -len(match.params),
        age,
        position,
    )
