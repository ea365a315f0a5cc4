"""Kinds that CustomResourceDefinitions add: routes, schemas, columns, scale; and their end.

Source: k8s.io/apiextensions-apiserver pkg/apiserver/customresource_handler.go, pkg/controller/{establish,finalizer}.
"""

import asyncio
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from netpod import errors
from netpod.api import meta, registry, structs, validate_apiextensions
from netpod.api.apiextensions import CustomResourceDefinition
from netpod.api.core import CustomResource
from netpod.api.meta import Condition, Json, Object
from netpod.api.validate_errors import Errors
from netpod.apiserver import deletion, objects, status, structural
from netpod.apiserver.live import Live
from netpod.apiserver.storage import Storage
from netpod.apiserver.tables_cells import AGE, NAME, Column, Layout, Row, age, since
from netpod.apiserver.writeoptions import DeleteOptions
from netpod.apiserver.writes import Writer

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_STEP = re.compile(
    r"\.([\w/-]+)|\['([^']+)'\]|\[(\d+)\]|\[\?\(@\.([\w.]+)\s*==\s*[\"']([^\"']*)[\"']\)\]"
)


@dataclass(frozen=True, slots=True, eq=False)
class CustomKind:
    """One version of a custom kind: schema, columns, and where its scale is (JSON paths, or "").

    `defaulted`: the schema has defaults, which objects get also when they are read.
    """

    schema: Mapping[str, Json]
    defaulted: bool = False
    columns: tuple[Mapping[str, Json], ...] = ()
    replicas: str = ""
    status_replicas: str = ""
    selector: str = ""

    def admit(self, resource: registry.Resource, data: dict[str, Json]) -> list[str]:
        """Prune, default and check an object in place; return the paths of unknown fields.

        Raises:
            Invalid: it does not fit the schema.
        """
        gone = structural.prune(data, self.schema)
        structural.fill(data, self.schema)
        found = Errors()
        structural.check(found, data, self.schema)
        if found.found:
            metadata = data.get("metadata")
            name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
            raise status.invalid(resource.kind, resource.group, name, found.found)
        return gone

    def dig(self, obj: Json, path: str) -> Json:
        """The value at one of the scale's paths."""
        return dig(obj, path)

    def put(self, obj: dict[str, Json], path: str, value: Json) -> None:
        """Set the value at one of the scale's paths."""
        put(obj, path, value)

    def layout(self) -> Layout:
        """How its objects read in a table."""
        if not self.columns:
            return Layout((NAME, AGE), lambda obj, now: Row((_name(obj), age(obj, now))))
        columns = tuple(
            Column(
                str(c.get("name", "")),
                str(c.get("description", "")),
                str(c.get("type", "string")),
                str(c.get("format", "")),
                int(c.get("priority") or 0),
            )
            for c in self.columns
        )
        return Layout((NAME, *columns), self._row)

    def _row(self, obj: Mapping[str, Json], now: datetime) -> Row:
        cells: list[str | int] = [_name(obj)]
        for column in self.columns:
            value = dig(obj, str(column.get("jsonPath", "")))
            if value is None:
                cells.append("")
            elif column.get("type") == "date":
                cells.append(since(value, now))
            elif column.get("type") == "integer" and isinstance(value, int):
                cells.append(value)
            else:
                cells.append(str(value).lower() if isinstance(value, bool) else str(value))
        return Row(tuple(cells))


def _name(obj: Mapping[str, Json]) -> str:
    return str(obj.get("metadata", {}).get("name", ""))


def dig(obj: Json, path: str) -> Json:
    """The first value at a simple JSON path: names, numbers, and `[?(@.type=="Ready")]`."""
    for name, quoted, number, key, wanted in _STEP.findall(path):
        if name or quoted:
            obj = obj.get(name or quoted) if isinstance(obj, Mapping) else None
        elif number:
            obj = obj[int(number)] if isinstance(obj, list) and int(number) < len(obj) else None
        elif isinstance(obj, list):
            obj = next((each for each in obj if str(dig(each, f".{key}")) == wanted), None)
        else:
            return None
        if obj is None:
            return None
    return obj


def put(obj: dict[str, Json], path: str, value: Json) -> None:
    """Set the value at a path of names."""
    *way, last = path.strip(".").split(".")
    for name in way:
        obj = obj.setdefault(name, {})
    obj[last] = value


