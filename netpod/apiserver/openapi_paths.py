"""The paths of every resource as Swagger operations: who reads them looks for dryRun, fieldValidation and kinds.

Source: k8s.io/apiserver pkg/endpoints/installer.go.
"""

from collections.abc import Iterator, Mapping

from netpod.api import registry
from netpod.api.meta import Json
from netpod.apiserver import openapi_definitions
from netpod.apiserver.openapi_definitions import REF

Item = dict[str, Json]

PATCHES = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
_QUERIES: Mapping[str, tuple[str, str]] = {
    "dryRun": ("string", "All: do everything but store the result."),
    "fieldManager": ("string", "Name of who makes the change, for server-side apply."),
    "fieldValidation": ("string", "Ignore, Warn (default) or Strict about unknown fields."),
    "force": ("boolean", "Take over fields that other managers own; only for apply patches."),
    "labelSelector": ("string", "Only objects with these labels."),
    "fieldSelector": ("string", "Only objects with these values in these fields."),
    "limit": ("integer", "Most objects in one answer."),
    "continue": ("string", "Token of the answer before, to go on with."),
    "resourceVersion": ("string", "Version to list at least, or to watch from."),
    "resourceVersionMatch": ("string", "Exact or NotOlderThan."),
    "timeoutSeconds": ("integer", "How long a watch lasts."),
    "watch": ("boolean", "Stream changes instead of listing."),
    "allowWatchBookmarks": ("boolean", "Tell the watcher from time to time how far it is."),
    "sendInitialEvents": ("boolean", "Begin a watch with what there is."),
    "gracePeriodSeconds": ("integer", "Seconds the object may take to end itself."),
    "propagationPolicy": ("string", "Background, Foreground or Orphan."),
}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch",
    "timeoutSeconds", "watch", "allowWatchBookmarks", "sendInitialEvents",
)  # fmt: skip
_DELETE = ("dryRun", "gracePeriodSeconds", "propagationPolicy")

_OPERATIONS: Mapping[str, tuple[str, tuple[str, ...], bool]] = {
    "list": ("get", _LIST, False),
    "post": ("post", _WRITE, True),
    "deletecollection": ("delete", (*_LIST[:4], *_DELETE), False),
    "get": ("get", (), False),
    "put": ("put", _WRITE, True),
    "patch": ("patch", (*_WRITE, "force"), True),
    "delete": ("delete", _DELETE, False),
}
"""By action: HTTP method, query parameters, whether it has a body."""

COLLECTION = ("list", "post", "deletecollection")
OBJECT = ("get", "put", "patch", "delete")
SUBRESOURCE = ("get", "put", "patch")


def paths(resource: registry.Resource) -> Iterator[tuple[str, Item]]:
    """The resource's paths and their operations."""
    space = "{namespace}" if resource.namespaced else ""
    if resource.namespaced:
        yield resource.path(), _item(resource, ("list",), ())
    keys = ("namespace",) if resource.namespaced else ()
    yield resource.path(space), _item(resource, COLLECTION, keys)
    yield resource.path(space, "{name}"), _item(resource, OBJECT, ("name", *keys))
    if "status" in resource.subresources:
        yield (
            resource.path(space, "{name}", "status"),
            _item(resource, SUBRESOURCE, ("name", *keys), "Status"),
        )


def _item(
    resource: registry.Resource, actions: tuple[str, ...], keys: tuple[str, ...], suffix: str = ""
) -> Item:
    item: Item = {}
    for action in actions:
        method, queries, body = _OPERATIONS[action]
        item[method] = _operation(resource, action, queries, body, keys, suffix)
    if keys:
        item["parameters"] = [
            {
                "in": "path",
                "name": key,
                "type": "string",
                "required": True,
                "description": f"{key} of the object",
            }
            for key in keys
        ]
    return item


def _operation(
    resource: registry.Resource,
    action: str,
    queries: tuple[str, ...],
    body: bool,
    keys: tuple[str, ...],
    suffix: str,
) -> Item:
    reference = {"$ref": REF + openapi_definitions.name_of(resource)}
    scope = "Namespaced" if "namespace" in keys else ""
    everywhere = "ForAllNamespaces" if resource.namespaced and not keys else ""
    group = "".join(
        part.capitalize() for part in (resource.group.partition(".")[0] or "core", resource.version)
    )
    verb = {"post": "create", "put": "replace", "get": "read"}.get(action, action)
    parameters: list[Item] = [
        {"in": "query", "name": name, "type": _QUERIES[name][0], "description": _QUERIES[name][1]}
        for name in queries
    ]
    if body:
        schema = {"type": "object"} if action == "patch" else reference
        parameters.insert(0, {"in": "body", "name": "body", "required": True, "schema": schema})
    reads = action in ("list", "deletecollection", "delete")
    answer: Item = {"description": "OK"} if reads else {"description": "OK", "schema": reference}
    return {
        "operationId": f"{verb}{group}{scope}{resource.kind}{suffix}{everywhere}",
        "consumes": PATCHES if action == "patch" else ["*/*"],
        "produces": ["application/json"],
        "parameters": parameters,
        "responses": {
            "201" if action == "post" else "200": answer,
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": openapi_definitions.gvk(resource),
    }
