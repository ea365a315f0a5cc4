"""URL grammar -> Route.

    /api/v1/RESOURCE[/NAME[/SUB]]                             cluster-scoped, or a list over all namespaces
    /api/v1/namespaces/NS/RESOURCE[/NAME[/SUB]]               namespaced
    /apis/GROUP/VERSION/...                                   the same for every other group
    .../watch/...                                             the old form of ?watch=true
    .../NAME/proxy/PATH                                       any path, for pods, Services and nodes

    method   collection           object
    GET      list, watch          get (watch, with ?watch=true)
    POST     create               create (subresources)
    PUT                           update
    PATCH                         patch
    DELETE   deletecollection     delete

Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from netpod import errors
from netpod.api import registry

Find = Callable[[str, str, str], registry.Resource | None]
COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
OBJECT = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMESPACE_SUBRESOURCES = ("status", "finalize")
CREATED = ("binding", "eviction", "token")
"""Subresources that are only created."""
CHANGED = ("status", "scale", "finalize", "ephemeralcontainers", "approval")
"""Subresources that are parts of a stored object."""
CONNECTED = frozenset({"exec", "attach", "portforward"})
"""Subresources that upgrade the connection; a GET is as good as a POST."""


class Route(NamedTuple):
    """What a request is about; `namespace`, `name` and `subresource` are "" where there is none."""

    verb: str
    resource: registry.Resource
    namespace: str
    name: str
    subresource: str


KNOWN = 1024
"""Paths that are remembered; all are forgotten when there are more."""
LONGEST_KNOWN = 1024
"""Characters of a path that is remembered; two names of 253 fit."""
_known: dict[tuple[str, str, bool], Route] = {}
ONE_BY_ONE = ("namespaces",)
"""What cannot be deleted as a collection."""
NOT_ALLOWED = "the server does not allow this method on the requested resource"


def unknown_path(path: str) -> errors.NotFound:
    """What upstream says about a path nobody serves: a Status in groups it has, else the web server's words."""
    parts = path.split("/")
    if parts[1] == "api" or (parts[1] == "apis" and len(parts) > 3 and parts[2] in _groups()):
        return errors.NotFound("the server could not find the requested resource")
    return errors.UnknownPath(f"nothing is served at {path}")


@functools.cache
def _groups() -> frozenset[str]:
    return frozenset(resource.group for resource in registry.SERVED)


def is_true(text: str | None) -> bool:
    """A boolean query parameter; present without a value counts."""
    return text is not None and text.lower() not in ("0", "false")


def is_object(path: str) -> bool:
    """Whether a path is too long to be anything but a resource's; False says nothing."""
    return path.startswith("/api") and path.count("/") > 4 and path[-1] != "/"


def parse(
    method: str, path: str, query: Mapping[str, str], find: Find = registry.by_plural
) -> Route:
    """Read a resource path, already percent-decoded.

    Raises:
        NotFound: no resource is served there.
        BadRequest: the name cannot be one element of a path.
        MethodNotAllowed: the resource has no such verb.
    """
    watch = is_true(query.get("watch"))
    known = _known.get((method, path, watch))
    if known is not None:
        return known
    route = _parse(method, path, watch, find)
    if route.resource.custom is None and len(path) <= LONGEST_KNOWN:  # custom kinds come and go
        if len(_known) >= KNOWN:
            _known.clear()
        _known[method, path, watch] = route
    return route


def _parse(method: str, path: str, watch: bool, find: Find) -> Route:
    parts = path.removeprefix("/").removesuffix("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path(path)
    legacy = rest[0] == "watch" and len(rest) > 1
    if legacy:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    if rest[2:3] == ["proxy"]:
        rest = rest[:3]  # what follows is somebody else's path
    resource = find(group, version, rest[0])
    if resource is None or len(rest) > 3 or not all(rest):
        raise unknown_path(path)
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if (namespace and not resource.namespaced) or (
        subresource and subresource not in resource.subresources
    ):
        raise unknown_path(path)
    everywhere = resource.namespaced and not namespace
    if name and (everywhere or resource.verbs == ("create",)):
        raise unknown_path(path)
    if name in (".", "..") or "%" in name:
        fault = "contain '%'" if "%" in name else f"be '{name}'"
        raise errors.BadRequest(f'Name parameter invalid: "{name}": may not {fault}')
    # An object is watched by the list of its name, as fieldSelector; the answer to a HEAD has no body to stream.
    watch = (legacy or (watch and not name)) and method != "HEAD"
    verb = (OBJECT if name else COLLECTION).get("GET" if method == "HEAD" else method)
    if (
        verb is None
        or (everywhere and verb not in ("list", "watch"))
        or (verb == "deletecollection" and resource.plural in ONE_BY_ONE)
        or (name and not subresource and method == "POST")
        or (subresource in CREATED and method != "POST")
        or (subresource == "log" and verb != "get")
        or (subresource in CONNECTED and method not in ("GET", "POST"))
        or (resource.verbs and verb not in resource.verbs)
        or (subresource in CHANGED and method in ("POST", "DELETE"))
    ):
        raise errors.MethodNotAllowed(NOT_ALLOWED)
    if subresource in CONNECTED:
        # A WebSocket begins with a GET, but who may only read must not run programs.
        # Upstream asks for create since 1.35.
        verb = "create"
    elif watch and not subresource and verb in ("get", "list"):
        if resource.verbs and "watch" not in resource.verbs:
            raise errors.MethodNotAllowed(
                f'watch is not supported on resources of kind "{resource.qualified}"',
                details={
                    "kind": resource.plural,
                    **({"group": resource.group} if resource.group else {}),
                },
            )
        verb = "watch"
    return Route(verb, resource, namespace, name, subresource)
