"""Rules for nodes, config maps, secrets, leases and events.

Source: pkg/apis/core/validation/validation.go, events.go; pkg/apis/coordination/validation/validation.go.
"""

import base64
import binascii
from collections.abc import Mapping

from netpod.api import quantity, shapes, validate_addresses, validate_meta, validate_names
from netpod.api.coordination import Lease
from netpod.api.core import ConfigMap, Event, Namespace, Secret
from netpod.api.node import Node
from netpod.api.validate_errors import NON_NEGATIVE, Errors, index, key

MAX_DATA = 1024 * 1024
"""Bytes of all values of a ConfigMap or Secret together."""

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ONCE = 'node updates may not change podCIDR except from "" to valid'
_LOCKED = "field is immutable when `immutable` is set"
_REQUIRED_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def node(errors: Errors, obj: Node) -> None:
    """Check a Node."""
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(obj.spec.taints):
        path = index("metadata.taints", position)
        errors.each(f"{path}.key", taint.key, validate_names.qualified_name(taint.key))
        problems = validate_names.label_value(taint.value)
        if problems:
            errors.invalid(f"{path}.value", taint.value, ";".join(problems))
        if not taint.effect:
            errors.required(f"{path}.effect")
        elif taint.effect not in TAINT_EFFECTS:
            errors.refuse(f"{path}.effect", taint.effect, TAINT_EFFECTS)
        if (taint.key, taint.effect) in seen:
            errors.duplicate(path, taint, "taints must be unique by key and effect pair")
        seen.add((taint.key, taint.effect))
    node_resources(errors, obj)
    cidrs = obj.spec.pod_cidrs
    for position, cidr in enumerate(cidrs):
        if not validate_addresses.is_cidr(cidr):
            path = index("spec.podCIDRs", position)
            errors.invalid(path, cidr, validate_addresses.BAD_CIDR)
    if len(cidrs) > 1 and len({":" in cidr for cidr in cidrs}) < len(cidrs):
        detail = "may specify no more than one CIDR for each IP family"
        errors.invalid("spec.podCIDRs", list(cidrs), detail)
        for position in range(1, len(cidrs)):
            if cidrs[position] in cidrs[:position]:
                errors.duplicate(index("spec.podCIDRs", position), cidrs[position])


def node_resources(errors: Errors, obj: Node) -> None:
    """Check what a node says it has. Source: ValidateNodeResources."""
    for name in ("capacity", "allocatable"):
        for resource, amount in getattr(obj.status, name).items():
            path = f"status.{name}.{resource}"
            try:
                number = quantity.parse(amount)
            except ValueError as error:
                errors.unreadable(path, amount, error)
                continue
            if number < 0:
                errors.invalid(path, amount, NON_NEGATIVE)
            if resource == "pods" and number.denominator != 1:
                errors.invalid(path, amount, "must be an integer")


def node_status(errors: Errors, new: Node, _: Node) -> None:
    """Check what a kubelet reports of its node."""
    node_resources(errors, new)
    seen: set[tuple[str, str]] = set()
    for position, address in enumerate(new.status.addresses):
        if (address.type, address.address) in seen:
            errors.duplicate(index("status.addresses", position), address)
        seen.add((address.type, address.address))


def node_update(errors: Errors, new: Node, old: Node) -> None:
    """A node's pod CIDR and provider are given once: the addresses of its pods depend on them."""
    if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
        errors.forbidden("spec.podCIDRs", _ONCE)
    elif old.spec.pod_cidr and new.spec.pod_cidr != old.spec.pod_cidr:
        errors.forbidden("spec.podCIDR", _ONCE)
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        detail = 'node updates may not change providerID except from "" to valid'
        errors.forbidden("spec.providerID", detail)
    before = old.spec.pod_cidrs, old.spec.pod_cidr, old.spec.provider_id
    if any(was and now != was for was, now in zip(before, _given_once(new), strict=True)):
        errors.forbidden("[]", "node updates may only change labels, taints, or capacity")


def _given_once(node: Node) -> tuple[tuple[str, ...], str, str]:
    return node.spec.pod_cidrs, node.spec.pod_cidr, node.spec.provider_id


