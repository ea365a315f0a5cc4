"""/metrics/kube-state: objects as numbers, with the names and labels of kube-state-metrics 2.

How a family is made of an object is here, which families there are is in kubestate_kinds.py, and what is kept between
two questions in kubestate_cache.py.

Source: kube-state-metrics internal/store/utils.go; Prometheus text format 0.0.4.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from netpod.api import meta, quantity
from netpod.apiserver.tables_cells import Json, dig, items

Labels = dict[str, str]
Sample = tuple[Labels, float]
Make = Callable[[Json], Iterable[Sample]]

STATUSES = ("true", "false", "unknown")
_BYTES = ("memory", "storage", "ephemeral-storage")
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
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
    version: str = "v1"


def header(family: Family) -> bytes:
    """The lines that come before a family's samples."""
    word = "counter" if family.counter else "gauge"
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {word}\n".encode()


def lines(kind: Kind, obj: Json) -> tuple[bytes, ...]:
    """An object's samples as lines, family by family."""
    base = ",".join(_pairs(labelled(obj, kind.labels)))
    return tuple(
        "".join(
            f"{family.name}{{{','.join((base, *_pairs(labels)))}}} {_number(value)}\n"
            for labels, value in family.make(obj)
        ).encode()
        for family in kind.families
    )


def _pairs(labels: Labels) -> list[str]:
    return [f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items()]


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def labelled(obj: Json, paths: Mapping[str, str]) -> Labels:
    """Values at dotted paths by label; "" where there is none."""
    return {name: word(dig(obj, path, "")) for name, path in paths.items()}


def word(value: object) -> str:
    """A value as a label has it; booleans as Go writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(name: str, help_: str, path: str, default: float | None = 0) -> Family:
    """A family of the number, truth or length at a path; no sample where it is absent and has no default."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path, default)
        if isinstance(value, list):
            value = len(value)
        return [] if value is None else [({}, float(value))]

    return Family(name, help_, make)


def numbers(prefix: str, *rows: tuple[str, str, str]) -> tuple[Family, ...]:
    """Families of a number each: the name behind the prefix, its path, what it says."""
    return tuple(number(f"{prefix}_{name}", help_, path) for name, path, help_ in rows)


def size(name: str, help_: str, path: str) -> Family:
    """A family of the quantity at a path, in whole bytes or pieces."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path)
        return [] if value is None else [({}, float(quantity.parse(word(value))))]

    return Family(name, help_, make)


def ordinary(
    group: str, plural: str, name: str, *families: Family, label: str = "", **more: str
) -> Kind:
    """A kind with the labels namespace and its own name, and when an object was made and is to go.

    Args:
        group: Of the resource.
        plural: Of the resource.
        name: What the families' names begin with, behind `kube_`.
        families: All others.
        label: The label of an object's name, where that is not `name`.
        more: Further labels' paths; `namespace=""` for a kind without.
    """
    places = {"namespace": "metadata.namespace", label or name: "metadata.name", **more}
    return Kind(
        group,
        plural,
        {label: path for label, path in places.items() if path},
        (
            moment(f"kube_{name}_created", "Unix creation timestamp.", "metadata.creationTimestamp"),
            moment(f"kube_{name}_deletion_timestamp", "Unix deletion timestamp.", "metadata.deletionTimestamp"),
            *families,
        ),
    )  # fmt: skip


def moment(name: str, help_: str, path: str) -> Family:
    """A family of the Unix time at a path."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, path)
        return [({}, meta.parse_timestamp(value).timestamp())] if value else []

    return Family(name, help_, make)


def info(name: str, help_: str, /, **paths: str) -> Family:
    """A family of one sample, whose labels tell and whose value is 1."""
    return Family(name, help_, lambda obj: [(labelled(obj, paths), 1.0)])


def each(name: str, help_: str, path: str, /, **paths: str) -> Family:
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
