"""A Service port that an Ingress names -> the addresses that serve it, or why there are none (pure)."""

from collections.abc import Iterable, Mapping, Sequence

from netpod.api.discovery import Endpoint, EndpointSlice
from netpod.api.meta import Key
from netpod.api.service import Service, ServicePort
from netpod.ingress.model import Address, Backend, Target, Upstream

H2C_PROTOCOLS = ("kubernetes.io/h2c", "grpc")
"""Values of appProtocol that mean HTTP/2 without TLS. Source: KEP-3726; `grpc` is what meshes write."""
NO_ENDPOINTS = "has no ready endpoints"
"""How a reason ends that is nobody's mistake."""
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice that names its Service."""


def by_service(slices: Iterable[EndpointSlice]) -> dict[Key, list[EndpointSlice]]:
    """Group EndpointSlices by the Service they belong to, each group in the order of names."""
    groups: dict[Key, list[EndpointSlice]] = {}
    for piece in sorted(slices, key=lambda s: (s.metadata.namespace, s.metadata.name)):
        name = piece.metadata.labels.get(SERVICE_NAME)
        if name:
            groups.setdefault(Key(piece.metadata.namespace, name), []).append(piece)
    return groups


def resolve(
    target: Target, services: Mapping[Key, Service], slices: Mapping[Key, Sequence[EndpointSlice]]
) -> Backend:
    """Find the addresses of a target.

    A headless Service has no cluster IP, so its endpoints serve it. A Service whose endpoints are all unready is
    still tried at its cluster IP: kube-proxy refuses, as it would for everybody, and `why` says so.
    """
    key = Key(target.namespace, target.service)
    service = services.get(key)
    if service is None:
        return Backend(why=f"Service {key} does not exist")
    if service.spec.type == "ExternalName":
        return Backend(why=f"Service {key} is of type ExternalName, which ingress does not serve")
    port = service_port(service, target.port)
    if port is None:
        return Backend(why=f"Service {key} has no TCP port {target.port}")
    h2c = port.app_protocol in H2C_PROTOCOLS
    # A pod of both families is one server, not two.
    family = service.spec.ip_families[0] if service.spec.ip_families else ""
    pieces = [it for it in slices.get(key, ()) if family in ("", it.address_type)]
    addresses = ready_addresses(pieces, port)
    why = "" if addresses else f"Service {key} {NO_ENDPOINTS}"
    if target.upstream is Upstream.ENDPOINTS or service.spec.cluster_ip == "None":
        return Backend(addresses=addresses, why=why, h2c=h2c)
    if not service.spec.cluster_ip:
        return Backend(why=f"Service {key} has no cluster IP yet")
    own = Address(ip=service.spec.cluster_ip, port=port.port)
    return Backend(addresses=(own,), why=why, h2c=h2c)


def service_port(service: Service, wanted: str) -> ServicePort | None:
    """Return the TCP port of that number or name; a port's name never consists of digits only."""
    for port in service.spec.ports:
        if port.protocol in ("", "TCP") and wanted in (str(port.port), port.name):
            return port
    return None


def ready_addresses(slices: Iterable[EndpointSlice], port: ServicePort) -> tuple[Address, ...]:
    """Return the endpoints' addresses for a Service port, sorted.

    Without a ready endpoint those that still serve while they end are taken, as kube-proxy does.
    """
    ready: set[Address] = set()
    ending: set[Address] = set()
    for piece in slices:
        numbers = [p.port for p in piece.ports if (p.name or "") == port.name and p.port]
        for endpoint in piece.endpoints if piece.address_type != "FQDN" else ():
            chosen = ready if _is_ready(endpoint) else ending if _is_ending(endpoint) else None
            if chosen is not None and endpoint.addresses:
                chosen.update(Address(ip=endpoint.addresses[0], port=n) for n in numbers)
    return tuple(sorted(ready or ending))


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def _is_ending(endpoint: Endpoint) -> bool:
    return endpoint.conditions.serving is not False and endpoint.conditions.terminating is True
