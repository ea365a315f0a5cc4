"""Builders of the objects that ingress reads."""

from collections.abc import Mapping

from netpod.api.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from netpod.api.meta import ObjectMeta
from netpod.api.networking import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    ServiceBackendPort,
)
from netpod.api.service import Service, ServicePort, ServiceSpec


def _backend(name: str, port: int | str = 80) -> IngressBackend:
    wanted = (
        ServiceBackendPort(number=port) if isinstance(port, int) else ServiceBackendPort(name=port)
    )
    return IngressBackend(service=IngressServiceBackend(name=name, port=wanted))


def make_ingress(
    *rules: tuple[str, str, str, str],
    name: str = "site",
    namespace: str = "default",
    created: str = "2026-01-01T00:00:00Z",
    default: str = "",
    class_name: str | None = "netpod",
    annotations: Mapping[str, str] | None = None,
    port: int | str = 80,
) -> Ingress:
    """Rules are (host, pathType, path, Service); pathType "" is a host without paths."""
    return Ingress(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            creation_timestamp=created,
            annotations=annotations or {},
        ),
        spec=IngressSpec(
            ingress_class_name=class_name,
            default_backend=_backend(default, port) if default else None,
            rules=tuple(
                IngressRule(
                    host=host,
                    http=HTTPIngressRuleValue(
                        paths=(
                            HTTPIngressPath(
                                path=path, path_type=kind, backend=_backend(service, port)
                            ),
                        )
                    )
                    if kind
                    else None,
                )
                for host, kind, path, service in rules
            ),
        ),
    )


def make_service(
    name: str,
    *,
    cluster_ip: str = "10.96.0.20",
    ports: tuple[tuple[str, int], ...] = (("", 80),),
    type: str = "ClusterIP",
) -> Service:
    """Build a Service of the namespace default."""
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(
            type=type,
            cluster_ip=cluster_ip,
            ports=tuple(ServicePort(name=n, port=p, protocol="TCP") for n, p in ports),
        ),
    )


def make_slice(
    service: str, *ips: str, port: int = 8080, port_name: str = "", ready: bool | None = None
) -> EndpointSlice:
    """Build an EndpointSlice of the namespace default."""
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"{service}-abc",
            namespace="default",
            labels={"kubernetes.io/service-name": service},
        ),
        address_type="IPv4",
        endpoints=tuple(
            Endpoint(addresses=(ip,), conditions=EndpointConditions(ready=ready)) for ip in ips
        ),
        ports=(EndpointPort(name=port_name, port=port, protocol="TCP"),),
    )


def make_class(
    name: str = "netpod", *, controller: str = "netpod.dev/ingress", default: bool = False
) -> IngressClass:
    """Build an IngressClass."""
    marks = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return IngressClass(
        metadata=ObjectMeta(name=name, annotations=marks),
        spec=IngressClassSpec(controller=controller),
    )
