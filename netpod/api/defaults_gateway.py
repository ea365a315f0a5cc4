"""What the Gateway API's schemas fill in where an author wrote nothing.

Source: `+kubebuilder:default` in sigs.k8s.io/gateway-api apis/v1.
"""

from netpod.api.defaults_pod import fill
from netpod.api.gateway import (
    GROUP,
    AllowedRoutes,
    Gateway,
    GatewayTLSConfig,
    HTTPBackendRef,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    Listener,
    ParentReference,
    RouteNamespaces,
)
from netpod.api.structs import replace

ROOT = HTTPPathMatch(type="PathPrefix", value="/")


def gateway(obj: Gateway) -> Gateway:
    """Routes of the Gateway's own namespace; certificates are Secrets."""
    spec = obj.spec
    return replace(
        obj,
        spec=replace(
            spec,
            listeners=tuple(_listener(each) for each in spec.listeners),
            addresses=tuple(fill(each, type="IPAddress") for each in spec.addresses),
        ),
    )


def _listener(listener: Listener) -> Listener:
    allowed = listener.allowed_routes or AllowedRoutes()
    allowed = replace(
        allowed,
        namespaces=fill(allowed.namespaces or RouteNamespaces(), from_="Same"),
        kinds=tuple(fill(each, group=GROUP) for each in allowed.kinds),
    )
    tls = _tls(listener.tls) if listener.tls is not None else None
    return replace(listener, allowed_routes=allowed, tls=tls)


def _tls(tls: GatewayTLSConfig) -> GatewayTLSConfig:
    refs = tuple(fill(ref, group="", kind="Secret") for ref in tls.certificate_refs)
    return replace(fill(tls, mode="Terminate"), certificate_refs=refs)


def http_route(obj: HTTPRoute) -> HTTPRoute:
    """Without rules, or matches, every request is meant."""
    spec = obj.spec
    return replace(
        obj,
        spec=replace(
            spec,
            parent_refs=tuple(_parent(ref) for ref in spec.parent_refs),
            rules=tuple(_rule(rule) for rule in spec.rules or (HTTPRouteRule(),)),
        ),
    )


def _parent(ref: ParentReference) -> ParentReference:
    return fill(ref, group=GROUP, kind="Gateway")


def _rule(rule: HTTPRouteRule) -> HTTPRouteRule:
    return replace(
        rule,
        matches=tuple(_match(each) for each in rule.matches or (HTTPRouteMatch(),)),
        filters=tuple(_filter(each) for each in rule.filters),
        backend_refs=tuple(_backend(each) for each in rule.backend_refs),
    )


def _match(match: HTTPRouteMatch) -> HTTPRouteMatch:
    return replace(
        match,
        path=fill(match.path, type=ROOT.type, value=ROOT.value) if match.path else ROOT,
        headers=tuple(fill(each, type="Exact") for each in match.headers),
        query_params=tuple(fill(each, type="Exact") for each in match.query_params),
    )


def _filter(item: HTTPRouteFilter) -> HTTPRouteFilter:
    redirect = item.request_redirect
    if redirect is None:
        return item
    return replace(item, request_redirect=fill(redirect, status_code=302))


def _backend(ref: HTTPBackendRef) -> HTTPBackendRef:
    ref = replace(ref, filters=tuple(_filter(each) for each in ref.filters))
    return fill(ref, group="", kind="Service", weight=1)