def namespace(errors: Errors, obj: Namespace) -> None:
    """Check a Namespace: what keeps it from going."""
    for name in obj.spec.finalizers:
        errors.each("spec.finalizers", name, validate_meta.finalizer(name))


def config_map(errors: Errors, obj: ConfigMap) -> None:
    """Check a ConfigMap: keys, and the size of all values."""
    _keys(errors, obj.data, "data")
    for name in obj.binary_data:
        if name in obj.data:
            errors.invalid(key("data", name), name, "duplicate of key present in binaryData")
    _keys(errors, obj.binary_data, "binaryData")
    size = _bytes(errors, obj.binary_data, "binaryData")
    size += sum(len(value.encode()) for value in obj.data.values())
    if size > MAX_DATA:
        errors.too_long("[]", MAX_DATA)


def _keys(errors: Errors, data: Mapping[str, str], path: str) -> None:
    for name in data:
        errors.each(key(path, name), name, validate_names.config_key(name))


def _bytes(errors: Errors, data: Mapping[str, str], path: str) -> int:
    """Return how many bytes the base64 values hold."""
    size = 0
    for name, value in data.items():
        try:
            size += len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            wrong = ValueError("illegal base64 data")
            errors.unreadable(key(path, name), value[:40], wrong)
    return size


def config_map_update(errors: Errors, new: ConfigMap, old: ConfigMap) -> None:
    """An immutable ConfigMap stays as it is."""
    if old.immutable:
        _unlocked(errors, new.immutable)
        for path, value, was in (
            ("data", new.data, old.data),
            ("binaryData", new.binary_data, old.binary_data),
        ):
            if dict(value) != dict(was):
                errors.forbidden(path, _LOCKED)


def _unlocked(errors: Errors, immutable: bool | None) -> None:
    if not immutable:
        errors.forbidden("immutable", _LOCKED)


def secret(errors: Errors, obj: Secret) -> None:
    """Check a Secret: keys, size, and what its type needs."""
    _keys(errors, obj.data, "data")
    _keys(errors, obj.string_data, "stringData")
    size = _bytes(errors, obj.data, "data")
    size += sum(len(value.encode()) for value in obj.string_data.values())
    if size > MAX_DATA:
        errors.too_long("data", MAX_DATA)
    if obj.type == "kubernetes.io/basic-auth":
        if not {"username", "password"} & (set(obj.data) | set(obj.string_data)):
            errors.required("data[username]")
            errors.required("data[password]")
    for name in _REQUIRED_KEYS.get(obj.type, ()):
        if name not in obj.data and name not in obj.string_data:
            errors.required(key("data", name))


def secret_update(errors: Errors, new: Secret, old: Secret) -> None:
    """The type stays; an immutable Secret stays as it is."""
    errors.immutable("type", new.type, old.type)
    if old.immutable:
        _unlocked(errors, new.immutable)
        if dict(new.data) != dict(old.data):
            errors.forbidden("data", _LOCKED)


def _times(errors: Errors, times: Mapping[str, str | None]) -> None:
    for path, time in times.items():
        shapes.is_shaped(errors, time or None, shapes.TIME, path)


def lease(errors: Errors, obj: Lease) -> None:
    """Check a Lease."""
    spec = obj.spec
    times = {"spec.acquireTime": spec.acquire_time, "spec.renewTime": spec.renew_time}
    _times(errors, times)
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        detail = "must be greater than 0"
        errors.invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, detail)
    errors.non_negative("spec.leaseTransitions", spec.lease_transitions)


def event(errors: Errors, obj: Event) -> None:
    """Check an Event: it stands in the namespace of the object it is about."""
    times = {
        "firstTimestamp": obj.first_timestamp,
        "lastTimestamp": obj.last_timestamp,
        "eventTime": obj.event_time,
    }
    _times(errors, times)
    involved = obj.involved_object.namespace
    if not involved:
        if obj.metadata.namespace not in ("", "default", "kube-system"):
            detail = "does not match event.namespace"
            errors.invalid("involvedObject.namespace", involved, detail)
    elif involved != obj.metadata.namespace:
        errors.invalid("involvedObject.namespace", involved, "does not match event.namespace")
