"""NetworkPolicies and pods as values that can be asked (pure).

    policy   selects pods of its namespace; isolates them in one direction or both
    rule     allows: any of its peers AND any of its ports; without peers everybody, without ports everything
    peer     pods by label (of this or of chosen namespaces), or the addresses of a CIDR but not of its exceptions

Policies only add: what one allows no other takes away. Selectors select pods on the pod network only: a pod of the
host's network is node traffic, a pod that has ended has no address any more.

Source: k8s.io/api networking/v1 types.go, the comments of NetworkPolicySpec, NetworkPolicyPeer, NetworkPolicyPort.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network

from netpod.api import selectors
from netpod.api.meta import Key, key_of
from netpod.api.networkpolicy import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from netpod.api.pod import Pod
from netpod.api.selectors import LabelQuery
from netpod.ip import Address, Family, Network, address_of

LABEL_NAME = "kubernetes.io/metadata.name"
ENDED = ("Succeeded", "Failed")
PROTOCOLS = ("TCP", "UDP", "SCTP")


class Direction(StrEnum):
    """What a policy isolates: `policyTypes`."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod as far as policies go.

    Attributes:
        key: Namespace and name.
        labels: Its labels.
        pod_ip: Its address on the pod network, of the family that is judged.
        node: Node it runs on.
        created: When it was made, RFC 3339; of two pods with one address the younger has it.
        ports: Number by (name, protocol) of its containers' named ports.
    """

    key: Key
    labels: Mapping[str, str]
    pod_ip: Address
    node: str = ""
    created: str = ""
    ports: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Selector:
    """Pods chosen by label.

    Attributes:
        pods: What their labels must be.
        namespace: The one namespace they are in; "" when `namespaces` says which.
        namespaces: What the labels of their namespaces must be.
    """

    pods: LabelQuery
    namespace: str = ""
    namespaces: LabelQuery = selectors.EVERYTHING

    def matches(self, pod: PodFacts, namespace: Mapping[str, str]) -> bool:
        """Whether it chooses a pod whose namespace has these labels."""
        if self.namespace:
            return pod.key.namespace == self.namespace and self.pods.matches(pod.labels)
        return self.namespaces.matches(namespace) and self.pods.matches(pod.labels)

    def __str__(self) -> str:
        pods = f"pods {self.pods}" if self.pods.requirements else "all pods"
        if self.namespace:
            return f"{pods} in {self.namespace}"
        spaces = (
            f"namespaces {self.namespaces}" if self.namespaces.requirements else "any namespace"
        )
        return f"{pods} in {spaces}"


@dataclass(frozen=True, slots=True)
class Block:
    """The addresses of `cidr`, but not those of `except_`."""

    cidr: Network
    except_: tuple[Network, ...] = ()

    def matches(self, address: Address) -> bool:
        """Whether an address is meant."""
        return address in self.cidr and not any(address in other for other in self.except_)


@dataclass(frozen=True, slots=True)
class PortMatch:
    """Ports of one protocol: `first` to `last`, or those a pod calls `name`."""

    protocol: str
    first: int = 0
    last: int = 65535
    name: str = ""

    def matches(self, protocol: str, port: int, destination: PodFacts | None) -> bool:
        """Whether a connection to a port of a destination is meant; a name means nothing outside of pods."""
        if protocol != self.protocol:
            return False
        if self.name:
            return destination is not None and destination.ports.get((self.name, protocol)) == port
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Rule:
    """Peers and ports that are allowed together; None is all of them."""

    peers: tuple[Selector | Block, ...] | None
    ports: tuple[PortMatch, ...] | None

    def selectors(self) -> Iterator[Selector]:
        """Peers that are pods."""
        return (peer for peer in self.peers or () if isinstance(peer, Selector))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A NetworkPolicy. A direction it does not isolate is None; () isolates and allows nothing."""

    key: Key
    pods: LabelQuery
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        """What it allows in a direction; None when it does not isolate in it."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    def selects(self, pod: PodFacts) -> bool:
        """Whether the pod is one of those it isolates."""
        return pod.key.namespace == self.key.namespace and self.pods.matches(pod.labels)

    def __str__(self) -> str:
        return f"{self.key.namespace}/{self.key.name}"


def policy_of(obj: NetworkPolicy) -> Policy:
    """Read a NetworkPolicy.

    Without policyTypes it isolates for ingress, and for egress when it has an egress rule.
    """
    spec, key = obj.spec, key_of(obj)
    types: Sequence[str] = spec.policy_types or (
        ("Ingress", "Egress") if spec.egress else ("Ingress",)
    )
    ingress = tuple(_rule(key.namespace, rule.from_, rule.ports) for rule in spec.ingress)
    egress = tuple(_rule(key.namespace, rule.to, rule.ports) for rule in spec.egress)
    return Policy(
        key=key,
        pods=selectors.from_label_selector(spec.pod_selector),
        ingress=ingress if Direction.INGRESS in types else None,
        egress=egress if Direction.EGRESS in types else None,
    )


def pod_of(pod: Pod, pod_ip: str = "", family: Family | None = None) -> PodFacts | None:
    """Read a pod; None when it has no address of its own: none yet, the node's, or no longer.

    Args:
        pod: The pod.
        pod_ip: Its address, when more is known than its status says.
        family: Of the address that counts; None is the primary one.
    """
    known = [it.ip for it in pod.status.pod_ips] or [pod.status.pod_ip]
    own = (it for it in known if family is None or address_of(it, family))
    address = pod_ip or next(own, "")
    if pod.spec.host_network or pod.status.phase in ENDED or not address:
        return None
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return PodFacts(
        key=key_of(pod),
        labels=pod.metadata.labels,
        pod_ip=parsed,
        node=pod.spec.node_name,
        created=pod.metadata.creation_timestamp,
        ports={
            (port.name, port.protocol or "TCP"): port.container_port
            for container in reversed(pod.spec.containers)
            for port in reversed(container.ports)
            if port.name
        },
    )


def namespace_labels(name: str, labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Labels of a namespace; one that was not seen yet has its name at least."""
    return labels if labels else {LABEL_NAME: name}


def _rule(
    namespace: str, peers: tuple[NetworkPolicyPeer, ...], ports: tuple[NetworkPolicyPort, ...]
) -> Rule:
    return Rule(
        tuple(_peers(namespace, peers)) if peers else None,
        tuple(_port(port) for port in ports) if ports else None,
    )


def _peers(namespace: str, peers: tuple[NetworkPolicyPeer, ...]) -> Iterator[Selector | Block]:
    for peer in peers:
        if peer.ip_block is not None:
            # What is no CIDR chooses nobody.
            with contextlib.suppress(ValueError):
                yield _block(peer.ip_block)
            continue
        if peer.pod_selector is None and peer.namespace_selector is None:
            continue
        pods = (
            selectors.EVERYTHING
            if peer.pod_selector is None
            else selectors.from_label_selector(peer.pod_selector)
        )
        if peer.namespace_selector is None:
            yield Selector(pods, namespace)
        else:
            spaces = selectors.from_label_selector(peer.namespace_selector)
            yield Selector(pods, "", spaces)


def _block(block: IPBlock) -> Block:
    return Block(
        ip_network(block.cidr, strict=False),
        tuple(ip_network(other, strict=False) for other in block.except_),
    )


def _port(port: NetworkPolicyPort) -> PortMatch:
    protocol = port.protocol or "TCP"
    if port.port is None:
        return PortMatch(protocol)
    if isinstance(port.port, str):
        return PortMatch(protocol, 0, 0, port.port)
    return PortMatch(protocol, port.port, port.end_port or port.port)
