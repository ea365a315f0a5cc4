"""Defaults of Services, and what goes when a Service changes its type.

Source: pkg/apis/core/v1/defaults.go SetDefaults_Service; pkg/registry/core/service/strategy.go
dropTypeDependentFields.
"""

from netpod.api.defaults_pod import fill
from netpod.api.service import (
    ClientIPConfig,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
)
from netpod.api.structs import replace

AFFINITY_SECONDS = 10_800
"""How long `sessionAffinity: ClientIP` remembers a client unless told otherwise."""

HEADLESS = "None"


def externally_accessible(spec: ServiceSpec) -> bool:
    """Whether traffic from outside the cluster can be meant for the Service."""
    return spec.type in ("NodePort", "LoadBalancer") or (
        spec.type == "ClusterIP" and bool(spec.external_ips)
    )


def service_defaults(service: Service) -> Service:
    """Return the Service with defaults."""
    spec = fill(service.spec, type="ClusterIP", session_affinity="None")
    spec = replace(
        spec,
        session_affinity_config=_affinity(spec),
        ports=tuple(_port(port) for port in spec.ports),
    )
    if externally_accessible(spec):
        spec = fill(spec, external_traffic_policy="Cluster")
    if spec.type == "LoadBalancer":
        spec = fill(spec, allocate_load_balancer_node_ports=True)
    if spec.type != "ExternalName":
        spec = fill(spec, internal_traffic_policy="Cluster")
    return replace(service, spec=spec)


def _affinity(spec: ServiceSpec) -> SessionAffinityConfig | None:
    if spec.session_affinity != "ClientIP":
        return None if spec.session_affinity == "None" else spec.session_affinity_config
    config = spec.session_affinity_config or SessionAffinityConfig()
    client_ip = fill(config.client_ip or ClientIPConfig(), timeout_seconds=AFFINITY_SECONDS)
    return replace(config, client_ip=client_ip)


def _port(port: ServicePort) -> ServicePort:
    port = fill(port, protocol="TCP")
    return port if port.target_port else replace(port, target_port=port.port)


def drop_type_dependent(new: Service, old: Service) -> Service:
    """Return `new` without what it no longer needs and its author did not touch.

    So `kubectl patch` of the type alone works: node ports go with type ClusterIP, the address with ExternalName, the
    health check's port with `externalTrafficPolicy: Cluster`.
    """
    spec, was = new.spec, old.spec
    if spec.type == "ExternalName" and was.type != "ExternalName":
        if (spec.cluster_ip, spec.cluster_ips) == (was.cluster_ip, was.cluster_ips):
            spec = replace(spec, cluster_ip="", cluster_ips=())
        spec = _drop(spec, was, "ip_families", "ip_family_policy", "internal_traffic_policy")
    if _has_node_ports(was) and not _has_node_ports(spec):
        if [p.node_port for p in spec.ports] == [p.node_port for p in was.ports]:
            spec = replace(spec, ports=tuple(replace(port, node_port=0) for port in spec.ports))
    if externally_accessible(was) and not externally_accessible(spec):
        spec = _drop(spec, was, "external_traffic_policy")
    if has_health_check(was) and not has_health_check(spec):
        spec = _drop(spec, was, "health_check_node_port")
    if was.type == "LoadBalancer" != spec.type:
        spec = _drop(spec, was, "allocate_load_balancer_node_ports", "load_balancer_class")
    return replace(new, spec=spec)


def keep_allocated(new: Service, old: Service | None) -> Service:
    """Return `new` with what it was given before and does not name, and `clusterIP` and `clusterIPs` saying the same.

    Who knows only `clusterIP` need not know `clusterIPs`; the other way round is refused. Node ports stay with the
    port's name.

    Source: pkg/registry/core/service/storage/storage.go patchAllocatedValues, normalizeClusterIPs.
    """
    spec = new.spec
    if old is None:
        if spec.cluster_ip and not spec.cluster_ips:
            spec = replace(spec, cluster_ips=(spec.cluster_ip,))
        return replace(new, spec=spec)
    was = old.spec
    if "ExternalName" not in (spec.type, was.type):
        spec = fill(spec, cluster_ip=was.cluster_ip)
    if _has_node_ports(was) and _has_node_ports(spec):
        spec = replace(spec, ports=_keep_node_ports(spec.ports, was.ports))
    if has_health_check(was) and has_health_check(spec) and not spec.health_check_node_port:
        spec = replace(spec, health_check_node_port=was.health_check_node_port)
    if spec.cluster_ip == was.cluster_ip:
        cluster_ips = spec.cluster_ips or was.cluster_ips
    elif spec.cluster_ips in ((), was.cluster_ips):
        cluster_ips = (spec.cluster_ip,) if spec.cluster_ip else ()
    else:
        cluster_ips = spec.cluster_ips
    return replace(new, spec=replace(spec, cluster_ips=cluster_ips))


def _keep_node_ports(
    ports: tuple[ServicePort, ...], before: tuple[ServicePort, ...]
) -> tuple[ServicePort, ...]:
    known = {port.name: port.node_port for port in before}
    used = {port.node_port for port in ports}
    kept = []
    for port in ports:
        number = known.get(port.name, 0)
        if not port.node_port and number and number not in used:
            port = replace(port, node_port=number)
            used.add(number)
        kept.append(port)
    return tuple(kept)


def _has_node_ports(spec: ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def has_health_check(spec: ServiceSpec) -> bool:
    """Whether a load balancer asks the nodes which of them have endpoints."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _drop(spec: ServiceSpec, was: ServiceSpec, *names: str) -> ServiceSpec:
    """Reset the fields that still hold what they held before."""
    empty = ServiceSpec()
    unchanged = {n: getattr(empty, n) for n in names if getattr(spec, n) == getattr(was, n)}
    return replace(spec, **unchanged)
