"""Service: a stable address for a changing set of pods.

Source: k8s.io/api core/v1/types.go ServiceSpec.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import EMPTY, Condition, IntOrString, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort(Struct):
    """One port of a Service; `target_port` None means the same number as `port`."""

    name: str = ""
    protocol: str = ""
    app_protocol: str | None = None
    port: int = 0
    target_port: IntOrString | None = None
    node_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIPConfig(Struct):
    """Session affinity by client address; `timeout_seconds` 1..86400."""

    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAffinityConfig(Struct):
    """How `sessionAffinity: ClientIP` behaves."""

    client_ip: ClientIPConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec(Struct):
    """`type` is ClusterIP, NodePort, LoadBalancer or ExternalName; `cluster_ip` "None" is headless."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = EMPTY
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    type: str = ""
    external_ips: tuple[str, ...] = ()
    session_affinity: str = ""
    load_balancer_ip: str = ""
    load_balancer_source_ranges: tuple[str, ...] = ()
    external_name: str = ""
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    session_affinity_config: SessionAffinityConfig | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str | None = None
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatus(Struct):
    """State of one port of a load balancer."""

    port: int = 0
    protocol: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerIngress(Struct):
    """One way in: an address (`ip_mode` VIP or Proxy) or a host name."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    ports: tuple[PortStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerStatus(Struct):
    """Where a load balancer can be reached; empty until it can."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus(Struct):
    """What the cloud gave the Service."""

    load_balancer: LoadBalancerStatus = field(
        default_factory=LoadBalancerStatus, metadata={"always": True}
    )
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Object):
    """A stable address for a changing set of pods."""

    api_version: str = always("v1")
    kind: str = always("Service")
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus, metadata={"always": True})
