"""What upstream fills in where an author wrote nothing. Doing it twice changes nothing.

Source: pkg/apis/{core,apps,discovery,networking}/v1/defaults.go.
"""

import base64
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from netpod.api import defaults_pod, defaults_service
from netpod.api.apps import Deployment, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment
from netpod.api.core import CustomResource, Endpoints, Namespace, Secret
from netpod.api.defaults_pod import fill
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Object
from netpod.api.networking import IngressClass
from netpod.api.node import Node
from netpod.api.structs import replace

T = TypeVar("T", bound=Object)

NAME_LABEL = "kubernetes.io/metadata.name"


def apply_defaults(obj: T) -> T:
    """Return the object with upstream's defaults in place of what is absent.

    Kinds without defaults come back as they are.
    """
    apply = None if isinstance(obj, CustomResource) else _DEFAULTS.get(obj.kind)
    if isinstance(apply, str):
        apply = _late(apply)
    return cast(T, apply(obj)) if apply else obj


@functools.cache
def _late(name: str) -> Callable[[Any], Object]:
    """Return a function of defaults_workloads or defaults_gateway, imported when the first such object comes."""
    module = "gateway" if name in ("gateway", "http_route") else "workloads"
    found = importlib.import_module(f"netpod.api.defaults_{module}")
    return cast(Callable[[Any], Object], getattr(found, name))


def _namespace(obj: Namespace) -> Namespace:
    name = obj.metadata.name
    if not name or obj.metadata.labels.get(NAME_LABEL) == name:
        return obj
    labels = {**obj.metadata.labels, NAME_LABEL: name}
    return replace(obj, metadata=replace(obj.metadata, labels=labels))


def _node(obj: Node) -> Node:
    cidr, cidrs = obj.spec.pod_cidr, obj.spec.pod_cidrs
    # The older field wins. Source: pkg/apis/core/v1/conversion.go Convert_v1_NodeSpec_To_core_NodeSpec.
    if cidr and (not cidrs or cidrs[0] != cidr):
        obj = replace(obj, spec=replace(obj.spec, pod_cidrs=(cidr,)))
    elif cidrs and not cidr:
        obj = replace(obj, spec=replace(obj.spec, pod_cidr=cidrs[0]))
    capacity = defaults_pod.canonical(obj.status.capacity)
    allocatable = defaults_pod.canonical(obj.status.allocatable) or capacity
    return replace(obj, status=replace(obj.status, capacity=capacity, allocatable=allocatable))


def _secret(obj: Secret) -> Secret:
    # stringData is write-only. Source: pkg/apis/core/v1/conversion.go Convert_v1_Secret_To_core_Secret.
    if obj.string_data:
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in obj.string_data.items()}
        obj = replace(obj, data={**obj.data, **encoded}, string_data={})
    return fill(obj, type="Opaque")


def _endpoints(obj: Endpoints) -> Endpoints:
    subsets = tuple(
        replace(subset, ports=tuple(fill(port, protocol="TCP") for port in subset.ports))
        for subset in obj.subsets
    )
    return replace(obj, subsets=subsets)


def _endpoint_slice(obj: EndpointSlice) -> EndpointSlice:
    ports = tuple(
        replace(
            port,
            name=port.name or "",
            protocol="TCP" if port.protocol is None else port.protocol,
        )
        for port in obj.ports
    )
    return replace(obj, ports=ports)


def _ingress_class(obj: IngressClass) -> IngressClass:
    parameters = obj.spec.parameters
    if not isinstance(parameters, Mapping) or parameters.get("scope"):
        return obj
    return replace(obj, spec=replace(obj.spec, parameters={**parameters, "scope": "Cluster"}))


def _deployment(obj: Deployment) -> Deployment:
    spec = fill(
        obj.spec,
        replicas=1,
        revision_history_limit=10,
        progress_deadline_seconds=600,
    )
    spec = replace(
        spec,
        strategy=_strategy(spec.strategy),
        template=replace(spec.template, spec=defaults_pod.spec_defaults(spec.template.spec)),
    )
    return replace(obj, spec=spec)


def _strategy(strategy: DeploymentStrategy) -> DeploymentStrategy:
    strategy = fill(strategy, type="RollingUpdate")
    if strategy.type != "RollingUpdate":
        return strategy
    bounds = strategy.rolling_update or RollingUpdateDeployment()
    unavailable, surge = bounds.max_unavailable, bounds.max_surge
    bounds = replace(
        bounds,
        max_unavailable="25%" if unavailable is None else unavailable,
        max_surge="25%" if surge is None else surge,
    )
    return replace(strategy, rolling_update=bounds)


def _replica_set(obj: ReplicaSet) -> ReplicaSet:
    spec = fill(obj.spec, replicas=1)
    template = replace(spec.template, spec=defaults_pod.spec_defaults(spec.template.spec))
    return replace(obj, spec=replace(spec, template=template))


_DEFAULTS: Mapping[str, Callable[[Any], Object] | str] = {
    "CSIDriver": "csi_driver",
    "ClusterRoleBinding": "cluster_role_binding",
    "CronJob": "cron_job",
    "DaemonSet": "daemon_set",
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Gateway": "gateway",
    "HTTPRoute": "http_route",
    "HorizontalPodAutoscaler": "autoscaler",
    "IngressClass": _ingress_class,
    "Job": "job",
    "LimitRange": "limit_range",
    "Namespace": _namespace,
    "NetworkPolicy": "network_policy",
    "Node": _node,
    "PersistentVolume": "volume",
    "PersistentVolumeClaim": "claim",
    "PodTemplate": "pod_template",
    "PriorityClass": "priority_class",
    "Pod": defaults_pod.pod_defaults,
    "ReplicaSet": _replica_set,
    "ReplicationController": "replication_controller",
    "ResourceQuota": "quota",
    "RoleBinding": "role_binding",
    "Secret": _secret,
    "Service": defaults_service.service_defaults,
    "StatefulSet": "stateful_set",
    "StorageClass": "storage_class",
}
"""By kind, or the name of a function in defaults_workloads.py or defaults_gateway.py.

ConfigMap, ServiceAccount, Ingress, Lease and Event have none upstream either."""
