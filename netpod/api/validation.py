"""Is this object right? May it replace that one? Every wrong field is named, with upstream's path and words.

Objects come with defaults applied. The rules stand by kind in validate_*.py.

Source: pkg/apis/{core,apps,discovery,networking,coordination}/validation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from netpod.api import (
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
from netpod.api.validate_errors import Errors
from netpod.errors import FieldError

Check = Callable[[Errors, Any], None]
CheckUpdate = Callable[[Errors, Any, Any], None]

_CLUSTER_SCOPED = {"Namespace", "Node", "IngressClass"}

_NAMES: Mapping[str, Callable[[str], list[str]]] = {
    "Namespace": validate_names.dns1123_label,
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
    "Node": validate_core.node,
    "Pod": validate_pod.pod,
    "ReplicaSet": validate_apps.replica_set,
    "Secret": validate_core.secret,
    "Service": validate_service.service,
}
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


def validate_create(obj: Object) -> list[FieldError]:
    """Return what is wrong with a new object, in upstream's order; empty when nothing is.

    Whether its namespace exists, and whether addresses and ports are free, is not for this function to know.
    """
    errors = Errors()
    _metadata(errors, obj)
    for checks in (_CREATE, _CREATE_ONLY):
        check = checks.get(obj.kind)
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
    if new.kind == "Service":
        # The type may have changed without what depends on it.
        new = validate_service.settled(new, old)
    update = _UPDATE.get(new.kind)
    if update is not None:
        update(errors, new, old)
    check = _CREATE.get(new.kind)
    if check is not None and new.kind != "Pod":
        check(errors, new)
    return errors.found


def _metadata(errors: Errors, obj: Object) -> None:
    validate_meta.metadata(
        errors,
        obj.metadata,
        _NAMES.get(obj.kind, validate_names.dns1123_subdomain),
        namespaced=obj.kind not in _CLUSTER_SCOPED,
    )
