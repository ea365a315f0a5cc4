"""Addresses of the lab in each family, and the API objects that say them."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.networking import Ingress, IngressClass
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.ip import Family, host_port
from netpod.trace.objects import ClusterObjects

NODE_PORT = 30080
Where = tuple[str, str, str, str]
"""A pod: namespace, name, node, address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Networks and addresses of one family.

    Attributes:
        outside: The client's address and prefix length.
        beyond: The edge's on the same link.
        edge: The edge's among the nodes, with the prefix length of all of them.
        nodes: Addresses of the nodes.
        pods: Pod networks of the nodes.
        cluster: All of them.
        lb: Addresses of load balancers; `vip` is the ingress' own.
        web_ip: Cluster IP of the web Service; `ingress_ip` of the ingress'.
        nowhere: An address that nobody has a route to but the default one.
    """

    family: Family
    outside: str
    beyond: str
    edge: str
    nodes: dict[str, str]
    pods: dict[str, str]
    cluster: str
    lb: str
    vip: str
    web_ip: str
    ingress_ip: str
    nowhere: str

    def pod(self, node: str, number: int) -> str:
        """An address of a node's pod network; 1 is the bridge's."""
        return str(ip_network(self.pods[node])[number])

    @property
    def ingress(self) -> Where:
        """The ingress' pod."""
        return ("kube-system", "ingress-0", "worker", self.pod("worker", 5))

    @property
    def web(self) -> tuple[Where, Where]:
        """The web pods, one on each node."""
        return (
            ("default", "web-0", "worker", self.pod("worker", 6)),
            ("default", "web-1", "worker2", self.pod("worker2", 6)),
        )

    def far(self, port: int = 8080, number: int = 6) -> str:
        """A target on the other node, by default the web pod's server."""
        return host_port(self.pod("worker2", number), port)


FOUR = Plan(
    family=Family.IPV4,
    outside="203.0.113.10/24",
    beyond="203.0.113.1/24",
    edge="172.18.0.1/16",
    nodes={"worker": "172.18.0.3", "worker2": "172.18.0.4"},
    pods={"worker": "10.244.1.0/24", "worker2": "10.244.2.0/24"},
    cluster="10.244.0.0/16",
    lb="198.51.100.0/24",
    vip="198.51.100.1",
    web_ip="10.96.0.20",
    ingress_ip="10.96.0.30",
    nowhere="192.0.2.9",
)
SIX = Plan(
    family=Family.IPV6,
    outside="2001:db8:203:113::a/64",
    beyond="2001:db8:203:113::1/64",
    edge="fc00:18::1/64",
    nodes={"worker": "fc00:18::3", "worker2": "fc00:18::4"},
    pods={"worker": "fd00:10:244:1::/64", "worker2": "fd00:10:244:2::/64"},
    cluster="fd00:10:244::/56",
    lb="2001:db8:198:51::/112",
    vip="2001:db8:198:51::1",
    web_ip="fd00:10:96::20",
    ingress_ip="fd00:10:96::30",
    nowhere="2001:db8:dead::9",
)
PLANS = (FOUR, SIX)


def objects(endpoints: Sequence[Where] | None = None, plan: Plan = FOUR) -> ClusterObjects:
    """The API objects of the lab in one family, the web Service with the endpoints given, else all."""
    chosen = plan.web if endpoints is None else endpoints
    kind = {"ipFamilies": [str(plan.family)]}
    return ClusterObjects(
        nodes=tuple(
            codec.decode(
                Node,
                {
                    "metadata": {"name": name},
                    "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
                },
            )
            for name, ip in plan.nodes.items()
        ),
        pods=tuple(_pod(*pod) for pod in (plan.ingress, *plan.web)),
        services=(
            codec.decode(
                Service,
                {
                    "metadata": {"namespace": "kube-system", "name": "ingress"},
                    "spec": {
                        "type": "LoadBalancer",
                        "clusterIP": plan.ingress_ip,
                        "ports": [
                            {"name": "http", "protocol": "TCP", "port": 80, "nodePort": NODE_PORT}
                        ],
                        **kind,
                    },
                    "status": {"loadBalancer": {"ingress": [{"ip": plan.vip}]}},
                },
            ),
            codec.decode(
                Service,
                {
                    "metadata": {"namespace": "default", "name": "example-service"},
                    "spec": {
                        "type": "ClusterIP",
                        "clusterIP": plan.web_ip,
                        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}],
                        **kind,
                    },
                },
            ),
        ),
        endpoint_slices=(
            slice_of(plan, "kube-system", "ingress", "http", 80, [plan.ingress]),
            slice_of(plan, "default", "example-service", "", 8080, chosen),
        ),
        ingresses=(
            codec.decode(
                Ingress,
                {
                    "metadata": {"namespace": "default", "name": "example-ingress"},
                    "spec": {
                        "ingressClassName": "netpod",
                        "rules": [{"host": "example.com", "http": {"paths": [_PATH]}}],
                    },
                },
            ),
        ),
        ingress_classes=(
            codec.decode(
                IngressClass,
                {"metadata": {"name": "netpod"}, "spec": {"controller": "netpod.dev/ingress"}},
            ),
        ),
    )


_PATH = {
    "path": "/",
    "pathType": "Prefix",
    "backend": {"service": {"name": "example-service", "port": {"number": 80}}},
}


def _pod(namespace: str, name: str, node: str, ip: str) -> Pod:
    uid = "uid-ingress" if namespace == "kube-system" else f"uid-{name}"
    container = "haproxy" if namespace == "kube-system" else "web"
    return codec.decode(
        Pod,
        {
            "metadata": {"namespace": namespace, "name": name, "uid": uid},
            "spec": {"nodeName": node, "containers": [{"name": container}]},
            "status": {"phase": "Running", "podIP": ip},
        },
    )


def slice_of(
    plan: Plan,
    namespace: str,
    service: str,
    port_name: str,
    port: int,
    pods: Sequence[Where],
    protocol: str = "TCP",
) -> EndpointSlice:
    """A Service's slice with some pods, all ready."""
    return codec.decode(
        EndpointSlice,
        {
            "metadata": {
                "namespace": namespace,
                "name": f"{service}-1",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": str(plan.family),
            "ports": [{"name": port_name, "protocol": protocol, "port": port}],
            "endpoints": [
                {"addresses": [ip], "nodeName": node, "conditions": {"ready": True}}
                for _, _, node, ip in pods
            ],
        },
    )
