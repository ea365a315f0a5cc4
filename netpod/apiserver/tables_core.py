"""How nodes, namespaces, config maps, secrets, accounts, events and leases read in a table.

Source: pkg/printers/internalversion/printers.go.
"""

from collections.abc import Mapping
from datetime import datetime

from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    items,
    joined,
    since,
    wide,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE = "kubernetes.io/role"


def _name(obj: Json) -> str:
    return str(dig(obj, "metadata.name", ""))


def _namespace(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), dig(obj, "status.phase", ""), age(obj, now)))


def _node(obj: Json, now: datetime) -> Row:
    info = dig(obj, "status.nodeInfo", {})
    return Row(
        (
            _name(obj),
            _node_status(obj),
            _roles(obj),
            age(obj, now),
            info.get("kubeletVersion") or "",
            _address(obj, "InternalIP"),
            _address(obj, "ExternalIP"),
            info.get("osImage") or UNKNOWN,
            info.get("kernelVersion") or UNKNOWN,
            info.get("containerRuntimeVersion") or UNKNOWN,
        )
    )


def _node_status(obj: Json) -> str:
    ready = [c for c in items(obj, "status.conditions") if c.get("type") == "Ready"]
    words = ["Ready" if c.get("status") == "True" else "NotReady" for c in ready] or ["Unknown"]
    if dig(obj, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Json) -> str:
    roles = set()
    for key, value in dig(obj, "metadata.labels", {}).items():
        role = key.removeprefix(_ROLE_PREFIX) if key.startswith(_ROLE_PREFIX) else ""
        if not role and key == _ROLE:
            role = value
        if role:
            roles.add(role)
    return joined(sorted(roles))


def _address(obj: Json, type_: str) -> str:
    found = (a.get("address") for a in items(obj, "status.addresses") if a.get("type") == type_)
    return next(found, None) or NONE


def _config_map(obj: Json, now: datetime) -> Row:
    count = len(dig(obj, "data", {})) + len(dig(obj, "binaryData", {}))
    return Row((_name(obj), count, age(obj, now)))


def _secret(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), dig(obj, "type", ""), len(dig(obj, "data", {})), age(obj, now)))


def _service_account(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), len(items(obj, "secrets")), age(obj, now)))


def _lease(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), dig(obj, "spec.holderIdentity", ""), age(obj, now)))


def _event(obj: Json, now: datetime) -> Row:
    first = since(dig(obj, "firstTimestamp") or dig(obj, "eventTime"), now)
    last = since(dig(obj, "lastTimestamp"), now) if dig(obj, "lastTimestamp") else first
    count = dig(obj, "count", 0)
    if dig(obj, "series"):
        # The first one is not of the series.
        last = since(dig(obj, "series.lastObservedTime"), now)
        count = dig(obj, "series.count", 0) + 1
    kind, name = dig(obj, "involvedObject.kind", "").lower(), dig(obj, "involvedObject.name", "")
    return Row(
        (
            last,
            dig(obj, "type", ""),
            dig(obj, "reason", ""),
            f"{kind}/{name}" if name else kind,
            dig(obj, "involvedObject.fieldPath", ""),
            _source(obj),
            dig(obj, "message", "").strip(),
            first,
            count or 1,
            _name(obj),
        )
    )


def _source(obj: Json) -> str:
    component = dig(obj, "source.component") or dig(obj, "reportingComponent", "")
    host = dig(obj, "source.host") or dig(obj, "reportingInstance", "")
    return f"{component}, {host}" if host else str(component)


def _component(obj: Json, now: datetime) -> Row:
    told = next((c for c in items(obj, "conditions") if c.get("type") == "Healthy"), {})
    word = {"True": "Healthy", "False": "Unhealthy"}.get(str(told.get("status")), "Unknown")
    return Row((_name(obj), word, str(told.get("message", "")), str(told.get("error", ""))))


LAYOUTS: Mapping[str, Layout] = {
    "ComponentStatus": Layout(
        (
            NAME,
            Column("Status", "Status of the component conditions"),
            Column("Message", "Message of the component conditions"),
            Column("Error", "Error of the component conditions"),
        ),
        _component,
    ),
    "Namespace": Layout((NAME, Column("Status", "The status of the namespace"), AGE), _namespace),
    "Node": Layout(
        (
            NAME,
            Column("Status", "The status of the node"),
            Column("Roles", "The roles of the node"),
            AGE,
            Column("Version", "Kubelet Version reported by the node."),
            wide("Internal-IP", "Address inside the cluster."),
            wide("External-IP", "Address outside the cluster."),
            wide("OS-Image", "Operating system reported by the node."),
            wide("Kernel-Version", "Kernel reported by the node."),
            wide("Container-Runtime", "Container runtime reported by the node."),
        ),
        _node,
    ),
    "ConfigMap": Layout(
        (NAME, Column("Data", "Number of keys."), AGE),
        _config_map,
    ),
    "Secret": Layout(
        (
            NAME,
            Column("Type", "Kind of secret."),
            Column("Data", "Number of keys."),
            AGE,
        ),
        _secret,
    ),
    "ServiceAccount": Layout(
        (NAME, Column("Secrets", "Number of secrets."), AGE), _service_account
    ),
    "Lease": Layout((NAME, Column("Holder", "Who holds the lease."), AGE), _lease),
    "Event": Layout(
        (
            Column("Last Seen", "When it happened last."),
            Column("Type", "Normal or Warning."),
            Column("Reason", "Why, in one word."),
            Column("Object", "What it happened to."),
            wide("Subobject", "Part of the object."),
            wide("Source", "Who reported it."),
            Column("Message", "What happened."),
            wide("First Seen", "When it happened first."),
            wide("Count", "How often it happened."),
            Column("Name", NAME.description, format="name", priority=1),
        ),
        _event,
    ),
}
