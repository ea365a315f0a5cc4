"""How the fields of an object can be owned: a view of its published schema for server-side apply.

    MAP      owned key by key           structs, and maps without x-kubernetes-map-type: atomic
    LIST     owned element by element   x-kubernetes-list-type: map; elements are told apart by their keys
    SET      owned value by value       x-kubernetes-list-type: set
    ATOMIC   owned whole                everything else
    UNKNOWN  no schema: objects are MAP all the way down, all else is ATOMIC

The schemas are those of openapi_definitions.py, or a CustomResourceDefinition's: the same words mean the same.

Source: sigs.k8s.io/structured-merge-diff schema/elements.go; k8s.io/kube-openapi pkg/schemaconv.
"""

import functools
from collections.abc import Mapping
from enum import StrEnum

import orjson

from netpod.api import registry
from netpod.api.meta import Json
from netpod.apiserver import openapi_definitions
from netpod.apiserver.openapi_definitions import REF


class Kind(StrEnum):
    """In which pieces a value is owned."""

    MAP = "map"
    LIST = "list"
    SET = "set"
    ATOMIC = "atomic"
    UNKNOWN = "unknown"


class Node:
    """The schema of one value; children are made when asked for, once."""

    __slots__ = (
        "_children",
        "_definitions",
        "_fields",
        "_item",
        "_items",
        "defaults",
        "keys",
        "kind",
    )

    def __init__(self, schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> None:
        reference = schema.get("$ref", "")
        if reference:
            schema = {**definitions[reference.removeprefix(REF)], **schema}
        self._definitions = definitions
        self._fields: Mapping[str, Json] = schema.get("properties") or {}
        self._items: Json = schema.get("items") or schema.get("additionalProperties") or {}
        self._children: dict[str, Node] = {}
        self._item: Node | None = None
        self.keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        self.kind = _kind(schema, self.keys)
        self.defaults: Mapping[str, Json] = {}
        if self.kind is Kind.LIST:
            fields = self.item._fields
            self.defaults = {
                key: fields[key]["default"] for key in self.keys if "default" in fields.get(key, {})
            }

    @property
    def item(self) -> "Node":
        """Schema of a list's elements, or of a map's values."""
        if self._item is None:
            items = self._items if isinstance(self._items, dict) else {}
            self._item = Node(items, self._definitions)
        return self._item

    def field(self, name: str) -> "Node":
        """Schema of a key's value."""
        schema = self._fields.get(name)
        if schema is None:
            return self.item
        if name not in self._children:
            self._children[name] = Node(schema, self._definitions)
        return self._children[name]

    def kind_of(self, value: Json) -> Kind:
        """In which pieces a value is owned; one that does not fit the schema is owned whole."""
        if self.kind in (Kind.MAP, Kind.UNKNOWN):
            return Kind.MAP if isinstance(value, dict) else Kind.ATOMIC
        if self.kind in (Kind.LIST, Kind.SET):
            return self.kind if isinstance(value, list) else Kind.ATOMIC
        return Kind.ATOMIC

    def element(self, value: Json) -> str:
        """How an element of a LIST or SET is called in a path, e.g. `k:{"name":"c"}` or `v:"x"`."""
        if self.kind is Kind.SET:
            return "v:" + orjson.dumps(value).decode()
        fields = value if isinstance(value, dict) else {}
        named = {key: fields.get(key, self.defaults.get(key)) for key in self.keys}
        found = {key: named[key] for key in sorted(named) if named[key] is not None}
        return "k:" + orjson.dumps(found).decode()


def _kind(schema: Mapping[str, Json], keys: tuple[str, ...]) -> Kind:
    type_ = schema.get("type")
    if type_ == "array":
        list_type = schema.get("x-kubernetes-list-type")
        if list_type == "map" and keys:
            return Kind.LIST
        return Kind.SET if list_type == "set" else Kind.ATOMIC
    if type_ == "object" or "properties" in schema:
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return Kind.ATOMIC if atomic else Kind.MAP
    return Kind.ATOMIC if type_ else Kind.UNKNOWN


@functools.lru_cache(maxsize=256)
def of(resource: registry.Resource) -> Node:
    """The schema of a resource's objects."""
    definitions = openapi_definitions.definitions((resource,))
    return Node(definitions[openapi_definitions.name_of(resource)], definitions)
