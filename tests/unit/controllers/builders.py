"""Objects for controller tests, in the shape the API server would give them back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from netpod.api import meta
from netpod.api.apps import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from netpod.api.meta import Condition, IntOrString, LabelSelector, ObjectMeta, OwnerReference
from netpod.api.node import Node, NodeSpec, NodeStatus, Taint
from netpod.api.pod import Container, ContainerPort, Pod, PodSpec, PodTemplateSpec
from netpod.api.pod_status import ContainerStatus, PodIP, PodStatus
from netpod.api.service import Service, ServicePort, ServiceSpec

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
APP = {"app": "web"}


def ago(seconds: float) -> str:
    """Return a moment before NOW."""
    return meta.timestamp(NOW - timedelta(seconds=seconds))


def pod(
    name: str,
    *,
    ip: str = "10.244.1.2",
    ready: bool = True,
    node: str = "worker",
    phase: str = "Running",
    terminating: bool = False,
    labels: Mapping[str, str] = APP,
    ports: tuple[ContainerPort, ...] = (),
    owner: OwnerReference | None = None,
    ready_for: float = 60,
    age: float = 120,
    restarts: int = 0,
    annotations: Mapping[str, str] | None = None,
    spec: PodSpec | None = None,
) -> Pod:
    """Return a pod in namespace shop; ready for a minute on `worker` unless said otherwise."""
    condition = Condition(
        type="Ready", status=str(ready), last_transition_time=ago(ready_for if ready else age)
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            labels=labels,
            annotations=annotations or {},
            creation_timestamp=ago(age),
            deletion_timestamp=ago(1) if terminating else "",
            owner_references=(owner,) if owner else (),
        ),
        spec=spec
        or PodSpec(node_name=node, containers=(Container(name="c", image="web", ports=ports),)),
        status=PodStatus(
            phase=phase,
            conditions=(condition,),
            pod_ip=ip,
            pod_ips=(PodIP(ip=ip),) if ip else (),
            container_statuses=(ContainerStatus(name="c", restart_count=restarts),),
        ),
    )


def service(
    *,
    ports: tuple[ServicePort, ...] = (ServicePort(name="http", port=80, target_port=8080),),
    selector: Mapping[str, str] = APP,
    labels: Mapping[str, str] | None = None,
    cluster_ip: str = "10.96.45.12",
    publish_not_ready: bool = False,
    type_: str = "ClusterIP",
    families: tuple[str, ...] = ("IPv4",),
    traffic_distribution: str | None = None,
) -> Service:
    """Return Service shop/web."""
    return Service(
        metadata=ObjectMeta(
            name="web",
            namespace="shop",
            uid="uid-web",
            labels=labels or {},
            creation_timestamp=ago(300),
        ),
        spec=ServiceSpec(
            ports=ports,
            selector=selector,
            cluster_ip=cluster_ip,
            type=type_,
            ip_families=families,
            publish_not_ready_addresses=publish_not_ready,
            traffic_distribution=traffic_distribution,
        ),
    )


def node(
    name: str = "worker",
    *,
    ready: str = "True",
    zone: str = "",
    taints: tuple[Taint, ...] = (),
    unschedulable: bool = False,
    pod_cidr: str = "",
) -> Node:
    """Return a Node; `ready` is the status of its condition Ready, "" for none."""
    conditions = (Condition(type="Ready", status=ready, last_transition_time=ago(60)),)
    return Node(
        metadata=ObjectMeta(
            name=name,
            uid=f"uid-{name}",
            labels={"topology.kubernetes.io/zone": zone} if zone else {},
        ),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable, pod_cidr=pod_cidr),
        status=NodeStatus(conditions=conditions if ready else ()),
    )


def template(image: str = "web:1") -> PodTemplateSpec:
    """Return a pod template of one container."""
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=APP),
        spec=PodSpec(containers=(Container(name="c", image=image),)),
    )


def deployment(
    replicas: int = 3,
    *,
    image: str = "web:1",
    surge: IntOrString = "25%",
    unavailable: IntOrString = "25%",
    recreate: bool = False,
    deadline: int | None = 600,
    history: int | None = 10,
    annotations: Mapping[str, str] | None = None,
    paused: bool = False,
) -> Deployment:
    """Return Deployment shop/web."""
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    return Deployment(
        metadata=ObjectMeta(
            name="web",
            namespace="shop",
            uid="uid-web",
            generation=1,
            annotations=annotations or {},
        ),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=APP),
            template=template(image),
            strategy=DeploymentStrategy(type="Recreate")
            if recreate
            else DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
            progress_deadline_seconds=deadline,
            revision_history_limit=history,
            paused=paused,
        ),
    )


def replica_set(
    name: str,
    replicas: int,
    *,
    available: int | None = None,
    there: int | None = None,
    image: str = "web:1",
    revision: int = 1,
    desired: int | None = None,
    maximum: int | None = None,
    age: float = 60,
) -> ReplicaSet:
    """Return a ReplicaSet whose pods are all there and available unless said otherwise."""
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    if desired is not None:
        annotations["deployment.kubernetes.io/desired-replicas"] = str(desired)
    if maximum is not None:
        annotations["deployment.kubernetes.io/max-replicas"] = str(maximum)
    ready = replicas if available is None else available
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            annotations=annotations,
            creation_timestamp=ago(age),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=APP),
            template=template(image),
        ),
        status=ReplicaSetStatus(
            replicas=replicas if there is None else there,
            ready_replicas=ready,
            available_replicas=ready,
        ),
    )
