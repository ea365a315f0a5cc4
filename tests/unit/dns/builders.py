"""A small cluster as DNS sees it."""

from netpod.api.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from netpod.api.meta import ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.dns import view
from netpod.dns.view import View


def service(
    name: str,
    *ips: str,
    namespace: str = "default",
    ports: tuple[tuple[str, int], ...] = (("http", 80),),
    external: str = "",
) -> Service:
    """Build a Service; without addresses it is headless, or of type ExternalName."""
    addresses = ips or (() if external else ("None",))
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceSpec(
            type="ExternalName" if external else "ClusterIP",
            external_name=external,
            cluster_ip=addresses[0] if addresses else "",
            cluster_ips=tuple(addresses),
            ports=tuple(ServicePort(name=n, port=p, protocol="TCP") for n, p in ports),
        ),
    )


def piece(
    name: str,
    *endpoints: tuple[str, str | None, bool | None],
    namespace: str = "default",
    ports: tuple[tuple[str, int], ...] = (("http", 8080),),
    family: str = "IPv4",
    suffix: str = "abc",
) -> EndpointSlice:
    """Build an EndpointSlice of (address, hostname, ready)."""
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"{name}-{suffix}",
            namespace=namespace,
            labels={"kubernetes.io/service-name": name},
        ),
        address_type=family,
        endpoints=tuple(
            Endpoint(addresses=(ip,), hostname=host, conditions=EndpointConditions(ready=ready))
            for ip, host, ready in endpoints
        ),
        ports=tuple(EndpointPort(name=n, port=p, protocol="TCP") for n, p in ports),
    )


def cluster() -> View:
    """Build the cluster the tests ask about."""
    return view.build(
        ["default", "kube-system", "empty"],
        [
            service("web", "10.96.0.20", ports=(("http", 80), ("https", 443))),
            service("dual", "10.96.0.21", "fd00:96::21"),
            service("plain", "10.96.0.22", ports=(("", 80),)),
            service("db"),
            service("idle"),
            service("away", external="www.Example.com."),
            service("alias", external="web.default.svc.cluster.local"),
            service("kube-dns", "10.96.0.10", namespace="kube-system", ports=(("dns", 53),)),
        ],
        [
            piece("web", ("10.244.1.5", None, True)),
            piece("db", ("10.244.1.7", "db-0", None), ("10.244.2.7", "db-1", True)),
            piece("db", ("fd00:244::7", "db-0", True), family="IPv6", suffix="six"),
            piece("idle", ("10.244.1.9", None, False)),
        ],
    )
