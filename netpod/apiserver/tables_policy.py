"""How budgets, autoscalers, policies, roles, volumes and limits read in a table.

Source: pkg/printers/internalversion/printers.go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

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
    selector_text,
    wide,
)

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_CREATED = Column("Created At", "When it was made.", "date")


def _name(obj: Json) -> str:
    return str(dig(obj, "metadata.name", ""))


def _budget(obj: Json, now: datetime) -> Row:
    return Row(
        (
            _name(obj),
            str(dig(obj, "spec.minAvailable", "N/A")),
            str(dig(obj, "spec.maxUnavailable", "N/A")),
            dig(obj, "status.disruptionsAllowed", 0),
            age(obj, now),
        )
    )


def _targets(obj: Json) -> str:
    found = []
    current = items(obj, "status.currentMetrics")
    for position, metric in enumerate(items(obj, "spec.metrics")):
        kind = str(metric.get("type", ""))
        field = kind[:1].lower() + kind[1:]
        target = dig(metric, f"{field}.target", {})
        value = dig(current[position], f"{field}.current", {}) if position < len(current) else {}
        name = dig(metric, f"{field}.name", "")
        if "averageUtilization" in target:
            shown = f"{value['averageUtilization']}%" if "averageUtilization" in value else UNKNOWN
            text = f"{shown}/{target['averageUtilization']}%"
        else:
            which = "averageValue" if "averageValue" in target else "value"
            text = f"{value.get(which, UNKNOWN)}/{target.get(which, UNKNOWN)}"
            text += " (avg)" if which == "averageValue" and kind == "External" else ""
        found.append(f"{name}: {text}" if name and kind.endswith("Resource") else text)
    if not found:
        return NONE
    shown_all = ", ".join(found[:2])
    return f"{shown_all} + {len(found) - 2} more..." if len(found) > 2 else shown_all


def _autoscaler(obj: Json, now: datetime) -> Row:
    target = dig(obj, "spec.scaleTargetRef", {})
    return Row(
        (
            _name(obj),
            f"{target.get('kind', '')}/{target.get('name', '')}",
            _targets(obj),
            str(dig(obj, "spec.minReplicas", "<unset>")),
            dig(obj, "spec.maxReplicas", 0),
            dig(obj, "status.currentReplicas", 0),
            age(obj, now),
        )
    )


def _network_policy(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), selector_text(dig(obj, "spec.podSelector")), age(obj, now)))


def _created(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), dig(obj, "metadata.creationTimestamp", UNKNOWN)))


def _binding(obj: Json, now: datetime) -> Row:
    def named(kind: str) -> str:
        found: Iterable[Json] = (s for s in items(obj, "subjects") if s.get("kind") == kind)
        return ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}"
            if kind == "ServiceAccount"
            else str(s.get("name", ""))
            for s in found
        )

    role = f"{dig(obj, 'roleRef.kind', '')}/{dig(obj, 'roleRef.name', '')}"
    cells = named("User"), named("Group"), named("ServiceAccount")
    return Row((_name(obj), role, age(obj, now), *cells))


def _modes(modes: Any) -> str:
    given = [m for m in _MODES if m in modes] if isinstance(modes, list) else []
    return ",".join(_MODES[mode] for mode in given)


def _volume(obj: Json, now: datetime) -> Row:
    claim = dig(obj, "spec.claimRef", {})
    phase = dig(obj, "status.phase", "")
    if dig(obj, "metadata.deletionTimestamp"):
        phase = "Terminating"
    return Row(
        (
            _name(obj),
            str(dig(obj, "spec.capacity.storage", "")),
            _modes(dig(obj, "spec.accessModes")),
            dig(obj, "spec.persistentVolumeReclaimPolicy", ""),
            phase,
            f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
            dig(obj, "spec.storageClassName", ""),
            dig(obj, "spec.volumeAttributesClassName", "<unset>"),
            dig(obj, "status.reason", ""),
            age(obj, now),
            dig(obj, "spec.volumeMode", "<unset>"),
        )
    )


def _claim(obj: Json, now: datetime) -> Row:
    bound = bool(dig(obj, "spec.volumeName"))
    phase = dig(obj, "status.phase", "")
    if dig(obj, "metadata.deletionTimestamp"):
        phase = "Terminating"
    return Row(
        (
            _name(obj),
            phase,
            dig(obj, "spec.volumeName", ""),
            str(dig(obj, "status.capacity.storage", "")) if bound else "",
            _modes(dig(obj, "status.accessModes")) if bound else "",
            dig(obj, "spec.storageClassName", ""),
            dig(obj, "spec.volumeAttributesClassName", "<unset>"),
            age(obj, now),
            dig(obj, "spec.volumeMode", "<unset>"),
        )
    )


def _storage_class(obj: Json, now: datetime) -> Row:
    annotations = dig(obj, "metadata.annotations", {})
    name = _name(obj) + (" (default)" if annotations.get(DEFAULT_CLASS) == "true" else "")
    return Row(
        (
            name,
            dig(obj, "provisioner", ""),
            dig(obj, "reclaimPolicy", "Delete"),
            dig(obj, "volumeBindingMode", UNKNOWN),
            bool(dig(obj, "allowVolumeExpansion", False)),
            age(obj, now),
        )
    )


def _quota(obj: Json, now: datetime) -> Row:
    hard, used = dig(obj, "status.hard", {}), dig(obj, "status.used", {})
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {used.get(name, 0)}/{hard[name]}"
        (limits if name.startswith("limits") else requests).append(text)
    return Row((_name(obj), age(obj, now), ", ".join(requests), ", ".join(limits)))


def _priority_class(obj: Json, now: datetime) -> Row:
    default = bool(dig(obj, "globalDefault", False))
    return Row((_name(obj), dig(obj, "value", 0), default, age(obj, now)))


_BINDING = Layout(
    (
        NAME,
        Column("Role", "The role that is given."),
        AGE,
        wide("Users", "Users it is given to."),
        wide("Groups", "Groups it is given to."),
        wide("ServiceAccounts", "ServiceAccounts it is given to."),
    ),
    _binding,
)
_ROLE = Layout((NAME, _CREATED), _created)
_VOLUME_MODE = wide("VolumeMode", "Filesystem or Block.")
_ATTRIBUTES = Column("VolumeAttributesClass", "Class of changeable attributes.")

LAYOUTS: Mapping[str, Layout] = {
    "PodDisruptionBudget": Layout(
        (
            NAME,
            Column("Min Available", "Pods that must stay."),
            Column("Max Unavailable", "Pods that may be missing."),
            Column("Allowed Disruptions", "Pods that may go now.", "integer"),
            AGE,
        ),
        _budget,
    ),
    "HorizontalPodAutoscaler": Layout(
        (
            NAME,
            Column("Reference", "What is scaled."),
            Column("Targets", "Measured values and targets."),
            Column("MinPods", "Fewest pods."),
            Column("MaxPods", "Most pods."),
            Column("Replicas", "Pods there are."),
            AGE,
        ),
        _autoscaler,
    ),
    "NetworkPolicy": Layout(
        (NAME, Column("Pod-Selector", "Pods it is about."), AGE), _network_policy
    ),
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "CustomResourceDefinition": _ROLE,
    "LimitRange": _ROLE,
    "PersistentVolume": Layout(
        (
            NAME,
            Column("Capacity", "Its size."),
            Column("Access Modes", "How it may be mounted."),
            Column("Reclaim Policy", "What happens when it is released."),
            Column("Status", "Its phase."),
            Column("Claim", "Who has it."),
            Column("StorageClass", "Its class."),
            _ATTRIBUTES,
            Column("Reason", "Why it is in this state."),
            AGE,
            _VOLUME_MODE,
        ),
        _volume,
    ),
    "PersistentVolumeClaim": Layout(
        (
            NAME,
            Column("Status", "Its phase."),
            Column("Volume", "What it got."),
            Column("Capacity", "Size of what it got."),
            Column("Access Modes", "How it may be mounted."),
            Column("StorageClass", "Its class."),
            _ATTRIBUTES,
            AGE,
            _VOLUME_MODE,
        ),
        _claim,
    ),
    "StorageClass": Layout(
        (
            NAME,
            Column("Provisioner", "Who makes the volumes."),
            Column("ReclaimPolicy", "What happens when one is released."),
            Column("VolumeBindingMode", "When one is made."),
            Column("AllowVolumeExpansion", "Whether it may grow."),
            AGE,
        ),
        _storage_class,
    ),
    "ResourceQuota": Layout(
        (
            NAME,
            AGE,
            Column("Request", "Requests used, of those allowed."),
            Column("Limit", "Limits used, of those allowed."),
        ),
        _quota,
    ),
    "PriorityClass": Layout(
        (
            NAME,
            Column("Value", "The priority.", "integer"),
            Column("Global-Default", "Whether pods without a class have it.", "boolean"),
            AGE,
        ),
        _priority_class,
    ),
}
