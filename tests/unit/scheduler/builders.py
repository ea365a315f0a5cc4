"""Pods and nodes for scheduler tests, in the shape the API server would give them back."""

from collections.abc import Iterable, Mapping

from netpod.api.meta import Condition, IntOrString, Json, ObjectMeta, OwnerReference
from netpod.api.node import Node, NodeSpec, NodeStatus, Taint
from netpod.api.pod import (
    Affinity,
    Container,
    ContainerPort,
    Pod,
    PodSpec,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
    Volume,
)
from netpod.api.pod_status import PodStatus
from netpod.scheduler import model
from netpod.scheduler.cache import Cache


def pod(
    name: str = "p",
    *,
    namespace: str = "shop",
    labels: Mapping[str, str] | None = None,
    requests: Mapping[str, IntOrString] | None = None,
    host_port: int = 0,
    node_selector: Mapping[str, str] | None = None,
    node_affinity: Json = None,
    pod_affinity: Json = None,
    pod_anti_affinity: Json = None,
    tolerations: tuple[Toleration, ...] = (),
    spreads: tuple[TopologySpreadConstraint, ...] = (),
    owner: str = "",
    priority: int = 0,
    preempts: bool = True,
    claims: tuple[str, ...] = (),
    image: str = "",
    started: str = "",
) -> Pod:
    """Return a pod without a node."""
    ports = (ContainerPort(container_port=80, host_port=host_port, protocol="TCP"),)
    container = Container(
        name="c",
        image=image,
        resources=ResourceRequirements(requests=requests or {}),
        ports=ports if host_port else (),
    )
    reference = OwnerReference(kind="ReplicaSet", name=owner, uid=owner, controller=True)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            labels=labels or {},
            owner_references=(reference,) if owner else (),
        ),
        spec=PodSpec(
            containers=(container,),
            node_selector=node_selector or {},
            affinity=Affinity(
                node_affinity=node_affinity,
                pod_affinity=pod_affinity,
                pod_anti_affinity=pod_anti_affinity,
            ),
            tolerations=tolerations,
            topology_spread_constraints=spreads,
            priority=priority,
            preemption_policy=None if preempts else "Never",
            volumes=tuple(
                Volume(name=claim, unknown={"persistentVolumeClaim": {"claimName": claim}})
                for claim in claims
            ),
        ),
        status=PodStatus(start_time=started),
    )


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    unschedulable: bool = False,
    ready: str = "True",
    images: Mapping[str, int] | None = None,
) -> Node:
    """Return a Node with its hostname label."""
    return Node(
        metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, **(labels or {})}),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable),
        status=NodeStatus(
            allocatable={"cpu": cpu, "memory": memory, "pods": pods},
            conditions=(Condition(type="Ready", status=ready),),
            images=tuple({"names": [n], "sizeBytes": s} for n, s in (images or {}).items()),
        ),
    )


def cluster(nodes: Iterable[Node], placed: Iterable[tuple[Pod, str]] = ()) -> Cache:
    """Return a cache of nodes and the pods on them."""
    cache = Cache()
    for each in nodes:
        cache.set_node(each.metadata.name, each)
    for item, name in placed:
        cache.set_pod(model.pod_info(item), name)
    return cache