class CustomKinds:
    """All custom kinds there are, kept up to date by watching their definitions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._live = Live(storage, CustomResourceDefinition, self._refresh)
        self._made: dict[str, tuple[CustomResourceDefinition, tuple[registry.Resource, ...]]] = {}
        self._found: dict[tuple[str, str, str], registry.Resource] = {}
        self._changed = asyncio.Event()
        self.resources: tuple[registry.Resource, ...] = ()

    async def start(self, tasks: asyncio.TaskGroup, writer: Writer) -> None:
        """Read all definitions, follow them, and end what is being deleted."""
        await self._live.load()
        tasks.create_task(self._live.run())
        tasks.create_task(self._finalize(writer))

    async def refresh(self) -> None:
        """Be as new as the store, for a client that goes on right after its write."""
        await self._live.load()

    def find(self, group: str, version: str, plural: str) -> registry.Resource | None:
        """The resource at a path, built in or custom."""
        return registry.by_plural(group, version, plural) or self._found.get(
            (group, version, plural)
        )

    def _refresh(self) -> None:
        made = {}
        for definition in self._live.objects.values():
            name = definition.metadata.name
            known = self._made.get(name)
            if known is not None and known[0].spec == definition.spec:
                made[name] = (definition, known[1])
            elif _established(definition) and validate_apiextensions.is_shaped(
                Errors(), definition
            ):
                made[name] = (definition, tuple(_resources(definition)))
        self._made = made
        self.resources = tuple(r for _, resources in made.values() for r in resources)
        self._found = {(r.group, r.version, r.plural): r for r in self.resources}
        self._changed.set()

    async def _finalize(self, writer: Writer) -> None:
        """Delete the objects of definitions that are being deleted, then let those go."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for definition, resources in list(self._made.values()):
                if definition.metadata.deletion_timestamp and resources:
                    try:
                        await self._end(writer, definition, resources[0].storage)
                    except errors.ApiError:
                        await asyncio.sleep(0.05)
                        self._changed.set()

    async def _end(
        self, writer: Writer, definition: CustomResourceDefinition, resource: registry.Resource
    ) -> None:
        left = False
        for kv in (await self._storage.list(resource)).items:
            metadata = objects.parsed(kv)["metadata"]
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            _, gone = await deletion.delete_one(writer, resource, namespace, name, DeleteOptions())
            left = left or not gone
        if left:
            await asyncio.sleep(0.2)
            self._changed.set()
            return
        own = registry.of(CustomResourceDefinition)
        kv = await self._storage.get(own, "", definition.metadata.name)
        current = objects.unpack(own, kv)
        kept = tuple(f for f in current.metadata.finalizers if f != CLEANUP)
        if kept == current.metadata.finalizers:
            return
        metadata = structs.replace(current.metadata, finalizers=kept)
        await writer.replace(own, kv, structs.replace(current, metadata=metadata))


def _established(definition: CustomResourceDefinition) -> bool:
    condition = meta.condition(definition.status.conditions, "Established")
    return condition is not None and condition.status == "True"


def _resources(definition: CustomResourceDefinition) -> Sequence[registry.Resource]:
    """One resource per served version, the stored one's form first if it is served."""
    spec = definition.spec
    names = spec.names
    stored: registry.Resource | None = None
    found: list[registry.Resource] = []
    for version in sorted(spec.versions, key=lambda v: not v.get("storage")):
        subresources = version.get("subresources") or {}
        scale = subresources.get("scale") or {}
        resource = registry.Resource(
            group=spec.group,
            version=str(version["name"]),
            kind=str(names["kind"]),
            plural=str(names["plural"]),
            at=CustomResource,
            namespaced=spec.scope == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=tuple(name for name in ("status", "scale") if name in subresources),
            singular_name=str(names.get("singular") or ""),
            list_name=str(names.get("listKind") or ""),
            stored=stored,
            custom=CustomKind(
                schema=version["schema"]["openAPIV3Schema"],
                defaulted=structural.has_defaults(version["schema"]["openAPIV3Schema"]),
                columns=tuple(version.get("additionalPrinterColumns") or ()),
                replicas=str(scale.get("specReplicasPath") or ""),
                status_replicas=str(scale.get("statusReplicasPath") or ""),
                selector=str(scale.get("labelSelectorPath") or ""),
            ),
        )
        stored = stored or resource
        if version.get("served") or resource is stored:
            found.append(resource)
    return found


async def define(store: Storage, obj: Object) -> Object:
    """A definition's defaults, its finalizer and conditions: it is established at once."""
    definition = cast(CustomResourceDefinition, obj)
    spec = definition.spec
    names = copy.copy(dict(spec.names))
    kind = str(names.get("kind") or "")
    names["singular"] = names.get("singular") or kind.lower()
    names["listKind"] = names.get("listKind") or f"{kind}List"
    spec = structs.replace(spec, names=names, conversion=spec.conversion or {"strategy": "None"})
    finalizers = definition.metadata.finalizers
    if CLEANUP not in finalizers and not definition.metadata.deletion_timestamp:
        finalizers = (*finalizers, CLEANUP)
    taken = await _taken(store, definition)
    before = definition.status
    stored = [str(v.get("name")) for v in spec.versions if v.get("storage")]
    state = structs.replace(
        before,
        conditions=_conditions(before.conditions, taken, definition.metadata.creation_timestamp),
        accepted_names={} if taken else names,
        stored_versions=tuple(dict.fromkeys((*before.stored_versions, *stored))),
    )
    metadata = structs.replace(definition.metadata, finalizers=finalizers)
    return structs.replace(definition, metadata=metadata, spec=spec, status=state)


async def _taken(store: Storage, definition: CustomResourceDefinition) -> str:
    """Why the names are not free, "" when they are."""
    own = registry.of(CustomResourceDefinition)
    kind = definition.spec.names.get("kind")
    for kv in (await store.list(own)).items:
        other = objects.parsed(kv)
        if other["metadata"]["name"] == definition.metadata.name:
            continue
        if other["spec"]["group"] == definition.spec.group:
            if other["spec"]["names"].get("kind") == kind:
                return f'"{kind}" is already in use'
    return ""


def _conditions(before: tuple[Condition, ...], taken: str, time: str) -> tuple[Condition, ...]:
    now = meta.timestamp(meta.now()) if before else time
    good = "False" if taken else "True"
    texts = {
        "NamesAccepted": ("KindConflict", taken)
        if taken
        else ("NoConflicts", "no conflicts found"),
        "Established": ("NotAccepted", "not all names are accepted")
        if taken
        else ("InitialNamesAccepted", "the initial names have been accepted"),
    }
    made = []
    for kind, (reason, message) in texts.items():
        old = meta.condition(before, kind)
        since_when = old.last_transition_time if old and old.status == good else now
        made.append(
            Condition(
                type=kind,
                status=good,
                reason=reason,
                message=message,
                last_transition_time=since_when,
            )
        )
    others = tuple(c for c in before if c.type not in texts)
    return (*others, *made)
