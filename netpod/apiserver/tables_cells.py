"""What all tables share: columns, rows, ages, and how lists are shortened.

Source: k8s.io/apimachinery pkg/util/duration/duration.go; pkg/printers/internalversion/printers.go.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from netpod.api import meta

Json = Mapping[str, Any]
Cell = str | int | bool

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `priority` 1 shows only with `-o wide`."""

    name: str
    description: str = ""
    type: str = "string"
    format: str = ""
    priority: int = 0

    def definition(self) -> dict[str, Any]:
        """Return it as a TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one object, and conditions such as Completed that clients may filter by."""

    cells: tuple[Cell, ...]
    conditions: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a kind, and how an object becomes a row at a moment."""

    columns: tuple[Column, ...]
    row: Callable[[Json, datetime], Row]


NAME = Column("Name", "Name must be unique within a namespace.", format="name")
AGE = Column("Age", "Time since the object was created on the server, in UTC.")


def wide(name: str, description: str = "", type_: str = "string") -> Column:
    """Declare a column that shows only with `-o wide`."""
    return Column(name, description, type_, priority=1)


_OBJECTS = (dict, Mapping)


def dig(obj: Any, path: str, default: Any = None) -> Any:
    """Return the value at a dotted path, or `default` when it or a part of the way is absent."""
    for name in path.split("."):
        if obj is None:
            return default
        # A dict is told at once, any other Mapping only by asking its class.
        obj = obj.get(name) if isinstance(obj, _OBJECTS) else None
    return default if obj is None else obj


def items(obj: Any, path: str) -> list[Json]:
    """Return the list of objects at a dotted path; empty when absent."""
    found = dig(obj, path)
    return [item for item in found if isinstance(item, _OBJECTS)] if isinstance(found, list) else []


def human_duration(elapsed: timedelta) -> str:
    """Write a duration as kubectl does, with two to three digits: `5m3s`, `2d3h`, `117d`.

    A clock that is up to two seconds ahead reads as 0s, a later moment as `<invalid>`.
    """
    seconds = int(elapsed.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(moment: Any, now: datetime) -> str:
    """Return the time since a timestamp string; `<unknown>` when it is absent or unreadable."""
    if not isinstance(moment, str) or not moment:
        return UNKNOWN
    try:
        return human_duration(now - meta.parse_timestamp(moment))
    except (ValueError, TypeError):
        return UNKNOWN


def age(obj: Json, now: datetime) -> str:
    """Return the object's age."""
    return since(dig(obj, "metadata.creationTimestamp"), now)


def first_three(values: Sequence[str], empty: str) -> str:
    """Join up to three values with commas and say how many more there are."""
    if not values:
        return empty
    shown = ",".join(values[:3])
    return f"{shown} + {len(values) - 3} more..." if len(values) > 3 else shown or empty


def labels_text(labels: Mapping[str, Any] | None) -> str:
    """Return `a=1,b=2`, sorted; `<none>` without any."""
    if not labels:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def selector_text(selector: Json | None) -> str:
    """Return a LabelSelector as selector text, by key: `a=1,b in (x,y),!c`; `<none>` without requirements."""
    if not selector:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in dig(selector, "matchLabels", {}).items()]
    for expression in items(selector, "matchExpressions"):
        key, operator = expression.get("key", ""), expression.get("operator", "")
        values = ",".join(sorted(expression.get("values") or ()))
        if operator in ("In", "NotIn"):
            parts.append((key, f"{key} {operator.lower()} ({values})"))
        else:
            parts.append((key, f"!{key}" if operator == "DoesNotExist" else key))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0])) or NONE


def joined(values: Iterable[str], empty: str = NONE) -> str:
    """Join values with commas; `empty` without any."""
    return ",".join(values) or empty
