"""Is this object right? May it replace that one? Every wrong field is named, with upstream's path and words.

Objects come with defaults applied. The rules stand by kind in validate_*.py.

Source: pkg/apis/{core,apps,discovery,networking,coordination}/validation.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from netpod.api import (
    registry,
    validate_apps,
    validate_core,
    validate_discovery,
    validate_meta,
    validate_names,
    validate_networking,
    validate_pod,
    validate_pod_update,
    validate_service,
)
from netpod.api.meta import Object
from netpod.api.pod import Pod
from netpod.api.validate_errors import Errors
from netpod.errors import FieldError

Check = Callable[[Errors, Any], None]
CheckUpdate = Callable[[Errors, Any, Any], None]


_NAMES: Mapping[str, Callable[[str], list[str]]] = {
    "ClusterRole": validate_names.path_segment,
    "ClusterRoleBinding": validate_names.path_segment,
    "Event": validate_names.path_segment,
    "Namespace": validate_names.dns1123_label,
    "PodDisruptionBudget": validate_names.path_segment,
    "Role": validate_names.path_segment,
    "RoleBinding": validate_names.path_segment,
    "Service": validate_names.dns1035_label,
}
"""How an object of the kind may be named; any other kind takes a DNS subdomain."""

_CREATE: Mapping[str, Check] = {
    "ConfigMap": validate_core.config_map,
    "Deployment": validate_apps.deployment,
    "EndpointSlice": validate_discovery.endpoint_slice,
    "Endpoints": validate_discovery.endpoints,
    "Event": validate_core.event,
    "Ingress": validate_networking.ingress,
    "IngressClass": validate_networking.ingress_class,
    "Lease": validate_core.lease,
    "Namespace": validate_core.namespace,
    "Node": validate_core.node,
    "Pod": validate_pod.pod,
    "ReplicaSet": validate_apps.replica_set,
    "Secret": validate_core.secret,
    "Service": validate_service.service,
}
_LATE: Mapping[str, tuple[str, str, str]] = {
    "CertificateSigningRequest": ("certificates", "request", "request_update"),
    "ClusterRole": ("rbac", "cluster_role", ""),
    "ClusterRoleBinding": ("rbac", "cluster_role_binding", "binding_update"),
    "ControllerRevision": ("workloads", "revision", "revision_update"),
    "CronJob": ("batch", "cron_job", ""),
    "CustomResourceDefinition": ("apiextensions", "definition", "definition_update"),
    "DaemonSet": ("workloads", "daemon_set", "daemon_set_update"),
    "Gateway": ("gateway", "gateway", ""),
    "GatewayClass": ("gateway", "gateway_class", "gateway_class_update"),
    "HTTPRoute": ("httproute", "http_route", ""),
    "HorizontalPodAutoscaler": ("autoscaling", "autoscaler", ""),
    "Job": ("batch", "job", "job_update"),
    "LimitRange": ("limits", "limit_range", ""),
    "NetworkPolicy": ("networkpolicy", "network_policy", ""),
    "PersistentVolume": ("storage", "volume", "volume_update"),
    "PersistentVolumeClaim": ("storage", "claim", "claim_update"),
    "PodDisruptionBudget": ("policy", "budget", ""),
    "PodTemplate": ("workloads", "pod_template", ""),
    "PriorityClass": ("policy", "priority_class", "priority_class_update"),
    "ReferenceGrant": ("gateway", "reference_grant", ""),
    "ReplicationController": ("workloads", "replication_controller", ""),
    "ResourceQuota": ("limits", "quota", "quota_update"),
    "Role": ("rbac", "role", ""),
    "RoleBinding": ("rbac", "role_binding", "binding_update"),
    "StatefulSet": ("workloads", "stateful_set", "stateful_set_update"),
    "StorageClass": ("storage", "storage_class", "storage_class_update"),
}
"""Kind -> module validate_X and its functions for an object and for its update; imported when one comes."""

_CREATE_ONLY: Mapping[str, Check] = {"Ingress": validate_networking.ingress_create}
_UPDATE: Mapping[str, CheckUpdate] = {
    "ConfigMap": validate_core.config_map_update,
    "Deployment": validate_apps.deployment_update,
    "EndpointSlice": validate_discovery.endpoint_slice_update,
    "IngressClass": validate_networking.ingress_class_update,
    "Node": validate_core.node_update,
    "Pod": validate_pod_update.pod_update,
    "ReplicaSet": validate_apps.replica_set_update,
    "Secret": validate_core.secret_update,
    "Service": validate_service.service_update,
}

_STATUS: Mapping[str, CheckUpdate] = {
    "Ingress": validate_networking.ingress_status,
    "Node": validate_core.node_status,
    "Service": validate_service.service_status,
}


@functools.cache
def _check(kind: str) -> Check | None:
    if kind not in _LATE:
        return _CREATE.get(kind)
    module, name, _ = _LATE[kind]
    return cast(Check, getattr(importlib.import_module(f"netpod.api.validate_{module}"), name))


@functools.cache
def _check_update(kind: str) -> CheckUpdate | None:
    module, _, name = _LATE.get(kind, ("", "", ""))
    if not name:
        return _UPDATE.get(kind)
    found = getattr(importlib.import_module(f"netpod.api.validate_{module}"), name)
    return cast(CheckUpdate, found)


def validate_create(obj: Object) -> list[FieldError]:
    """Return what is wrong with a new object, in upstream's order; empty when nothing is.

    Whether its namespace exists, and whether addresses and ports are free, is not for this function to know.
    """
    errors = Errors()
    _metadata(errors, obj)
    for check in (_check(obj.kind), _CREATE_ONLY.get(obj.kind)):
        if check is not None:
            check(errors, obj)
    return errors.found


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """Return why `new` may not replace `old`: what is wrong with it, and what may not change.

    A Service may still leave out what it keeps (its address, its node ports).
    """
    errors = Errors()
    _metadata(errors, new)
    validate_meta.metadata_update(errors, new.metadata, old.metadata)
    update = _check_update(new.kind)
    if update is not None:
        update(errors, new, old)
    check = _check(new.kind)
    if check is not None and new.kind != "Pod":
        check(errors, new)
    return errors.found


def validate_status(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with the status an object gets."""
    errors = Errors()
    now, before = new.metadata, old.metadata
    if (now.labels, now.annotations) != (before.labels, before.annotations):
        _metadata(errors, new)
    check = _STATUS.get(new.kind)
    if check is not None:
        check(errors, new, old)
    return errors.found


def validate_debug(new: Pod, old: Pod) -> list[FieldError]:
    """Return what is wrong with the ephemeral containers that a pod gets."""
    from netpod.api import validate_debug

    errors = Errors()
    validate_debug.debug(errors, new, old)
    return errors.found


def validate_custom(
    obj: Object, old: Object | None = None, *, namespaced: bool
) -> list[FieldError]:
    """Return what is wrong with the metadata of an object of a custom kind."""
    errors = Errors()
    rule = validate_names.dns1123_subdomain
    validate_meta.metadata(errors, obj.metadata, rule, namespaced=namespaced, custom=True)
    if old is not None:
        validate_meta.metadata_update(errors, obj.metadata, old.metadata)
    return errors.found


def _metadata(errors: Errors, obj: Object) -> None:
    validate_meta.metadata(
        errors,
        obj.metadata,
        _NAMES.get(obj.kind, validate_names.dns1123_subdomain),
        namespaced=registry.of(type(obj)).namespaced,
    )
