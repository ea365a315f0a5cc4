"""metadata.managedFields: which manager set which fields, and by what kind of write.

Applied sets are exact, because a field is removed when the last manager that applied it stops saying so. Other writes
are recorded as Update when they name a fieldManager, or when the object has managers already, so that their changes
conflict with later applies. netpod's own components name none and their writes to a status are not recorded: this
keeps a pod's life at the cost of its content.

Source: k8s.io/apimachinery pkg/util/managedfields (internal/managedfields.go, stripmeta.go, fieldmanager.go).
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from netpod.api import codec, defaults, meta, registry, structs
from netpod.api.meta import Json, Object, Struct
from netpod.apiserver import field_schema, field_sets, objects
from netpod.apiserver.calls import Call
from netpod.apiserver.field_sets import FieldSet
from netpod.store.store import KeyValue

T = TypeVar("T", bound=Object)

APPLY, UPDATE = "Apply", "Update"
_IDENTITY = ("manager", "operation", "apiVersion", "subresource")
_STRIPPED = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in "name namespace creationTimestamp selfLink uid clusterName generation"
        " managedFields resourceVersion deletionTimestamp deletionGracePeriodSeconds".split()
    ]
)
"""Fields nobody owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Who wrote, how, and through which subresource; for appliers the version does not tell apart."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two writes those of one manager."""
        version = "" if self.operation == APPLY else self.api_version
        return (self.name, self.operation, version, self.subresource)

    def __str__(self) -> str:
        words = f'"{self.name}"'
        if self.subresource:
            words += f' with subresource "{self.subresource}"'
        return f"{words} using {self.api_version}" if self.operation == UPDATE else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A manager's fields and when it last changed them."""

    manager: Manager
    fields: FieldSet
    time: str = ""


class Managers:
    """The managers of one object; methods return a new value."""

    def __init__(self, entries: Mapping[tuple[str, str, str, str], Entry]) -> None:
        self._entries = dict(entries)

    @classmethod
    def read(cls, managed_fields: tuple[Json, ...]) -> "Managers":
        """From metadata.managedFields; entries that are none are dropped."""
        found = [_entry(data) for data in managed_fields if isinstance(data, dict)]
        return cls({e.manager.identity: e for e in found if e is not None and e.fields})

    def others(self, manager: Manager) -> Iterator[Entry]:
        """Entries of everybody else."""
        for identity, entry in self._entries.items():
            if identity != manager.identity:
                yield entry

    def fields_of(self, manager: Manager) -> FieldSet:
        """What a manager owns."""
        entry = self._entries.get(manager.identity)
        return entry.fields if entry else field_sets.EMPTY

    def holding(self, manager: Manager, fields_: FieldSet, time: str) -> "Managers":
        """With the manager owning exactly these fields."""
        entries = {k: e for k, e in self._entries.items() if k != manager.identity}
        if fields_:
            entries[manager.identity] = Entry(manager=manager, fields=fields_, time=time)
        return Managers(entries)

    def losing(self, fields_: FieldSet, keeper: Manager | None = None) -> "Managers":
        """With everybody but the keeper owning none of these fields."""
        entries = {}
        for identity, entry in self._entries.items():
            left = entry.fields
            if keeper is None or identity != keeper.identity:
                left = left - fields_
            if left:
                entries[identity] = dataclasses.replace(entry, fields=left)
        return Managers(entries)

    def write(self) -> tuple[Json, ...]:
        """As metadata.managedFields: appliers first, then by time and name."""
        entries = sorted(
            self._entries.values(), key=lambda e: (e.manager.operation, e.time, e.manager.name)
        )
        return tuple(_written(entry) for entry in entries)


def _entry(data: Mapping[str, Json]) -> Entry | None:
    if data.get("operation") not in (APPLY, UPDATE):
        return None
    name, version, subresource, time = (
        str(data.get(key) or "") for key in ("manager", "apiVersion", "subresource", "time")
    )
    manager = Manager(
        name=name, operation=data["operation"], api_version=version, subresource=subresource
    )
    return Entry(manager=manager, fields=field_sets.read(data.get("fieldsV1")), time=time)


def _written(entry: Entry) -> dict[str, Json]:
    manager = entry.manager
    data: dict[str, Json] = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        **({"time": entry.time} if entry.time else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": field_sets.write(entry.fields),
    }
    if manager.subresource:
        data["subresource"] = manager.subresource
    return data


