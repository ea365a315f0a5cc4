"""/metrics/kube-state: objects as numbers, with the names and labels of kube-state-metrics 2.

How a family is made of an object is here, which families there are is in kubestate_kinds.py. Everything is computed
from parsed objects when somebody asks, and nothing is kept.

Source: kube-state-metrics internal/store/utils.go; Prometheus text format 0.0.4.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpod.api import meta, quantity
from netpod.apiserver.tables_cells import Json, dig, items

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Labels = dict[str, str]
Sample = tuple[Labels, float]
Make = Callable[[Json], Iterable[Sample]]

STATUSES = ("true", "false", "unknown")
_BYTES = ("memory", "storage", "ephemeral-storage")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: `make` gives an object's samples, without the labels that all families of its kind have."""

    name: str
    help: str
    make: Make
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """Families of one resource; `labels` are paths by label, which each sample has."""

    group: str
    plural: str
    labels: Mapping[str, str]
    families: tuple[Family, ...]


def text(found: Iterable[tuple[Kind, Iterable[Json]]]) -> bytes:
    """All families of these kinds of objects in the text format, families without samples too."""
    from prometheus_client import exposition
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Collected([made for kind, objects in found for made in _made(kind, objects)])
    )
    return exposition.generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Collected:
    """Families that are made already, in the form in which the library asks for them."""

    families: "list[Metric]"

    def collect(self) -> "Iterable[Metric]":
        """What the library asks of a collector."""
        return self.families


def _made(kind: Kind, objects: Iterable[Json]) -> "list[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    made = [
        (CounterMetricFamily if family.counter else GaugeMetricFamily)(family.name, family.help)
        for family in kind.families
    ]
    for obj in objects:
        base = labelled(obj, kind.labels)
        for family, metric in zip(kind.families, made, strict=True):
            for labels, value in family.make(obj):
                metric.add_sample(family.name, {**base, **labels}, value)
    return list(made)


def labelled(obj: Json, paths: Mapping[str, str]) -> Labels:
    """Values at dotted paths by label; "" where there is none."""
    return {name: word(dig(obj, path, "")) for name, path in paths.items()}


def word(value: object) -> str:
    """A value as a label has it; booleans as Go writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(name: str, help_: str, path: str, default: float | None = 0) -> Family:
    """A family of the number, or truth, at a path; no sample where it is absent and has no default."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path, default)
        return [] if value is None else [({}, float(value))]

    return Family(name, help_, make)


def moment(name: str, help_: str, path: str) -> Family:
    """A family of the Unix time at a path."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path)
        return [({}, meta.parse_timestamp(value).timestamp())] if value else []

    return Family(name, help_, make)


def info(name: str, help_: str, **paths: str) -> Family:
    """A family of one sample, whose labels tell and whose value is 1."""
    return Family(name, help_, lambda obj: [(labelled(obj, paths), 1.0)])


def each(name: str, help_: str, path: str, **paths: str) -> Family:
    """A family of a sample for each object of a list."""
    return Family(
        name, help_, lambda obj: [(labelled(item, paths), 1.0) for item in items(obj, path)]
    )


def one_of(name: str, help_: str, path: str, label: str, words: tuple[str, ...]) -> Family:
    """A family of a sample for each word a field may have: 1 for the one it has."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path, "")
        return [({label: it}, float(it == value)) for it in words] if value else []

    return Family(name, help_, make)


def conditions(name: str, help_: str, label: str, only: str = "") -> Family:
    """A family of each condition's status, or of one condition's; `label` has the status."""

    def make(obj: Json) -> Iterable[Sample]:
        for found in items(obj, "status.conditions"):
            if only in ("", found.get("type")):
                named = {} if only else {"condition": word(found.get("type", ""))}
                status = word(found.get("status", "")).lower()
                yield from (({**named, label: it}, float(it == status)) for it in STATUSES)

    return Family(name, help_, make)


def owners(name: str, help_: str) -> Family:
    """A family of an object's owners."""

    def make(obj: Json) -> Iterable[Sample]:
        for owner in items(obj, "metadata.ownerReferences") or [{}]:
            yield (
                {
                    "owner_kind": word(owner.get("kind", "")),
                    "owner_name": word(owner.get("name", "")),
                    "owner_is_controller": word(bool(owner.get("controller"))) if owner else "",
                },
                1.0,
            )

    return Family(name, help_, make)


def amounts(found: object) -> Iterable[Sample]:
    """A sample with labels resource and unit for each quantity; resources that have no known unit are left out."""
    for name, text_ in sorted(found.items()) if isinstance(found, Mapping) else ():
        if name == "cpu":
            unit = "core"
        elif name in _BYTES or name.startswith(("hugepages-", "attachable-volumes-")):
            unit = "byte"
        elif name == "pods" or "/" in name:
            unit = "integer"
        else:
            continue
        labels = {"resource": _NOT_IN_LABELS.sub("_", name), "unit": unit}
        yield labels, float(quantity.parse(text_))
