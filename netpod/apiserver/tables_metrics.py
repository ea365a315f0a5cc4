"""Tables of what is measured.

Source: metrics-server pkg/api/table.go.
"""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction

from netpod.api import quantity
from netpod.apiserver.tables_cells import NAME, Column, Json, Layout, Row, dig, items

_CPU = Column("cpu", "CPU use in millicores.")
_MEMORY = Column("memory", "Memory in use.")
_WINDOW = Column("Window", "Time that rates are over.")


def _row(obj: Json, usages: list[Json]) -> Row:
    cpu = sum((quantity.parse(u.get("cpu", "0")) for u in usages), Fraction(0))
    memory = sum((quantity.parse(u.get("memory", "0")) for u in usages), Fraction(0))
    cells = (f"{int(cpu * 1000)}m", f"{int(memory) // 1024}Ki", dig(obj, "window", ""))
    return Row((dig(obj, "metadata.name", ""), *cells))


def _node(obj: Json, now: datetime) -> Row:
    return _row(obj, [dig(obj, "usage", {})])


def _pod(obj: Json, now: datetime) -> Row:
    return _row(obj, [dig(item, "usage", {}) for item in items(obj, "containers")])


def _stats(obj: Json, now: datetime) -> Row:
    return Row((dig(obj, "metadata.name", ""), len(items(obj, "pods")), dig(obj, "timestamp", "")))


LAYOUTS: Mapping[str, Layout] = {
    "NodeMetrics": Layout((NAME, _CPU, _MEMORY, _WINDOW), _node),
    "PodMetrics": Layout((NAME, _CPU, _MEMORY, _WINDOW), _pod),
    "NodeStats": Layout(
        (NAME, Column("Pods", "Pods that run.", "integer"), Column("Sampled", "When.")), _stats
    ),
}