def owned(fields_: FieldSet) -> FieldSet:
    """The set without fields nobody owns."""
    return fields_ - _STRIPPED


def created(call: Call, obj: T) -> T:
    """A new object with its creator recorded, if it names a fieldManager; what the client says is ignored."""
    name = call.query.get("fieldManager", "")
    if not name:
        return _managed(obj, ())
    resource = call.route.resource.storage
    data = _relevant(resource, codec.encode(defaults.apply_defaults(obj)), "")
    found = field_sets.compare(zero(resource), data, field_schema.of(resource))
    manager = Manager(name=name, operation=UPDATE, api_version=resource.api_version)
    time = meta.timestamp(meta.now())
    return _managed(obj, Managers({}).holding(manager, owned(found.changed), time).write())


def updated(call: Call, kv: KeyValue, new: T, subresource: str) -> T:
    """A newer version of an object with its writer recorded; see the module for who is."""
    name = call.query.get("fieldManager", "")
    given = new.metadata.managed_fields
    if not name and not given and b'"managedFields"' not in kv.value:
        return new
    resource = call.route.resource.storage
    live = objects.plain(kv)
    base = tuple(live["metadata"].get("managedFields") or ())
    if given and given != base:
        # Whoever writes managedFields means it; one empty entry clears them.
        base = tuple(entry for entry in given if entry)
    if not name and (subresource == "status" or not base):
        return _managed(new, base)
    manager = Manager(
        name=name or call.user_agent.partition("/")[0] or "unknown",
        operation=UPDATE,
        api_version=resource.api_version,
        subresource=subresource,
    )
    after = codec.encode(new if subresource == "status" else defaults.apply_defaults(new))
    node = field_schema.of(resource)
    found = field_sets.compare(
        _relevant(resource, live, subresource), _relevant(resource, after, subresource), node
    )
    changed, removed = owned(found.changed), owned(found.removed)
    if not changed and not removed:
        return _managed(new, base)
    managers = Managers.read(base).losing(changed | removed, keeper=manager)
    mine = (managers.fields_of(manager) | changed) - removed
    time = meta.timestamp(meta.now())
    return _managed(new, managers.holding(manager, mine, time).write())


def unless_changed(new: T, old: T) -> T:
    """The newer object with the older one's managers, where only the times of these differ: nothing was changed.

    Source: k8s.io/apiserver pkg/endpoints/handlers/fieldmanager/equality.go IgnoreManagedFieldsTimestampsTransformer.
    """
    before, after = old.metadata.managed_fields, new.metadata.managed_fields
    if before == after or _timeless(before) != _timeless(after):
        return new
    same = _managed(new, before)
    return same if same == old else new


def _timeless(entries: tuple[Json, ...]) -> list[Json]:
    kept = (entry for entry in entries if isinstance(entry, dict))
    found = [{k: v for k, v in entry.items() if k != "time"} for entry in kept]
    return sorted(found, key=lambda it: [str(it.get(k, "")) for k in _IDENTITY])


def _managed(obj: T, managed_fields: tuple[Json, ...]) -> T:
    if obj.metadata.managed_fields == managed_fields:
        return obj
    metadata = structs.replace(obj.metadata, managed_fields=managed_fields)
    return structs.replace(obj, metadata=metadata)


def _relevant(
    resource: registry.Resource, data: Mapping[str, Json], subresource: str
) -> dict[str, Json]:
    """The part of an object that a write can change."""
    if subresource == "status":
        return {"status": data.get("status") or {}}
    return {k: v for k, v in data.items() if k != "status" or "status" not in resource.subresources}


@functools.lru_cache(maxsize=256)
def zero(resource: registry.Resource) -> dict[str, Json]:
    """What an object without content looks like: the structs that are always there, all empty."""
    made = _zero(resource.cls)
    made.pop("status", None)
    return made


def _zero(cls: type[Struct]) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for item in fields(cls):
        factory = item.default_factory
        name = item.metadata.get("json") or codec.json_name(item.name)
        if isinstance(factory, type) and issubclass(factory, Struct):
            made[name] = _zero(factory)
        elif item.default == () and item.metadata.get("always"):
            made[name] = []
    return made
