"""What Services and EndpointSlices say to a proxy, as plain values (pure).

Proxy modes compile these values and see no API object. A model is of one address family: addresses, ranges and slices
of the other are left out, as upstream's per-family proxiers do.

Sources: kubernetes pkg/proxy/serviceport.go, endpoint.go, endpointslicecache.go, servicechangetracker.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.service import Service
from netpod.api.service import ServicePort as ApiServicePort
from netpod.ip import Address, Family, Network, address_of, host_port, network_of

LABEL_SERVICE_NAME = "kubernetes.io/service-name"
LABEL_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
LABEL_HEADLESS = "service.kubernetes.io/headless"
DEFAULT_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ServicePortName:
    """Identity of one entry of `service.spec.ports`; as text "ns/name:port", or "ns/name" without a port name."""

    namespace: str
    name: str
    port: str = ""
    protocol: str = "TCP"

    def __str__(self) -> str:
        colon = ":" if self.port else ""
        return f"{self.namespace}/{self.name}{colon}{self.port}"

    @property
    def service(self) -> Key:
        """The Service it belongs to."""
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One entry of `service.spec.ports` with what its Service says about all of them.

    Attributes:
        name: Identity.
        cluster_ip: The Service's address.
        port: Port on `cluster_ip`, external and load balancer addresses.
        node_port: Port on every node, or 0.
        external_ips: `spec.externalIPs`.
        load_balancer_vips: Addresses in `status.loadBalancer.ingress` whose ipMode is VIP or unset.
        source_ranges: `spec.loadBalancerSourceRanges`; empty: everybody.
        internal_policy_local: internalTrafficPolicy is Local.
        external_policy_local: externalTrafficPolicy is Local.
        affinity_seconds: ClientIP session affinity's timeout, or 0 for none.
        health_check_node_port: Port that tells load balancers whether this node has ready endpoints, or 0.
    """

    name: ServicePortName
    cluster_ip: Address
    port: int
    node_port: int = 0
    external_ips: tuple[Address, ...] = ()
    load_balancer_vips: tuple[Address, ...] = ()
    source_ranges: tuple[Network, ...] = ()
    internal_policy_local: bool = False
    external_policy_local: bool = False
    affinity_seconds: int = 0
    health_check_node_port: int = 0

    @property
    def externally_accessible(self) -> bool:
        """Whether anything but the cluster IP leads here."""
        return bool(self.node_port or self.external_ips or self.load_balancer_vips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """Whether some traffic may go to any endpoint; external traffic of this node's pods always may."""
        return not self.internal_policy_local or self.externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        """Whether some traffic must stay on this node."""
        return self.internal_policy_local or (
            self.external_policy_local and self.externally_accessible
        )


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address and port behind a service port, as this node sees it.

    Attributes:
        ip: Address of the pod or machine.
        port: Port there.
        ready: Takes new connections.
        serving: Answers, perhaps while it terminates.
        terminating: Is going away.
        is_local: Runs on this proxy's node.
        zone_hints: Zones whose nodes should prefer it.
        node_hints: Nodes that should prefer it.
    """

    ip: Address
    port: int
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    is_local: bool = False
    zone_hints: frozenset[str] = frozenset()
    node_hints: frozenset[str] = frozenset()

    @cached_property
    def address(self) -> str:
        """`ip:port` or `[ip]:port`; endpoints are ordered by this very text."""
        return host_port(self.ip, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Every service port and its endpoints, sorted by `Endpoint.address`."""

    services: Mapping[ServicePortName, ServicePort] = field(default_factory=dict)
    endpoints: Mapping[ServicePortName, tuple[Endpoint, ...]] = field(default_factory=dict)


def build(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node_name: str,
    family: Family = Family.IPV4,
) -> Model:
    """The model of a whole cluster as the proxy of `node_name` sees it in one address family."""
    by_service: dict[Key, list[EndpointSlice]] = {}
    for piece in slices:
        owner = service_of(piece, family)
        if owner is not None:
            by_service.setdefault(owner, []).append(piece)
    ports: dict[ServicePortName, ServicePort] = {}
    endpoints: dict[ServicePortName, tuple[Endpoint, ...]] = {}
    for service in services:
        key = Key(service.metadata.namespace, service.metadata.name)
        own = service_ports(service, family)
        if not own:
            continue
        found = slice_endpoints(by_service.get(key, ()), node_name, family)
        for port in own:
            ports[port.name] = port
            endpoints[port.name] = found.get((port.name.port, port.name.protocol), ())
    return Model(services=ports, endpoints=endpoints)


def service_of(piece: EndpointSlice, family: Family = Family.IPV4) -> Key | None:
    """The Service an EndpointSlice belongs to; None for slices a proxy of that family has no use for."""
    labels = piece.metadata.labels
    name = labels.get(LABEL_SERVICE_NAME, "")
    if not name or piece.address_type != family:
        return None
    if LABEL_HEADLESS in labels or LABEL_PROXY_NAME in labels:
        return None
    return Key(piece.metadata.namespace, name)


def service_ports(service: Service, family: Family = Family.IPV4) -> tuple[ServicePort, ...]:
    """The service ports this node has rules for; none for headless, ExternalName and other proxies' Services,
    and for those without a cluster IP of this family.

    Source: kubernetes pkg/proxy/util/utils.go ShouldSkipService, pkg/proxy/serviceport.go.
    """
    spec = service.spec
    labels = service.metadata.labels
    if LABEL_PROXY_NAME in labels or LABEL_HEADLESS in labels:
        return ()
    cluster_ips = spec.cluster_ips or (spec.cluster_ip,)
    cluster_ip = next((ip for it in cluster_ips if (ip := address_of(it, family))), None)
    if cluster_ip is None or spec.type == "ExternalName":
        return ()
    external_ips = tuple(ip for it in spec.external_ips if (ip := address_of(it, family)))
    vips = tuple(
        vip
        for entry in service.status.load_balancer.ingress
        if entry.ip and (not entry.ip_mode or entry.ip_mode == "VIP")
        for vip in (address_of(entry.ip, family),)
        if vip is not None
    )
    ranges = tuple(
        found
        for text in spec.load_balancer_source_ranges
        if (found := network_of(text, family)) is not None
    )
    if any(network.prefixlen == 0 for network in ranges):
        ranges = ()
    local = spec.external_traffic_policy == "Local"
    node_ports = spec.type in ("NodePort", "LoadBalancer")
    return tuple(
        ServicePort(
            name=_port_name(service, port),
            cluster_ip=cluster_ip,
            port=port.port,
            node_port=port.node_port if node_ports else 0,
            external_ips=external_ips,
            load_balancer_vips=vips,
            source_ranges=ranges,
            internal_policy_local=spec.internal_traffic_policy == "Local",
            external_policy_local=local,
            affinity_seconds=_affinity(service),
            health_check_node_port=(
                spec.health_check_node_port if local and spec.type == "LoadBalancer" else 0
            ),
        )
        for port in spec.ports
    )


def slice_endpoints(
    slices: Iterable[EndpointSlice], node_name: str, family: Family = Family.IPV4
) -> dict[tuple[str, str], tuple[Endpoint, ...]]:
    """Endpoints of one Service's slices, by (port name, protocol), without duplicates and sorted by their text.

    The same address may stand in two slices while one is being replaced by the other; an entry on this node wins.
    Source: kubernetes pkg/proxy/endpointslicecache.go.
    """
    found: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for piece in slices:
        # An absent name is what the API server's defaulting would have made "".
        ports = [(p.name or "", p.protocol or "TCP", p.port) for p in piece.ports if p.port]
        for entry in piece.endpoints:
            ip = address_of(entry.addresses[0], family) if entry.addresses else None
            if ip is None:
                continue
            said = entry.conditions
            ready = said.ready is not False
            serving = said.serving is not False
            hints = entry.hints
            for name, protocol, number in ports:
                endpoint = Endpoint(
                    ip=ip,
                    port=number,
                    ready=ready,
                    serving=serving,
                    terminating=bool(said.terminating),
                    is_local=entry.node_name == node_name and bool(node_name),
                    zone_hints=frozenset(z.name for z in hints.for_zones) if hints else frozenset(),
                    node_hints=frozenset(n.name for n in hints.for_nodes) if hints else frozenset(),
                )
                same = found.setdefault((name, protocol), {})
                known = same.get(endpoint.address)
                if known is None or not known.is_local:
                    same[endpoint.address] = endpoint
    return {
        port: tuple(endpoints[address] for address in sorted(endpoints))
        for port, endpoints in found.items()
    }


def _port_name(service: Service, port: ApiServicePort) -> ServicePortName:
    return ServicePortName(
        namespace=service.metadata.namespace,
        name=service.metadata.name,
        port=port.name,
        protocol=port.protocol or "TCP",
    )


def _affinity(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    client_ip = config.client_ip if config is not None else None
    return (
        client_ip.timeout_seconds if client_ip is not None else None
    ) or DEFAULT_AFFINITY_SECONDS
