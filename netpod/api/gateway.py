"""GatewayClass, Gateway, HTTPRoute and ReferenceGrant: the Gateway API.

Source: sigs.k8s.io/gateway-api apis/v1/{gatewayclass,gateway,httproute,shared,object_reference}_types.go,
apis/v1beta1/referencegrant_types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import EMPTY, Condition, Json, LabelSelector, Object, Struct, always

GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayClassSpec(Struct):
    """Who serves Gateways of the class; `controller_name` is a domain-prefixed path and stays."""

    controller_name: str = always("")
    parameters_ref: Json = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayClassStatus(Struct):
    """Whether the class is served."""

    conditions: tuple[Condition, ...] = ()
    supported_features: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayClass(Object):
    """A kind of Gateways, served by one controller."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("GatewayClass")
    spec: GatewayClassSpec = field(default_factory=GatewayClassSpec)
    status: GatewayClassStatus = field(default_factory=GatewayClassStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef(Struct):
    """An object by group, kind and name; `namespace` None is the namespace of whoever refers."""

    group: str | None = None
    kind: str = ""
    name: str = ""
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTLSConfig(Struct):
    """`mode` Terminate (default) takes certificates from Secrets."""

    mode: str = ""
    certificate_refs: tuple[ObjectRef, ...] = ()
    options: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNamespaces(Struct):
    """Namespaces routes may come from: Same (default), All, or by Selector."""

    from_: str = ""
    selector: LabelSelector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGroupKind(Struct):
    """A kind of routes; `group` None is the Gateway API's."""

    group: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedRoutes(Struct):
    """Which routes may attach."""

    namespaces: RouteNamespaces | None = None
    kinds: tuple[RouteGroupKind, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener(Struct):
    """A port that is listened on for one hostname; "" is every hostname, `*.suffix` any number of labels more."""

    name: str = ""
    hostname: str = ""
    port: int = 0
    protocol: str = ""
    tls: GatewayTLSConfig | None = None
    allowed_routes: AllowedRoutes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress(Struct):
    """An address; `type` is IPAddress (default), Hostname or a name with a domain."""

    type: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayInfrastructure(Struct):
    """Labels and annotations for what is made on behalf of a Gateway."""

    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    parameters_ref: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec(Struct):
    """What is listened on, and for whom."""

    gateway_class_name: str = always("")
    listeners: tuple[Listener, ...] = always(())
    addresses: tuple[GatewayAddress, ...] = ()
    infrastructure: GatewayInfrastructure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStatus(Struct):
    """What became of one listener; `attached_routes` counts the routes it accepted."""

    name: str = ""
    supported_kinds: tuple[RouteGroupKind, ...] = always(())
    attached_routes: int = always(0)
    conditions: tuple[Condition, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus(Struct):
    """Where it can be reached, and what became of its listeners."""

    addresses: tuple[GatewayAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway(Object):
    """A load balancer with listeners that routes attach to."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("Gateway")
    spec: GatewaySpec = field(default_factory=GatewaySpec)
    status: GatewayStatus = field(default_factory=GatewayStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentReference(Struct):
    """A Gateway a route attaches to; `section_name` and `port` choose among its listeners."""

    group: str | None = None
    kind: str = ""
    namespace: str | None = None
    name: str = ""
    section_name: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPPathMatch(Struct):
    """`type` is PathPrefix (by element, default), Exact or RegularExpression."""

    type: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPValueMatch(Struct):
    """A header or query parameter; `type` is Exact (default) or RegularExpression."""

    type: str = ""
    name: str = ""
    value: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteMatch(Struct):
    """Requests that fulfil all of these."""

    path: HTTPPathMatch | None = None
    headers: tuple[HTTPValueMatch, ...] = ()
    query_params: tuple[HTTPValueMatch, ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPHeader(Struct):
    """A header's name and value."""

    name: str = ""
    value: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPHeaderFilter(Struct):
    """Headers to overwrite, to add and to take away."""

    set: tuple[HTTPHeader, ...] = ()
    add: tuple[HTTPHeader, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPPathModifier(Struct):
    """`type` is ReplaceFullPath or ReplacePrefixMatch, with the field of that name."""

    type: str = ""
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRequestRedirectFilter(Struct):
    """Where clients are sent; what is not given stays as it was asked. `status_code` is 302 by default."""

    scheme: str | None = None
    hostname: str | None = None
    path: HTTPPathModifier | None = None
    port: int | None = None
    status_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPURLRewriteFilter(Struct):
    """Host and path that the server sees."""

    hostname: str | None = None
    path: HTTPPathModifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteFilter(Struct):
    """What is done to requests or responses; the field that `type` names says how."""

    type: str = ""
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    request_mirror: Json = None
    extension_ref: Json = None
    cors: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPBackendRef(Struct):
    """A Service port that takes `weight` (1 by default) shares of the requests."""

    group: str | None = None
    kind: str = ""
    name: str = ""
    namespace: str | None = None
    port: int = 0
    weight: int | None = None
    filters: tuple[HTTPRouteFilter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteTimeouts(Struct):
    """How long a request, and one try at a backend, may take: durations such as 500ms; 0s is for ever."""

    request: str | None = None
    backend_request: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteRule(Struct):
    """What is done with requests that fulfil any of `matches`."""

    name: str = ""
    matches: tuple[HTTPRouteMatch, ...] = ()
    filters: tuple[HTTPRouteFilter, ...] = ()
    backend_refs: tuple[HTTPBackendRef, ...] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: Json = None
    session_persistence: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteSpec(Struct):
    """Rules for some hostnames, at some Gateways."""

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParentStatus(Struct):
    """What one controller made of the route at one parent."""

    parent_ref: ParentReference = field(default_factory=ParentReference, metadata={"always": True})
    controller_name: str = always("")
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteStatus(Struct):
    """What became of the route at each parent."""

    parents: tuple[RouteParentStatus, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRoute(Object):
    """Sends HTTP requests of Gateways to Services, by host, path, headers, query and method."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("HTTPRoute")
    spec: HTTPRouteSpec = field(default_factory=HTTPRouteSpec)
    status: HTTPRouteStatus = field(default_factory=HTTPRouteStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGrantFrom(Struct):
    """Who may refer: objects of a kind in a namespace."""

    group: str = always("")
    kind: str = always("")
    namespace: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGrantTo(Struct):
    """What may be referred to: objects of a kind, or one by `name`."""

    group: str = always("")
    kind: str = always("")
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGrantSpec(Struct):
    """Any of `from_` may refer to any of `to`, which are in the grant's namespace."""

    from_: tuple[ReferenceGrantFrom, ...] = always(())
    to: tuple[ReferenceGrantTo, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGrant(Object):
    """Lets objects of other namespaces refer to objects of this one."""

    api_version: str = always(f"{GROUP}/v1beta1")
    kind: str = always("ReferenceGrant")
    spec: ReferenceGrantSpec = field(default_factory=ReferenceGrantSpec)
