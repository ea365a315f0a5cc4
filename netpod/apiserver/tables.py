"""metav1.Table: what `kubectl get` prints, computed by the server.

Columns and cells of each kind stand in tables_pod.py, tables_core.py, tables_workloads.py and tables_network.py.

Source: k8s.io/apimachinery pkg/apis/meta/v1/types.go Table; pkg/printers/internalversion/printers.go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from netpod.api.registry import Resource
from netpod.apiserver import (
    tables_batch,
    tables_certificates,
    tables_core,
    tables_gateway,
    tables_metrics,
    tables_network,
    tables_pod,
    tables_policy,
    tables_storage,
    tables_workloads,
)
from netpod.apiserver.tables_cells import AGE, NAME, Layout, Row, age, dig

_DEFAULT = Layout(
    (NAME, AGE),
    lambda obj, now: Row((dig(obj, "metadata.name", ""), age(obj, now))),
)

LAYOUTS: Mapping[str, Layout] = {
    **tables_batch.LAYOUTS,
    **tables_certificates.LAYOUTS,
    **tables_core.LAYOUTS,
    **tables_metrics.LAYOUTS,
    **tables_gateway.LAYOUTS,
    **tables_network.LAYOUTS,
    **tables_pod.LAYOUTS,
    **tables_policy.LAYOUTS,
    **tables_storage.LAYOUTS,
    **tables_workloads.LAYOUTS,
}
"""Layout by kind."""


def table(
    resource: Resource,
    objects: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    resource_version: str = "",
    continue_: str = "",
    remaining: int | None = None,
    include_object: str = "Metadata",
    version: str = "v1",
) -> dict[str, Any]:
    """Return the objects as a metav1.Table.

    Args:
        resource: Decides the columns; a kind without a layout gets name and age.
        objects: Objects as plain JSON values.
        now: What ages are counted from.
        resource_version: Revision of the list, or of the one object.
        continue_: Token of the next page, if any.
        remaining: How many objects follow this page, if known.
        include_object: What each row carries: Metadata (PartialObjectMetadata), Object or None.
        version: Of meta.k8s.io, v1 or v1beta1.
    """
    layout = LAYOUTS.get(resource.kind, _DEFAULT)
    if resource.custom is not None:
        layout = resource.custom.layout()
    metadata: dict[str, Any] = {}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    if continue_:
        metadata["continue"] = continue_
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in layout.columns],
        "rows": [
            _row(resource, layout.row(obj, now), obj, include_object, version) for obj in objects
        ],
    }


def _row(
    resource: Resource, row: Row, obj: Mapping[str, Any], include_object: str, version: str
) -> dict[str, Any]:
    shown: dict[str, Any] = {"cells": list(row.cells)}
    if row.conditions:
        shown["conditions"] = [dict(condition) for condition in row.conditions]
    if include_object == "Object":
        shown["object"] = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
    elif include_object == "None":
        shown["object"] = None
    else:
        shown["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": obj.get("metadata", {}),
        }
    return shown
