"""Frontends, nodes and Services for the load balancer's tests."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from netpod.api.meta import Condition, ObjectMeta
from netpod.api.node import Node, NodeAddress, NodeStatus
from netpod.api.service import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from netpod.cloud.edge import EdgeModel, Frontend

GOLDEN = Path(__file__).parent / "golden"
VIPS = IPv4Network("198.51.100.0/24")
NODES = (IPv4Address("172.18.0.3"), IPv4Address("172.18.0.4"))


def frontend(**values: Any) -> Frontend:
    """Port 80 of shop/web at the first VIP, on both nodes."""
    fields: dict[str, Any] = {
        "service": "shop/web",
        "port_name": "http",
        "vip": IPv4Address("198.51.100.1"),
        "port": 80,
        "node_port": 31080,
        "backends": NODES,
        **values,
    }
    return Frontend(**fields)


def edge_model(*frontends: Frontend) -> EdgeModel:
    """What the edge balances."""
    return EdgeModel(vip_cidr=VIPS, frontends=frontends)


def node(
    name: str,
    address: str,
    *,
    ready: str = "True",
    labels: dict[str, str] | None = None,
    deleted: bool = False,
) -> Node:
    """A Node with an InternalIP."""
    return Node(
        metadata=ObjectMeta(
            name=name,
            labels=labels or {},
            deletion_timestamp="2026-01-01T00:00:00Z" if deleted else "",
        ),
        status=NodeStatus(
            conditions=(Condition(type="Ready", status=ready),),
            addresses=(NodeAddress(type="InternalIP", address=address),) if address else (),
        ),
    )


def service(
    name: str = "web", *, vips: Sequence[str] = (), created: str = "", **spec: Any
) -> Service:
    """A Service of type LoadBalancer in namespace default."""
    fields: dict[str, Any] = {
        "type": "LoadBalancer",
        "ports": (ServicePort(name="http", protocol="TCP", port=80, node_port=31080),),
        **spec,
    }
    return Service(
        metadata=ObjectMeta(name=name, namespace="default", creation_timestamp=created),
        spec=ServiceSpec(**fields),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(
                ingress=tuple(LoadBalancerIngress(ip=ip, ip_mode="VIP") for ip in vips)
            )
        ),
    )


def cases() -> dict[str, EdgeModel]:
    """Models by name of the golden file that pins their text."""
    ranges = (IPv4Network("10.0.0.0/8"), IPv4Network("203.0.113.0/24"))
    return {
        "empty": edge_model(),
        "web": edge_model(frontend()),
        "mixed": edge_model(
            frontend(port=443, port_name="https", node_port=31443, source_ranges=ranges),
            frontend(service="dns/dns", port_name="", protocol="udp", port=53, node_port=30053),
            frontend(service="shop/one", vip=IPv4Address("198.51.100.2"), backends=NODES[:1]),
            frontend(service="shop/down", vip=IPv4Address("198.51.100.3"), backends=()),
            frontend(),
        ),
    }
