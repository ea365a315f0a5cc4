"""What this server can do: /api, /apis (plain and aggregated), resource lists, /version, from registry.SERVED.

Source: k8s.io/apimachinery pkg/apis/meta/v1/types.go APIGroup, APIResource; k8s.io/apiserver pkg/endpoints/discovery.
"""

import base64
import functools
import hashlib
import platform
from pathlib import Path

import orjson

import netpod
from netpod.api import registry
from netpod.api.meta import Json
from netpod.api.registry import SERVED, Resource
from netpod.apiserver import routes

KUBERNETES = ("1", "30", "v1.30.0-netpod")
"""The version of the API whose words we use: major, minor, gitVersion."""

LIST = "APIGroupDiscoveryList"
ORDER = (
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
)
"""Groups in the order in which clients prefer them. Source: cmd/kube-apiserver/app/aggregator.go."""
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
SUBRESOURCES: dict[str, tuple[dict[str, Json], list[str]]] = {
    "status": ({}, ["get", "patch", "update"]),
    "finalize": ({}, ["update"]),
    "history": ({}, ["get"]),
    "binding": ({"kind": "Binding"}, ["create"]),
    "eviction": ({"group": "policy", "version": "v1", "kind": "Eviction"}, ["create"]),
    "token": (
        {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
        ["create"],
    ),
    "scale": (
        {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        ["get", "patch", "update"],
    ),
    "approval": ({}, ["get", "patch", "update"]),
    "ephemeralcontainers": ({}, ["get", "patch", "update"]),
    "log": ({}, ["get"]),
    "exec": ({"kind": "PodExecOptions"}, ["create", "get"]),
    "attach": ({"kind": "PodAttachOptions"}, ["create", "get"]),
    "portforward": ({"kind": "PodPortForwardOptions"}, ["create", "get"]),
    "proxy": ({}, ["create", "delete", "get", "patch", "update"]),
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> dict[str, Json]:
    """GET /version."""
    major, minor, git_version = KUBERNETES
    machine = platform.machine()
    return {
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": _commit(),
        "gitTreeState": "archive",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": "none",
        "platform": f"linux/{_MACHINES.get(machine, machine)}",
    }


@functools.lru_cache(maxsize=1)
def _commit() -> str:
    """What stands for the commit, which an installed package does not know: a hash of its sources."""
    root = Path(netpod.__file__).parent
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _groups(custom: tuple[Resource, ...]) -> list[str]:
    """Names of all groups but the core one, upstream's in upstream's order, then the others by name."""
    found = {r.group for r in (*SERVED, *custom)} - {""}
    return [*(name for name in ORDER if name in found), *sorted(found.difference(ORDER))]


def _group(group: str, custom: tuple[Resource, ...]) -> dict[str, Json]:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for version in dict.fromkeys(r.version for r in (*SERVED, *custom) if r.group == group)
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _storage_hash(stored: Resource) -> str:
    """What changes when objects are stored in another version. Source: discovery.StorageVersionHash."""
    kind = f"{stored.group}/{stored.version}/{stored.kind}".encode()
    return base64.b64encode(hashlib.sha256(kind).digest()[:8]).decode()


def _entries(resource: Resource) -> list[dict[str, Json]]:
    verbs = list(resource.verbs) or VERBS
    if resource.plural in routes.ONE_BY_ONE:
        verbs = [verb for verb in verbs if verb != "deletecollection"]
    main: dict[str, Json] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    }
    if resource.custom is None and not resource.verbs:
        main["storageVersionHash"] = _storage_hash(resource.storage)
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    entries = [main]
    for name in sorted(resource.subresources):
        extra, verbs = SUBRESOURCES[name]
        if name == "proxy":
            extra = {"kind": f"{resource.kind}ProxyOptions"}
        entries.append(
            {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": verbs,
                **extra,
            }
        )
    return entries


@functools.lru_cache(maxsize=512)
def document(path: str, custom: tuple[Resource, ...] = (), server: str = "") -> bytes | None:
    """The discovery document at a path, None where there is none; `server` is where it is reached, HOST:PORT."""
    parts = path.strip("/").split("/")
    groups = _groups(custom)
    data: dict[str, Json] | None = None
    match parts:
        case ["version"]:
            data = version()
        case ["api"]:
            address = {"clientCIDR": "0.0.0.0/0", "serverAddress": server}
            data = {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [address],
            }
        case ["apis"]:
            data = {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(group, custom) for group in groups],
            }
        case ["apis", group] if group in groups:
            data = {"kind": "APIGroup", "apiVersion": "v1", **_group(group, custom)}
        case ["api", wanted]:
            data = _resource_list("", wanted, custom)
        case ["apis", group, wanted]:
            data = _resource_list(group, wanted, custom)
    return None if data is None else orjson.dumps(data)


@functools.lru_cache(maxsize=8)
def aggregated(path: str, version: str, custom: tuple[Resource, ...] = ()) -> tuple[bytes, str]:
    """All groups of /api or /apis with all their resources in one document, and the hash of its content.

    Source: k8s.io/api apidiscovery/v2/types.go.
    """
    served = (*SERVED, *custom)
    groups = [""] if path == "/api" else _groups(custom)
    items = []
    for group in groups:
        versions = []
        for wanted in dict.fromkeys(r.version for r in served if r.group == group):
            found = [r for r in served if (r.group, r.version) == (group, wanted)]
            versions.append(
                {
                    "version": wanted,
                    "resources": [_discovered(resource) for resource in found],
                    "freshness": "Current",
                }
            )
        metadata: dict[str, Json] = {"creationTimestamp": None}
        if group:
            metadata["name"] = group
        items.append({"metadata": metadata, "versions": versions})
    body = orjson.dumps(
        {
            "kind": LIST,
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
    )
    return body, hashlib.sha256(body).hexdigest().upper()


def _discovered(resource: Resource) -> dict[str, Json]:
    main, *others = _entries(resource)

    def kind(entry: dict[str, Json]) -> dict[str, Json]:
        return {
            "group": entry.get("group", resource.group),
            "version": entry.get("version", resource.version),
            "kind": entry["kind"],
        }

    made: dict[str, Json] = {
        "resource": main["name"],
        "responseKind": kind(main),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": main["singularName"],
        "verbs": main["verbs"],
    }
    for name in ("shortNames", "categories"):
        if name in main:
            made[name] = main[name]
    if others:
        made["subresources"] = [
            {
                "subresource": entry["name"].partition("/")[2],
                "responseKind": kind(entry),
                "verbs": entry["verbs"],
            }
            for entry in others
        ]
    return made


def _resource_list(group: str, wanted: str, custom: tuple[Resource, ...]) -> dict[str, Json] | None:
    served: list[registry.Resource] = [
        r for r in (*SERVED, *custom) if r.group == group and r.version == wanted
    ]
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": sorted(
            (entry for resource in served for entry in _entries(resource)),
            key=lambda entry: str(entry["name"]),
        ),
    }
