"""Chain names of kube-proxy's iptables mode, and what a chain name means (pure).

    KUBE-SVC-H   all usable endpoints of a service port            H = hash(service port, protocol)
    KUBE-SVL-H   those on this node (a traffic policy is Local)
    KUBE-EXT-H   entry for node ports, external and load balancer addresses
    KUBE-FW-H    loadBalancerSourceRanges
    KUBE-SEP-E   one endpoint of one service port                  E = hash(service port, protocol, endpoint)

A hash is the first 16 characters of base32(sha256(...)) over the strings joined without any separator, the
protocol in lower case. Source: kubernetes pkg/proxy/iptables/proxier.go portProtoHash, servicePortEndpointChainName.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from netpod.proxy.model import Endpoint, Model, ServicePortName


class Prefix(StrEnum):
    """What the names of a service port's own chains begin with; all of them live in table nat."""

    SERVICE = "KUBE-SVC-"
    LOCAL = "KUBE-SVL-"
    EXTERNAL = "KUBE-EXT-"
    FIREWALL = "KUBE-FW-"
    ENDPOINT = "KUBE-SEP-"


class Chain(StrEnum):
    """Chains that exist once, whatever Services there are."""

    SERVICES = "KUBE-SERVICES"
    EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
    NODEPORTS = "KUBE-NODEPORTS"
    POSTROUTING = "KUBE-POSTROUTING"
    MARK_MASQ = "KUBE-MARK-MASQ"
    FORWARD = "KUBE-FORWARD"
    FIREWALL = "KUBE-FIREWALL"
    PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
    CANARY = "KUBE-PROXY-CANARY"


PURPOSE = {
    Chain.SERVICES: "dispatch by protocol, destination address and port",
    Chain.EXTERNAL_SERVICES: "refuse external traffic to service ports without usable endpoints",
    Chain.NODEPORTS: "dispatch by node port",
    Chain.POSTROUTING: "masquerade marked packets",
    Chain.MARK_MASQ: "mark the packet for masquerading",
    Chain.FORWARD: "drop invalid packets, accept marked and established ones",
    Chain.FIREWALL: "block packets to 127.0.0.0/8 from elsewhere",
    Chain.PROXY_FIREWALL: "drop load balancer traffic outside loadBalancerSourceRanges",
    Chain.CANARY: "never used; when it is gone, somebody flushed iptables",
}
PORT_PURPOSE = {
    Prefix.SERVICE: "choose an endpoint of {port}",
    Prefix.LOCAL: "choose an endpoint of {port} on this node",
    Prefix.EXTERNAL: "external traffic to {port}",
    Prefix.FIREWALL: "sources allowed to reach {port} through its load balancer",
    Prefix.ENDPOINT: "send to endpoint {endpoint} of {port}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one chain is for. `port` and `endpoint` are None where the chain belongs to no service port or endpoint."""

    chain: str
    purpose: str
    port: ServicePortName | None = None
    endpoint: Endpoint | None = None


def service_hash(port: ServicePortName) -> str:
    """Sixteen characters shared by the SVC, SVL, EXT and FW chains of a service port."""
    return _hash(f"{port}{port.protocol.lower()}")


def endpoint_chain(port: ServicePortName, endpoint: str) -> str:
    """Name of the chain that sends to `endpoint` ("10.244.1.5:8080") of a service port."""
    return Prefix.ENDPOINT + _hash(f"{port}{port.protocol.lower()}{endpoint}")


def service_chain(prefix: Prefix, port: ServicePortName) -> str:
    """Name of one of a service port's chains."""
    return prefix + service_hash(port)


def is_port_chain(chain: str) -> bool:
    """Whether a chain of table nat is one that a service port owns."""
    return chain.startswith(tuple(Prefix))


def meanings(model: Model) -> Iterator[Meaning]:
    """Every chain that the model's service ports can have, whether or not the rules of today need it."""
    for port in model.services:
        for prefix in (Prefix.SERVICE, Prefix.LOCAL, Prefix.EXTERNAL, Prefix.FIREWALL):
            purpose = PORT_PURPOSE[prefix].format(port=port)
            yield Meaning(chain=service_chain(prefix, port), purpose=purpose, port=port)
        for endpoint in model.endpoints.get(port, ()):
            yield Meaning(
                chain=endpoint_chain(port, endpoint.address),
                purpose=PORT_PURPOSE[Prefix.ENDPOINT].format(port=port, endpoint=endpoint.address),
                port=port,
                endpoint=endpoint,
            )


def directory(model: Model) -> dict[str, Meaning]:
    """What each chain means, by chain name: `directory(model)["KUBE-SVC-..."].port`."""
    found = {str(chain): Meaning(chain=chain, purpose=PURPOSE[chain]) for chain in Chain}
    found.update((meaning.chain, meaning) for meaning in meanings(model))
    return found


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]
