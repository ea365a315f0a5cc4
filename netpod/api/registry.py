"""Every resource the API serves: one entry makes a kind known everywhere.

Source: the kinds' entries in upstream's discovery documents.
"""

import functools
from dataclasses import dataclass

from netpod.api.apps import Deployment, ReplicaSet
from netpod.api.coordination import Lease
from netpod.api.core import ConfigMap, Endpoints, Event, Namespace, Secret, ServiceAccount
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Object
from netpod.api.networking import Ingress, IngressClass
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """How a kind is addressed; `group` is "" for the core group."""

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    cls: type[Object]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def singular(self) -> str:
        """Kind in lower case, as kubectl prints it."""
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`pods`, or `deployments.apps`: upstream's GroupResource string."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, an object or a subresource."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        if name:
            path += f"/{name}"
        return f"{path}/{subresource}" if subresource else path


RESOURCES: tuple[Resource, ...] = (
    Resource(kind="Namespace", plural="namespaces", cls=Namespace, namespaced=False, short_names=("ns",), subresources=("status", "finalize")),
    Resource(kind="Node", plural="nodes", cls=Node, namespaced=False, short_names=("no",), subresources=("status",)),
    Resource(kind="Pod", plural="pods", cls=Pod, short_names=("po",), subresources=("status", "binding"), categories=("all",)),
    Resource(kind="Service", plural="services", cls=Service, short_names=("svc",), subresources=("status",), categories=("all",)),
    Resource(kind="Endpoints", plural="endpoints", cls=Endpoints, short_names=("ep",)),
    Resource(kind="ConfigMap", plural="configmaps", cls=ConfigMap, short_names=("cm",)),
    Resource(kind="Secret", plural="secrets", cls=Secret),
    Resource(kind="Event", plural="events", cls=Event, short_names=("ev",)),
    Resource(kind="ServiceAccount", plural="serviceaccounts", cls=ServiceAccount, short_names=("sa",)),
    Resource(group="apps", kind="Deployment", plural="deployments", cls=Deployment, short_names=("deploy",), subresources=("status", "scale"), categories=("all",)),
    Resource(group="apps", kind="ReplicaSet", plural="replicasets", cls=ReplicaSet, short_names=("rs",), subresources=("status", "scale"), categories=("all",)),
    Resource(group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices", cls=EndpointSlice),
    Resource(group="networking.k8s.io", kind="Ingress", plural="ingresses", cls=Ingress, short_names=("ing",), subresources=("status",)),
    Resource(group="networking.k8s.io", kind="IngressClass", plural="ingressclasses", cls=IngressClass, namespaced=False),
    Resource(group="coordination.k8s.io", kind="Lease", plural="leases", cls=Lease),
)  # fmt: skip

_BY_CLASS = {resource.cls: resource for resource in RESOURCES}
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
_BY_PLURAL = {(r.group, r.version, r.plural): r for r in RESOURCES}


def of(cls: type[Object]) -> Resource:
    """Return the resource whose objects are of this class."""
    return _BY_CLASS[cls]


def by_kind(api_version: str, kind: str) -> Resource:
    """Return the resource of an apiVersion and kind.

    Raises:
        NotFound: netpod has no such kind; the message says which it has under that name.
    """
    resource = _BY_KIND.get((api_version, kind))
    if resource is None:
        other = ", ".join(r.api_version for r in RESOURCES if r.kind == kind)
        hint = f"; {kind} is served as {other}" if other else ""
        raise NotFound(f'no matches for kind "{kind}" in version "{api_version}"{hint}')
    return resource


def by_plural(group: str, version: str, plural: str) -> Resource | None:
    """Return the resource at `/apis/GROUP/VERSION/PLURAL`, if netpod serves it."""
    return _BY_PLURAL.get((group, version, plural))


@functools.cache
def _names() -> dict[str, Resource]:
    names: dict[str, Resource] = {}
    for r in RESOURCES:
        for name in (r.plural, r.singular, r.kind, *r.short_names):
            names.setdefault(name, r)
            if r.group:
                names[f"{name}.{r.group}"] = r
                names[f"{name}.{r.version}.{r.group}"] = r
    return names


def lookup(word: str) -> Resource:
    """Return the resource a person means by `po`, `pod`, `pods` or `deployments.apps`.

    Raises:
        NotFound: no resource has such a name.
    """
    resource = _names().get(word) or _names().get(word.lower())
    if resource is None:
        raise NotFound(f'the server doesn\'t have a resource type "{word}"')
    return resource
