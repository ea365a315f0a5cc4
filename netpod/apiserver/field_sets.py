"""Sets of fields: who owns what, and what a change touches. Values are plain JSON, schemas field_schema.Node.

A path is a tuple of metav1.FieldsV1's own names: `f:NAME` a key, `k:{...}` an element by its keys, `v:VALUE` an
element by its value. A set is a set of paths; `.` in FieldsV1 is the path that ends there.

Source: k8s.io/apimachinery pkg/apis/meta/v1/types.go FieldsV1; sigs.k8s.io/structured-merge-diff fieldpath, typed.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from netpod.api.meta import Json
from netpod.apiserver.field_schema import Kind, Node

Path = tuple[str, ...]
FieldSet = frozenset[Path]

EMPTY: FieldSet = frozenset()
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two values: paths set or added, and paths that went."""

    changed: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def of_value(value: Json, node: Node) -> FieldSet:
    """Every field an applied value speaks of."""
    return frozenset(_fields(value, node, ()))


def _fields(value: Json, node: Node, path: Path) -> Iterator[Path]:
    kind = node.kind_of(value)
    if kind is Kind.MAP:
        if not value and path:
            yield path
        for name, inner in value.items():
            yield from _fields(inner, node.field(name), (*path, f"f:{name}"))
    elif kind is Kind.LIST:
        for inner in value:
            below = (*path, node.element(inner))
            yield below
            yield from _fields(inner, node.item, below)
    elif kind is Kind.SET:
        for inner in value:
            yield (*path, node.element(inner))
    else:
        yield path


def compare(old: Json, new: Json, node: Node) -> Changes:
    """What a writer touched who made `new` of `old`."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _compare(old, new, node, (), changed, removed)
    return Changes(frozenset(changed), frozenset(removed))


def _compare(
    old: Json, new: Json, node: Node, path: Path, changed: set[Path], removed: set[Path]
) -> None:
    if old is new or (old is not _ABSENT and new is not _ABSENT and old == new):
        return
    kinds = {node.kind_of(value) for value in (old, new) if value is not _ABSENT}
    kind = kinds.pop() if len(kinds) == 1 else Kind.ATOMIC
    if old is _ABSENT:
        changed.add(path)
    elif new is _ABSENT:
        removed.add(path)
    if kind is Kind.ATOMIC:
        if old is not _ABSENT and new is not _ABSENT:
            changed.add(path)
        return
    before, after = (_pieces(value, node, kind) for value in (old, new))
    for name in {**before, **after}:
        there, here = before.get(name, _ABSENT), after.get(name, _ABSENT)
        below = node.field(name[2:]) if kind is Kind.MAP else node.item
        _compare(there, here, below, (*path, name), changed, removed)


def _pieces(value: Json, node: Node, kind: Kind) -> dict[str, Json]:
    if value is _ABSENT:
        return {}
    if kind is Kind.MAP:
        return {f"f:{name}": inner for name, inner in value.items()}
    return {node.element(inner): inner for inner in value}


def merge(live: Json, applied: Json, node: Node) -> Json:
    """The live value with everything the applied one says; nothing is taken away. Neither is changed."""
    kind = node.kind_of(applied)
    if kind is not node.kind_of(live) or kind is Kind.ATOMIC:
        return copy.deepcopy(applied)
    if kind is Kind.MAP:
        made = dict(live)
        for name, value in applied.items():
            made[name] = (
                merge(live[name], value, node.field(name))
                if live.get(name) is not None
                else copy.deepcopy(value)
            )
        return made
    before, after = _pieces(live, node, kind), _pieces(applied, node, kind)
    merged = {
        name: merge(before[name], value, node.item) if name in before else copy.deepcopy(value)
        for name, value in after.items()
    }
    return _in_order(before, merged)


def _in_order(before: dict[str, Json], merged: dict[str, Json]) -> list[Json]:
    """Applied elements in their own order; the others as early as the order they had allows."""
    result: list[Json] = []
    waiting = list(before)
    done: set[str] = set()
    for name, value in merged.items():
        while waiting and (waiting[0] not in merged or waiting[0] in done):
            other = waiting.pop(0)
            if other not in merged:
                result.append(before[other])
        result.append(value)
        done.add(name)
    return result + [before[other] for other in waiting if other not in merged]


def without(value: Json, paths: FieldSet, node: Node, path: Path = ()) -> Json:
    """The value without these fields and elements, nor maps that lose all they had; it is not changed."""
    kind = node.kind_of(value)
    if kind is Kind.ATOMIC:
        return value
    pieces = _pieces(value, node, kind)
    kept = {
        name: without(
            inner, paths, node.field(name[2:]) if kind is Kind.MAP else node.item, (*path, name)
        )
        for name, inner in pieces.items()
        if (*path, name) not in paths
    }
    if kind is Kind.MAP:
        return {
            name[2:]: inner for name, inner in kept.items() if inner != {} or pieces[name] == {}
        }
    return list(kept.values())


def read(fields: Json) -> FieldSet:
    """A set from its FieldsV1 form; what is no such form is an empty set."""
    return frozenset(_read(fields, ())) if isinstance(fields, dict) else EMPTY


def _read(fields: dict[str, Json], path: Path) -> Iterator[Path]:
    if not fields and path:
        yield path
    for name, below in fields.items():
        if name == ".":
            yield path
        elif isinstance(below, dict):
            yield from _read(below, (*path, name))


def write(fields: Iterable[Path]) -> dict[str, Json]:
    """A set in its FieldsV1 form."""
    root: dict[str, Json] = {}
    ends: list[dict[str, Json]] = []
    for path in sorted(fields):
        here = root
        for name in path:
            here = here.setdefault(name, {})
        ends.append(here)
    for end in ends:
        if end:
            end["."] = {}
    return _sorted(root)


def _sorted(fields: dict[str, Json]) -> dict[str, Json]:
    return {name: _sorted(fields[name]) for name in sorted(fields)}


def text(path: Path) -> str:
    """A path as people read it: `.spec.containers[name="c"].image`."""
    parts = []
    for name in path:
        tag, _, rest = name.partition(":")
        if tag == "f":
            parts.append(f".{rest}")
        elif tag == "k":
            keys = ",".join(
                f"{k}={orjson.dumps(v).decode()}" for k, v in orjson.loads(rest).items()
            )
            parts.append(f"[{keys}]")
        else:
            parts.append(f"[={rest}]")
    return "".join(parts)
