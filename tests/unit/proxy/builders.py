"""Services and EndpointSlices in one line each, and the cases that golden files pin."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from netpod.api.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from netpod.api.meta import ObjectMeta
from netpod.api.service import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from netpod.proxy import model
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Model

GOLDEN = Path(__file__).parent / "golden"
CONFIG = ProxyConfig(
    cluster="test",
    node_name="worker",
    node_ip=IPv4Address("172.18.0.3"),
    cluster_cidr=IPv4Network("10.244.0.0/16"),
)


def port(
    number: int = 80, name: str = "", protocol: str = "TCP", node_port: int = 0
) -> ServicePort:
    """One entry of spec.ports."""
    return ServicePort(name=name, protocol=protocol, port=number, node_port=node_port)


def service(
    name: str = "web",
    namespace: str = "shop",
    *,
    ports: Sequence[ServicePort] = (),
    vips: Sequence[str] = (),
    labels: dict[str, str] | None = None,
    ip_mode: str | None = None,
    **spec: Any,
) -> Service:
    """A Service; further arguments are fields of its spec."""
    fields: dict[str, Any] = {"cluster_ip": "10.96.45.12", "type": "ClusterIP", **spec}
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}),
        spec=ServiceSpec(ports=tuple(ports) or (port(),), **fields),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(
                ingress=tuple(LoadBalancerIngress(ip=vip, ip_mode=ip_mode) for vip in vips)
            )
        ),
    )


def entry(
    ip: str,
    node: str = "worker",
    *,
    ready: bool | None = None,
    serving: bool | None = None,
    terminating: bool | None = None,
    zones: Sequence[str] = (),
    nodes: Sequence[str] = (),
) -> Endpoint:
    """One endpoint of a slice."""
    hints = EndpointHints(
        for_zones=tuple(ForZone(name=zone) for zone in zones),
        for_nodes=tuple(ForNode(name=name) for name in nodes),
    )
    return Endpoint(
        addresses=(ip,),
        node_name=node,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hints=hints if zones or nodes else None,
    )


def endpoint_slice(
    entries: Sequence[Endpoint],
    name: str = "web",
    namespace: str = "shop",
    *,
    ports: Sequence[tuple[str, int, str]] = (("", 8080, "TCP"),),
    suffix: str = "a",
) -> EndpointSlice:
    """A slice of Service `name`; ports are (name, number, protocol)."""
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"{name}-{suffix}",
            namespace=namespace,
            labels={"kubernetes.io/service-name": name},
        ),
        address_type="IPv4",
        endpoints=tuple(entries),
        ports=tuple(EndpointPort(name=n, port=p, protocol=proto) for n, p, proto in ports),
    )


WEB = (entry("10.244.1.5"), entry("10.244.1.6"), entry("10.244.2.7", "worker2"))
HTTP = (("http", 8080, "TCP"),)


def _model(services: Sequence[Service], slices: Sequence[EndpointSlice]) -> Model:
    return model.build(services, slices, "worker")


def cases() -> dict[str, Model]:
    """Models by name of the golden file that pins their rules on node `worker`."""
    http = (port(80, "http", node_port=31080),)
    balancer: dict[str, Any] = {"type": "LoadBalancer", "ports": http, "vips": ("203.0.113.10",)}
    local: dict[str, Any] = {
        **balancer,
        "external_traffic_policy": "Local",
        "session_affinity": "ClientIP",
        "load_balancer_source_ranges": ("198.51.100.0/24",),
        "health_check_node_port": 32000,
    }
    dns = (port(53, "dns", "UDP"), port(53, "dns-tcp"))
    both = (("dns", 5353, "UDP"), ("dns-tcp", 5353, "TCP"))
    remote = (entry("10.244.2.7", "worker2"),)
    nodeport: dict[str, Any] = {"type": "NodePort", "ports": (port(node_port=30085),)}
    ranges = ("172.18.0.0/16", "192.0.2.0/24")
    return {
        "empty": _model((), ()),
        "web": _model((service(**balancer),), (endpoint_slice(WEB, ports=HTTP),)),
        "web-local": _model((service(**local),), (endpoint_slice(WEB, ports=HTTP),)),
        "no-endpoints": _model(
            (service(**nodeport, external_ips=("198.51.100.7",)),),
            (),
        ),
        "local-elsewhere": _model(
            (
                service(
                    **nodeport, external_traffic_policy="Local", internal_traffic_policy="Local"
                ),
            ),
            (endpoint_slice(remote),),
        ),
        "internal-local": _model(
            (service(internal_traffic_policy="Local"),), (endpoint_slice(WEB),)
        ),
        "affinity": _model((service(session_affinity="ClientIP"),), (endpoint_slice(WEB),)),
        "external-ips": _model(
            (service(external_ips=("198.51.100.7", "198.51.100.8")),), (endpoint_slice(WEB),)
        ),
        "own-range": _model(
            (service(**{**balancer, "load_balancer_source_ranges": ranges}),),
            (endpoint_slice(WEB, ports=HTTP),),
        ),
        "two-services": _model(
            (
                service("kube-dns", "kube-system", cluster_ip="10.96.0.10", ports=dns),
                service(),
            ),
            (
                endpoint_slice(
                    (entry("10.244.1.2"), entry("10.244.2.2", "worker2")),
                    "kube-dns",
                    "kube-system",
                    ports=both,
                ),
                endpoint_slice(WEB),
            ),
        ),
    }
