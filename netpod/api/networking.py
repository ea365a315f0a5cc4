"""Ingress and IngressClass.

Source: k8s.io/api networking/v1/types.go.
"""

from dataclasses import dataclass, field

from netpod.api.meta import Json, Object, Struct, always
from netpod.api.service import LoadBalancerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBackendPort(Struct):
    """Exactly one of `name` and `number`: a port of the Service."""

    name: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressServiceBackend(Struct):
    """A Service of the Ingress' namespace."""

    name: str = ""
    port: ServiceBackendPort = field(default_factory=ServiceBackendPort)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressBackend(Struct):
    """Where a request goes: a Service, or another resource."""

    service: IngressServiceBackend | None = None
    resource: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPIngressPath(Struct):
    """`path_type` is Exact, Prefix (by path element) or ImplementationSpecific."""

    path: str = ""
    path_type: str | None = None
    backend: IngressBackend = field(default_factory=IngressBackend)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPIngressRuleValue(Struct):
    """Paths of one host."""

    paths: tuple[HTTPIngressPath, ...] = always(())


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressRule(Struct):
    """`host` is exact, `*.suffix` for exactly one more label, or "" for every host."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressTLS(Struct):
    """Certificate for some hosts, in a Secret of type kubernetes.io/tls."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressSpec(Struct):
    """Rules, and where everything else goes."""

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressStatus(Struct):
    """Where the Ingress can be reached."""

    load_balancer: LoadBalancerStatus = field(
        default_factory=LoadBalancerStatus, metadata={"always": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress(Object):
    """Routes HTTP by host and path to Services."""

    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("Ingress")
    spec: IngressSpec = field(default_factory=IngressSpec)
    status: IngressStatus = field(default_factory=IngressStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressClassSpec(Struct):
    """`controller` names the program that serves the class; immutable."""

    controller: str = ""
    parameters: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressClass(Object):
    """Which controller serves the Ingresses that name this class."""

    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("IngressClass")
    spec: IngressClassSpec = field(default_factory=IngressClassSpec)
