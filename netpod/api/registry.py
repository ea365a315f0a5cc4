"""Every resource the API serves: one entry makes a kind known everywhere.

Most processes touch a few kinds, and making a class costs half a millisecond, so the less usual ones are named by
module and class and imported when somebody asks for them.

Source: the kinds' entries in upstream's discovery documents.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import Any, cast

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource:
    """How a kind is addressed; `group` is "" for the core group.

    Attributes:
        at: Class of its objects, or where it is: `module:Class` below netpod.api.
        stored: The resource whose stored objects this one shows in another version, or None.
        verbs: What can be done with it; empty for everything that can be done with stored objects.
        custom: apiserver.customkinds.CustomKind of a kind that a CustomResourceDefinition made, or None.
        singular_name: Where the singular is not the kind in lower case.
        list_name: Where the list's kind is not the kind with List behind.
        warning: What everybody is told who uses it, e.g. what it is replaced by.
    """

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    at: type[Object] | str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stored: "Resource | None" = None
    verbs: tuple[str, ...] = ()
    custom: Any = None
    singular_name: str = ""
    list_name: str = ""
    warning: str = ""

    @property
    def cls(self) -> type[Object]:
        """Class of its objects; of a view, of what is stored."""
        return self.at if isinstance(self.at, type) else _load(self.at)

    @property
    def storage(self) -> "Resource":
        """The resource in whose form objects are stored: itself, unless it is a view."""
        return self.stored or self

    @property
    def singular(self) -> str:
        """Kind in lower case, as kubectl prints it."""
        return self.singular_name or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """Kind of a list of its objects."""
        return self.list_name or f"{self.kind}List"

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


@functools.cache
def _load(at: str) -> type[Object]:
    module, _, name = at.partition(":")
    return cast(type[Object], getattr(importlib.import_module(f"netpod.api.{module}"), name))


RESOURCES: tuple[Resource, ...] = (
    Resource(kind="Namespace", plural="namespaces", at=Namespace, namespaced=False, short_names=("ns",), subresources=("status", "finalize")),
    Resource(kind="Node", plural="nodes", at=Node, namespaced=False, short_names=("no",), subresources=("status", "proxy")),
    Resource(kind="Pod", plural="pods", at=Pod, short_names=("po",), subresources=("status", "binding", "eviction", "ephemeralcontainers", "log", "exec", "attach", "portforward", "proxy"), categories=("all",)),
    Resource(kind="Service", plural="services", at=Service, short_names=("svc",), subresources=("status", "proxy"), categories=("all",)),
    Resource(kind="Endpoints", plural="endpoints", at=Endpoints, short_names=("ep",)),
    Resource(kind="ConfigMap", plural="configmaps", at=ConfigMap, short_names=("cm",)),
    Resource(kind="Secret", plural="secrets", at=Secret),
    Resource(kind="Event", plural="events", at=Event, short_names=("ev",)),
    Resource(kind="ServiceAccount", plural="serviceaccounts", at=ServiceAccount, short_names=("sa",), subresources=("token",)),
    Resource(group="apps", kind="Deployment", plural="deployments", at=Deployment, short_names=("deploy",), subresources=("status", "scale"), categories=("all",)),
    Resource(group="apps", kind="ReplicaSet", plural="replicasets", at=ReplicaSet, short_names=("rs",), subresources=("status", "scale"), categories=("all",)),
    Resource(group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices", at=EndpointSlice),
    Resource(group="networking.k8s.io", kind="Ingress", plural="ingresses", at=Ingress, short_names=("ing",), subresources=("status",)),
    Resource(group="networking.k8s.io", kind="IngressClass", plural="ingressclasses", at=IngressClass, namespaced=False),
    Resource(group="coordination.k8s.io", kind="Lease", plural="leases", at=Lease),
    Resource(kind="ReplicationController", plural="replicationcontrollers", at="workloads:ReplicationController", short_names=("rc",), subresources=("status", "scale"), categories=("all",)),
    Resource(kind="PodTemplate", plural="podtemplates", at="workloads:PodTemplate"),
    Resource(kind="PersistentVolume", plural="persistentvolumes", at="storage:PersistentVolume", namespaced=False, short_names=("pv",), subresources=("status",)),
    Resource(kind="PersistentVolumeClaim", plural="persistentvolumeclaims", at="storage:PersistentVolumeClaim", short_names=("pvc",), subresources=("status",)),
    Resource(kind="LimitRange", plural="limitranges", at="policy:LimitRange", short_names=("limits",)),
    Resource(kind="ResourceQuota", plural="resourcequotas", at="policy:ResourceQuota", short_names=("quota",), subresources=("status",)),
    Resource(group="apps", kind="DaemonSet", plural="daemonsets", at="workloads:DaemonSet", short_names=("ds",), subresources=("status",), categories=("all",)),
    Resource(group="apps", kind="StatefulSet", plural="statefulsets", at="workloads:StatefulSet", short_names=("sts",), subresources=("status", "scale"), categories=("all",)),
    Resource(group="apps", kind="ControllerRevision", plural="controllerrevisions", at="workloads:ControllerRevision"),
    Resource(group="batch", kind="Job", plural="jobs", at="batch:Job", subresources=("status",), categories=("all",)),
    Resource(group="batch", kind="CronJob", plural="cronjobs", at="batch:CronJob", short_names=("cj",), subresources=("status",), categories=("all",)),
    Resource(group="autoscaling", version="v2", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers", at="autoscaling:HorizontalPodAutoscaler", short_names=("hpa",), subresources=("status",), categories=("all",)),
    Resource(group="policy", kind="PodDisruptionBudget", plural="poddisruptionbudgets", at="policy:PodDisruptionBudget", short_names=("pdb",), subresources=("status",)),
    Resource(group="networking.k8s.io", kind="NetworkPolicy", plural="networkpolicies", at="networkpolicy:NetworkPolicy", short_names=("netpol",)),
    Resource(group="rbac.authorization.k8s.io", kind="Role", plural="roles", at="rbac:Role"),
    Resource(group="rbac.authorization.k8s.io", kind="RoleBinding", plural="rolebindings", at="rbac:RoleBinding"),
    Resource(group="rbac.authorization.k8s.io", kind="ClusterRole", plural="clusterroles", at="rbac:ClusterRole", namespaced=False),
    Resource(group="rbac.authorization.k8s.io", kind="ClusterRoleBinding", plural="clusterrolebindings", at="rbac:ClusterRoleBinding", namespaced=False),
    Resource(group="storage.k8s.io", kind="StorageClass", plural="storageclasses", at="storage:StorageClass", namespaced=False, short_names=("sc",)),
    Resource(group="storage.k8s.io", kind="CSIDriver", plural="csidrivers", at="storage:CSIDriver", namespaced=False),
    Resource(group="storage.k8s.io", kind="CSINode", plural="csinodes", at="storage:CSINode", namespaced=False),
    Resource(group="storage.k8s.io", kind="CSIStorageCapacity", plural="csistoragecapacities", at="storage:CSIStorageCapacity"),
    Resource(group="storage.k8s.io", kind="VolumeAttachment", plural="volumeattachments", at="storage:VolumeAttachment", namespaced=False, subresources=("status",)),
    Resource(group="node.k8s.io", kind="RuntimeClass", plural="runtimeclasses", at="storage:RuntimeClass", namespaced=False),
    Resource(group="certificates.k8s.io", kind="CertificateSigningRequest", plural="certificatesigningrequests", at="certificates:CertificateSigningRequest", namespaced=False, short_names=("csr",), subresources=("status", "approval")),
    Resource(group="scheduling.k8s.io", kind="PriorityClass", plural="priorityclasses", at="policy:PriorityClass", namespaced=False, short_names=("pc",)),
    Resource(group="gateway.networking.k8s.io", kind="GatewayClass", plural="gatewayclasses", at="gateway:GatewayClass", namespaced=False, short_names=("gc",), subresources=("status",), categories=("gateway-api",)),
    Resource(group="gateway.networking.k8s.io", kind="Gateway", plural="gateways", at="gateway:Gateway", short_names=("gtw",), subresources=("status",), categories=("gateway-api",)),
    Resource(group="gateway.networking.k8s.io", kind="HTTPRoute", plural="httproutes", at="gateway:HTTPRoute", subresources=("status",), categories=("gateway-api",)),
    Resource(group="gateway.networking.k8s.io", version="v1beta1", kind="ReferenceGrant", plural="referencegrants", at="gateway:ReferenceGrant", short_names=("refgrant",), categories=("gateway-api",)),
    Resource(group="apiextensions.k8s.io", kind="CustomResourceDefinition", plural="customresourcedefinitions", at="apiextensions:CustomResourceDefinition", namespaced=False, short_names=("crd", "crds"), subresources=("status",), categories=("api-extensions",)),
)  # fmt: skip
"""What is stored, in the version in which it is."""

_BY_PLURAL = {(r.group, r.version, r.plural): r for r in RESOURCES}


def _view(
    group: str, version: str, of: tuple[str, str, str], since: str = "", until: str = ""
) -> Resource:
    """Another version of a resource, deprecated `since` and gone `until`, if so upstream."""
    stored = _BY_PLURAL[of]
    warning = (
        f"{group}/{version} {stored.kind} is deprecated in v{since}+, unavailable in v{until}+; "
        f"use {stored.api_version} {stored.kind}"
    )
    return Resource(
        group=group,
        version=version,
        kind=stored.kind,
        plural=stored.plural,
        at=stored.at,
        namespaced=stored.namespaced,
        short_names=stored.short_names,
        subresources=stored.subresources,
        categories=stored.categories,
        stored=stored,
        warning=warning if since else "",
    )


VIEWS = (
    _view("autoscaling", "v1", ("autoscaling", "v2", "horizontalpodautoscalers")),
    _view("events.k8s.io", "v1", ("", "v1", "events")),
    _view("batch", "v1beta1", ("batch", "v1", "cronjobs"), "1.21", "1.25"),
    _view("policy", "v1beta1", ("policy", "v1", "poddisruptionbudgets"), "1.21", "1.25"),
    _view(
        "discovery.k8s.io",
        "v1beta1",
        ("discovery.k8s.io", "v1", "endpointslices"),
        "1.21",
        "1.25",
    ),
    _view("networking.k8s.io", "v1beta1", ("networking.k8s.io", "v1", "ingresses"), "1.19", "1.22"),
    _view(
        "gateway.networking.k8s.io",
        "v1beta1",
        ("gateway.networking.k8s.io", "v1", "gatewayclasses"),
    ),
    _view("gateway.networking.k8s.io", "v1beta1", ("gateway.networking.k8s.io", "v1", "gateways")),
    _view(
        "gateway.networking.k8s.io", "v1beta1", ("gateway.networking.k8s.io", "v1", "httproutes")
    ),
)
"""Other versions of the same objects, for those who ask for them; apiserver/views.py converts."""

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"

QUESTIONS = (
    Resource(group=_AUTHORIZATION, kind="SelfSubjectAccessReview", plural="selfsubjectaccessreviews", at="core:Unstructured", namespaced=False, verbs=("create",)),
    Resource(group=_AUTHORIZATION, kind="SelfSubjectRulesReview", plural="selfsubjectrulesreviews", at="core:Unstructured", namespaced=False, verbs=("create",)),
    Resource(group=_AUTHORIZATION, kind="SubjectAccessReview", plural="subjectaccessreviews", at="core:Unstructured", namespaced=False, verbs=("create",)),
    Resource(group=_AUTHORIZATION, kind="LocalSubjectAccessReview", plural="localsubjectaccessreviews", at="core:Unstructured", verbs=("create",)),
    Resource(group=_AUTHENTICATION, kind="TokenReview", plural="tokenreviews", at="core:Unstructured", namespaced=False, verbs=("create",)),
    Resource(group=_AUTHENTICATION, kind="SelfSubjectReview", plural="selfsubjectreviews", at="core:Unstructured", namespaced=False, verbs=("create",)),
)  # fmt: skip
"""What is asked by creating it and never stored."""

NODE_METRICS = Resource(group="metrics.k8s.io", version="v1beta1", kind="NodeMetrics", plural="nodes", at="core:Unstructured", namespaced=False, verbs=("get", "list"))  # fmt: skip
POD_METRICS = Resource(group="metrics.k8s.io", version="v1beta1", kind="PodMetrics", plural="pods", at="core:Unstructured", verbs=("get", "list"))  # fmt: skip
NODE_STATS = Resource(group="stats.netpod.dev", kind="NodeStats", plural="nodestats", at="core:Unstructured", namespaced=False, subresources=("history",), verbs=("get", "list", "update"))  # fmt: skip

MEASURES = (NODE_METRICS, POD_METRICS, NODE_STATS)
"""What is measured and kept in memory: apiserver/measures.py."""

COMPONENT_STATUS = Resource(kind="ComponentStatus", plural="componentstatuses", at="core:Unstructured", namespaced=False, short_names=("cs",), verbs=("get", "list"), warning="v1 ComponentStatus is deprecated in v1.19+")  # fmt: skip
"""What is asked when somebody asks for it: apiserver/componentstatus.py."""

EMPTY = (
    Resource(group="policy", version="v1beta1", kind="PodSecurityPolicy", plural="podsecuritypolicies", at="core:Unstructured", namespaced=False, short_names=("psp",), verbs=("get", "list", "watch"), warning="policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"),
)  # fmt: skip
"""What old clients list and watch, and of which there is never one."""

SERVED = (*RESOURCES, *VIEWS, *QUESTIONS, *MEASURES, COMPONENT_STATUS, *EMPTY)
"""All the API serves, a group's preferred version first."""

_BY_PLURAL |= {(r.group, r.version, r.plural): r for r in SERVED}
_BY_KIND = {(r.api_version, r.kind): r for r in SERVED}


_by_class: dict[type[Object], Resource] = {}


def of(cls: type[Object]) -> Resource:
    """Return the resource whose objects are of this class."""
    resource = _by_class.get(cls)
    if resource is None:
        empty = cls()
        resource = _by_class[cls] = _BY_KIND[empty.api_version, empty.kind].storage
    return resource


@functools.cache
def custom(group: str, version: str, kind: str, plural: str, namespaced: bool) -> Resource:
    """The resource of a kind that a CustomResourceDefinition made, for clients; its objects' class is its own."""
    from netpod.api.core import custom_class

    cls = custom_class(f"{group}/{version}", kind)
    resource = Resource(
        group=group, version=version, kind=kind, plural=plural, at=cls, namespaced=namespaced
    )
    _by_class[cls] = resource
    return resource


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
    for r in (*RESOURCES, COMPONENT_STATUS, *EMPTY):
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
