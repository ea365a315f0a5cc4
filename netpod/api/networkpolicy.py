"""NetworkPolicy: which pods may talk to which.

Source: k8s.io/api networking/v1/types.go.
"""

from dataclasses import dataclass, field

from netpod.api.meta import IntOrString, LabelSelector, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicyPort(Struct):
    """A port by number or name, or a range up to `end_port`; None is every port."""

    protocol: str | None = None
    port: IntOrString | None = None
    end_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IPBlock(Struct):
    """The addresses of a CIDR, but not those of `except_`."""

    cidr: str = always("")
    except_: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicyPeer(Struct):
    """Pods by label (of this namespace, or of those `namespace_selector` chooses), or addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicyIngressRule(Struct):
    """From any of these peers to any of these ports; an empty list is everything."""

    ports: tuple[NetworkPolicyPort, ...] = ()
    from_: tuple[NetworkPolicyPeer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicyEgressRule(Struct):
    """To any of these peers on any of these ports; an empty list is everything."""

    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicySpec(Struct):
    """What the selected pods may receive and send; `policy_types` says which of both is limited."""

    pod_selector: LabelSelector = field(default_factory=LabelSelector, metadata={"always": True})
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    policy_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy(Object):
    """Isolates pods: what no policy allows does not pass."""

    api_version: str = always("networking.k8s.io/v1")
    kind: str = always("NetworkPolicy")
    spec: NetworkPolicySpec = field(default_factory=NetworkPolicySpec)
