"""Names of kube-proxy's nftables mode, and what a name means (pure).

    service-H-ns/name/tcp/port              all usable endpoints of a service port
    local-...                               those on this node (a traffic policy is Local)
    external-...                            entry for node ports, external and load balancer addresses
    firewall-...                            loadBalancerSourceRanges
    endpoint-E-ns/name/tcp/port__10.244.1.5/8080    one endpoint of one service port
    affinity-E-...                          the set of clients that keep that endpoint

H and E are the first 8 characters of base32(sha256(what follows)). Colons of IPv6 addresses, which nft would take for
the end of a name, are dots. Source: kubernetes pkg/proxy/nftables/proxier.go hashAndTruncate, servicePortChainNameBase.
"""

import base64
import hashlib
from enum import StrEnum

from netpod.ip import Family
from netpod.proxy.model import Endpoint, ServicePortName

NAME = "kube-proxy"
TABLE = f"ip {NAME}"
MAX_BASE = 240
"""Longest name after its prefix; the kernel's limit is 255 with it."""


class Prefix(StrEnum):
    """What the names of a service port's own chains and sets begin with."""

    SERVICE = "service-"
    LOCAL = "local-"
    EXTERNAL = "external-"
    FIREWALL = "firewall-"
    ENDPOINT = "endpoint-"
    AFFINITY = "affinity-"


class Chain(StrEnum):
    """Chains that exist once and hang on no hook."""

    SERVICES = "services"
    MASQUERADING = "masquerading"
    MARK_FOR_MASQUERADE = "mark-for-masquerade"
    SERVICE_ENDPOINTS_CHECK = "service-endpoints-check"
    NODEPORT_ENDPOINTS_CHECK = "nodeport-endpoints-check"
    FIREWALL_CHECK = "firewall-check"
    CLUSTER_IPS_CHECK = "cluster-ips-check"
    REJECT = "reject-chain"


class Map(StrEnum):
    """Sets and maps that exist once."""

    CLUSTER_IPS = "cluster-ips"
    NODEPORT_IPS = "nodeport-ips"
    SERVICE_IPS = "service-ips"
    SERVICE_NODEPORTS = "service-nodeports"
    NO_ENDPOINT_SERVICES = "no-endpoint-services"
    NO_ENDPOINT_NODEPORTS = "no-endpoint-nodeports"
    FIREWALL_IPS = "firewall-ips"


PURPOSE: dict[str, str] = {
    Chain.SERVICES: "dispatch by protocol, destination address and port",
    Chain.MASQUERADING: "masquerade marked packets",
    Chain.MARK_FOR_MASQUERADE: "mark the packet for masquerading",
    Chain.SERVICE_ENDPOINTS_CHECK: "refuse traffic to service ports without usable endpoints",
    Chain.NODEPORT_ENDPOINTS_CHECK: "refuse traffic to node ports without usable endpoints",
    Chain.FIREWALL_CHECK: "drop load balancer traffic outside loadBalancerSourceRanges",
    Chain.CLUSTER_IPS_CHECK: "refuse ports that a cluster IP does not have",
    Chain.REJECT: "refuse at once",
    Map.CLUSTER_IPS: "cluster IPs in use",
    Map.NODEPORT_IPS: "addresses on which node ports are open",
    Map.SERVICE_IPS: "dispatch by protocol, destination address and port",
    Map.SERVICE_NODEPORTS: "dispatch by node port",
    Map.NO_ENDPOINT_SERVICES: "service ports without usable endpoints",
    Map.NO_ENDPOINT_NODEPORTS: "node ports without usable endpoints",
    Map.FIREWALL_IPS: "load balancer addresses with source ranges",
    Prefix.SERVICE: "choose an endpoint",
    Prefix.LOCAL: "choose an endpoint on this node",
    Prefix.EXTERNAL: "traffic from outside the cluster",
    Prefix.FIREWALL: "sources the load balancer accepts",
    Prefix.ENDPOINT: "send to one endpoint",
    Prefix.AFFINITY: "clients that keep this endpoint",
}


def table_of(family: Family) -> str:
    """The table of an address family: "ip kube-proxy" or "ip6 kube-proxy"."""
    return f"{family.nft} {NAME}"


def service_base(port: ServicePortName) -> str:
    """What follows the prefix in the names of a service port's chains."""
    return _hashed(f"{port.namespace}/{port.name}/{port.protocol.lower()}/{port.port}")


def endpoint_base(port: ServicePortName, endpoint: Endpoint) -> str:
    """What follows the prefix in the names of an endpoint's chain and affinity set."""
    address = str(endpoint.ip).replace(":", ".")
    owner = f"{port.namespace}/{port.name}/{port.protocol.lower()}/{port.port}"
    return _hashed(f"{owner}__{address}/{endpoint.port}")


def is_port_chain(name: str) -> bool:
    """Whether a chain or set belongs to one service port: no fixed name contains a slash."""
    return "/" in name


def service_of(name: str) -> tuple[str, str] | None:
    """Namespace and name of the Service a chain or set belongs to; None for those that exist once."""
    if not is_port_chain(name):
        return None
    first, second = name.split("/", 2)[:2]
    # PREFIX-HASH-NAMESPACE
    return first.split("-", 2)[2], second


def purpose(name: str) -> str:
    """What a chain, set or map is for, or ""."""
    if name in PURPOSE:
        return PURPOSE[name]
    return next((PURPOSE[p] for p in Prefix if name.startswith(p) and p in PURPOSE), "")


def _hashed(text: str) -> str:
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:8]
    base = f"{digest}-{text}"
    return base if len(base) <= MAX_BASE else base[: MAX_BASE - 3] + "..."
