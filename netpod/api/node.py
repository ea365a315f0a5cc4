"""Node: a machine that runs pods.

Source: k8s.io/api core/v1/types.go NodeSpec, NodeStatus.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import EMPTY, Condition, IntOrString, Json, Object, Struct, always
from netpod.ip import Family, address_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint(Struct):
    """Keeps pods without a matching toleration away; effect NoSchedule, PreferNoSchedule or NoExecute."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec(Struct):
    """`pod_cidr` is given once by the nodeipam controller."""

    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()
    provider_id: str = ""
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddress(Struct):
    """`type` is InternalIP, ExternalIP or Hostname."""

    type: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSystemInfo(Struct):
    """What the node runs on."""

    machine_id: str = always("")
    system_uuid: str = always("")
    boot_id: str = always("")
    kernel_version: str = always("")
    os_image: str = always("")
    container_runtime_version: str = always("")
    kubelet_version: str = always("")
    kube_proxy_version: str = always("")
    operating_system: str = always("")
    architecture: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus(Struct):
    """What the kubelet reports. Capacities are quantities by resource name."""

    capacity: Mapping[str, IntOrString] = EMPTY
    allocatable: Mapping[str, IntOrString] = EMPTY
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    daemon_endpoints: Json = None
    node_info: NodeSystemInfo | None = None
    images: tuple[Json, ...] = ()
    volumes_in_use: tuple[str, ...] = ()
    volumes_attached: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Object):
    """A machine that runs pods."""

    api_version: str = always("v1")
    kind: str = always("Node")
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


def internal_ip(node: Node, family: Family | None = None) -> str:
    """Return the node's InternalIP, its primary or that of a family, or "" before the kubelet reported one."""
    found = (a.address for a in node.status.addresses if a.type == "InternalIP")
    return next((it for it in found if family is None or address_of(it, family)), "")


def pod_cidrs(node: Node) -> tuple[str, ...]:
    """Return the node's shares of the pod networks, the primary first; empty before it was given some."""
    return node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
