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
    """Return `new` without what its new type cannot have and its author did not touch.

    So `kubectl patch` of the type alone works: node ports go with type ClusterIP, the address with ExternalName.
    """
    spec, was = new.spec, old.spec
    if spec.type == was.type:
        return new
    if spec.type == "ExternalName" and was.type != "ExternalName":
        if spec.cluster_ip == was.cluster_ip:
            spec = replace(spec, cluster_ip="", cluster_ips=())
        spec = _drop(spec, was, "ip_families", "ip_family_policy", "internal_traffic_policy")
    if spec.type not in ("NodePort", "LoadBalancer"):
        if [p.node_port for p in spec.ports] == [p.node_port for p in was.ports]:
            spec = replace(spec, ports=tuple(replace(port, node_port=0) for port in spec.ports))
        if not externally_accessible(spec):
            spec = _drop(spec, was, "external_traffic_policy")
    if spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local":
        spec = _drop(spec, was, "health_check_node_port")
    if spec.type != "LoadBalancer":
        spec = _drop(spec, was, "allocate_load_balancer_node_ports", "load_balancer_class")
    return replace(new, spec=spec)


def _drop(spec: ServiceSpec, was: ServiceSpec, *names: str) -> ServiceSpec:
    """Reset the fields that still hold what they held before."""
    empty = ServiceSpec()
    unchanged = {n: getattr(empty, n) for n in names if getattr(spec, n) == getattr(was, n)}
    return replace(spec, **unchanged)
