"""What the addresses of a trace mean, from the cluster's API objects (pure)."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.networking import Ingress, IngressClass
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.ingress import merge, model
from netpod.ingress.model import Rule
from netpod.ip import Address as IPAddress
from netpod.trace.model import Address

if TYPE_CHECKING:
    from netpod.api.gateway import HTTPRoute

INGRESS_SERVICE = Key("kube-system", "ingress")
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
GATEWAY_NAMESPACE = "netpod.dev/gateway-namespace"
"""Labels of a Service that the ingress made for a Gateway."""
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObjects:
    """The objects a trace reads meaning from, as listed shortly before it."""

    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    ingresses: tuple[Ingress, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    http_routes: "tuple[HTTPRoute, ...]" = ()

    def entrance(self, address: Address) -> Service | None:
        """Return the Service of the ingress, or of a Gateway, that an address leads to: HAProxy is behind it."""
        service = self.service_at(address)
        if service is None or service.metadata.namespace != INGRESS_SERVICE.namespace:
            return None
        own = service.metadata.name == INGRESS_SERVICE.name
        return service if own or gateway_of(service) is not None else None

    def gateway_services(self) -> tuple[Service, ...]:
        """Return the Services of Gateways."""
        return tuple(service for service in self.services if gateway_of(service) is not None)

    def service(self, key: Key) -> Service | None:
        """Return a Service, or None."""
        for service in self.services:
            if (service.metadata.namespace, service.metadata.name) == key:
                return service
        return None

    def service_by_cluster_ip(self, ip: IPAddress) -> Service | None:
        """Return the Service that has this cluster IP, or None."""
        text = str(ip)
        for service in self.services:
            if text == service.spec.cluster_ip or text in service.spec.cluster_ips:
                return service
        return None

    def service_by_external_ip(self, ip: IPAddress) -> Service | None:
        """Return the Service whose load balancer has this address, or None."""
        text = str(ip)
        for service in self.services:
            if text in load_balancer_ips(service) or text in service.spec.external_ips:
                return service
        return None

    def service_at(self, address: Address) -> Service | None:
        """Return the Service that an address leads to: a cluster, external or load balancer IP, or a node port."""
        found = self.service_by_cluster_ip(address.ip) or self.service_by_external_ip(address.ip)
        if found is None and self.node_by_ip(address.ip) is not None:
            for service in self.services:
                if any(p.node_port and p.node_port == address.port for p in service.spec.ports):
                    return service
        return found

    def pod_by_ip(self, ip: IPAddress) -> Pod | None:
        """Return the pod with this address of its own (not of its node), or None."""
        text = str(ip)
        for pod in self.pods:
            finished = pod.status.phase in ("Succeeded", "Failed")
            own = text == pod.status.pod_ip or any(it.ip == text for it in pod.status.pod_ips)
            if own and not pod.spec.host_network and not finished:
                return pod
        return None

    def node_by_ip(self, ip: IPAddress) -> Node | None:
        """Return the node with this address, or None."""
        for node in self.nodes:
            if any(address.address == str(ip) for address in node.status.addresses):
                return node
        return None

    def slices(self, service: Key) -> tuple[EndpointSlice, ...]:
        """Return the EndpointSlices of a Service."""
        return tuple(
            s
            for s in self.endpoint_slices
            if s.metadata.namespace == service.namespace
            and s.metadata.labels.get(_SERVICE_LABEL) == service.name
        )

    def endpoint_pods(self, service: Key) -> tuple[Pod, ...]:
        """Return the pods behind a Service, ready or not."""
        addresses = {a for s in self.slices(service) for e in s.endpoints for a in e.addresses}
        return tuple(
            pod
            for pod in self.pods
            if pod.status.pod_ip in addresses
            or any(it.ip in addresses for it in pod.status.pod_ips)
        )


def gateway_of(service: Service) -> Key | None:
    """Return the Gateway that a Service was made for, or None."""
    labels = service.metadata.labels
    name, namespace = labels.get(GATEWAY_NAME, ""), labels.get(GATEWAY_NAMESPACE, "")
    return Key(namespace, name) if name and namespace else None


def routes_of(objects: ClusterObjects, gateway: Key) -> "tuple[HTTPRoute, ...]":
    """Return the routes that a Gateway has accepted."""
    return tuple(
        route
        for route in objects.http_routes
        for parent in route.status.parents
        if gateway
        == (parent.parent_ref.namespace or route.metadata.namespace, parent.parent_ref.name)
        and any(c.type == "Accepted" and c.status == "True" for c in parent.conditions)
    )


def gateway_services_behind(objects: ClusterObjects, gateway: Key) -> tuple[Key, ...]:
    """Return the Services that a Gateway's routes lead to."""
    found = [
        Key(ref.namespace or route.metadata.namespace, ref.name)
        for route in routes_of(objects, gateway)
        for rule in route.spec.rules
        for ref in rule.backend_refs
    ]
    return tuple(dict.fromkeys(found))


def gateway_of_host(objects: ClusterObjects, host: str) -> Service | None:
    """Return the Service of the Gateway whose routes name a host, or None."""
    for service in objects.gateway_services():
        gateway = gateway_of(service)
        routes = routes_of(objects, gateway) if gateway is not None else ()
        names = [name for route in routes for name in route.spec.hostnames]
        if any(name == host or (name[:1] == "*" and host.endswith(name[1:])) for name in names):
            return service
    return None


def load_balancer_ips(service: Service) -> tuple[str, ...]:
    """Return the addresses a Service's load balancer has, e.g. ("198.51.100.1",)."""
    return tuple(i.ip for i in service.status.load_balancer.ingress if i.ip)


def match_ingress(objects: ClusterObjects, host: str, path: str) -> Rule | None:
    """Return the rule that a request should match by what the Ingress objects say, or None (404)."""
    return route_ingress(objects, host, path)[0]


def route_ingress(
    objects: ClusterObjects, host: str, path: str
) -> tuple[Rule | None, tuple[Address, ...], str]:
    """Return the rule that a request should match, where the ingress then connects to, or why nowhere."""
    routing = merge.merge(
        objects.ingresses, objects.ingress_classes, objects.services, objects.endpoint_slices
    )
    rule = model.match(routing, host, path.partition("?")[0])
    if rule is None:
        return None, (), ""
    backend = routing.backends[rule.target]
    found = tuple(Address(ip_address(a.ip), a.port) for a in backend.addresses)
    return rule, found, backend.why
