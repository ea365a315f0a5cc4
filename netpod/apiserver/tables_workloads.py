"""How Deployments and ReplicaSets read in a table.

Source: pkg/printers/internalversion/printers.go printDeployment, printReplicaSet.
"""

from collections.abc import Mapping
from datetime import datetime

from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
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

_TEMPLATE_COLUMNS = (
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
    wide("Selector", "Label selector of the pods it owns."),
)


def _template_cells(obj: Json) -> tuple[str, str, str]:
    containers = items(obj, "spec.template.spec.containers")
    return (
        ",".join(container.get("name", NONE) for container in containers),
        ",".join(container.get("image", NONE) for container in containers),
        selector_text(dig(obj, "spec.selector")),
    )


def _deployment(obj: Json, now: datetime) -> Row:
    status = dig(obj, "status", {})
    return Row(
        (
            dig(obj, "metadata.name", ""),
            f"{status.get('readyReplicas', 0)}/{dig(obj, 'spec.replicas', 0)}",
            status.get("updatedReplicas", 0),
            status.get("availableReplicas", 0),
            age(obj, now),
            *_template_cells(obj),
        )
    )


def _replica_set(obj: Json, now: datetime) -> Row:
    status = dig(obj, "status", {})
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "spec.replicas", 0),
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            age(obj, now),
            *_template_cells(obj),
        )
    )


def _scale(obj: Json, now: datetime) -> Row:
    spec, status = (dig(obj, part, {}) for part in ("spec", "status"))
    return Row(
        (
            dig(obj, "metadata.name", ""),
            spec.get("replicas", 0),
            status.get("replicas", 0),
            age(obj, now),
        )
    )


LAYOUTS: Mapping[str, Layout] = {
    "Scale": Layout(
        (
            NAME,
            Column("Desired", "Number of pods wanted.", "integer"),
            Column("Available", "Number of pods there are.", "integer"),
            AGE,
        ),
        _scale,
    ),
    "Deployment": Layout(
        (
            NAME,
            Column("Ready", "Number of the pod with ready state"),
            Column("Up-to-date", "Pods of the newest template."),
            Column("Available", "Pods ready for at least minReadySeconds."),
            AGE,
            *_TEMPLATE_COLUMNS,
        ),
        _deployment,
    ),
    "ReplicaSet": Layout(
        (
            NAME,
            Column("Desired", "Number of pods wanted.", "integer"),
            Column("Current", "Number of pods there are.", "integer"),
            Column("Ready", "Number of pods that are ready.", "integer"),
            AGE,
            *_TEMPLATE_COLUMNS,
        ),
        _replica_set,
    ),
}
