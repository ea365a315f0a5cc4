"""The roles and bindings for people that every cluster has from the start, as data; rbac_components.py has the others.

admin, edit and view gather the rules of what carries their label, as upstream's do; netpod's own kinds need no more.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,controller_policy}.go.
"""

from collections.abc import Iterator

from netpod.api import registry
from netpod.api.meta import LabelSelector, Object, ObjectMeta
from netpod.api.rbac import (
    GROUP,
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    RoleRef,
    Subject,
)

LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
ANNOTATIONS = {AUTOUPDATE: "true"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

GATEWAY = "gateway.networking.k8s.io"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
              "/readyz", "/version", "/version/")  # fmt: skip

_CORE = ("configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers",
         "replicationcontrollers/scale", "serviceaccounts", "services")  # fmt: skip
_GROUPS = {
    "apps": ("controllerrevisions", "daemonsets", "deployments", "deployments/scale", "replicasets",
             "replicasets/scale", "statefulsets", "statefulsets/scale"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "policy": ("poddisruptionbudgets",),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "discovery.k8s.io": ("endpointslices",),
    GATEWAY: ("gateways", "httproutes", "referencegrants"),
}  # fmt: skip
_STATUSES = {
    "": ("persistentvolumeclaims/status", "pods/status", "replicationcontrollers/status",
         "services/status", "bindings", "events", "limitranges", "namespaces", "namespaces/status",
         "pods/log", "resourcequotas", "resourcequotas/status"),
    "apps": ("daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"),
    "autoscaling": ("horizontalpodautoscalers/status",),
    "batch": ("cronjobs/status", "jobs/status"),
    "policy": ("poddisruptionbudgets/status",),
    "networking.k8s.io": ("ingresses/status",),
    # A class belongs to the whole cluster: those who may read everywhere see it.
    GATEWAY: ("gateways/status", "httproutes/status", "gatewayclasses"),
}  # fmt: skip


def rule(groups: str | tuple[str, ...], resources: str, verbs: str | tuple[str, ...]) -> PolicyRule:
    """A rule; words are separated by spaces."""
    return PolicyRule(
        api_groups=(groups,) if isinstance(groups, str) else groups,
        resources=tuple(resources.split()),
        verbs=tuple(verbs.split()) if isinstance(verbs, str) else verbs,
    )


def _view() -> Iterator[PolicyRule]:
    yield PolicyRule(api_groups=("",), resources=_CORE, verbs=READ)
    for groups in (_GROUPS, _STATUSES):
        for group, resources in groups.items():
            yield PolicyRule(api_groups=(group,), resources=resources, verbs=READ)


def _edit() -> Iterator[PolicyRule]:
    yield rule("", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ)
    yield rule("", "serviceaccounts", "impersonate")
    yield rule("", "pods pods/attach pods/exec pods/portforward pods/proxy", WRITE)
    yield rule("", "pods/eviction serviceaccounts/token", "create")
    core = tuple(r for r in _CORE if r not in ("pods", "endpoints"))
    yield PolicyRule(
        api_groups=("",), resources=(*core, "events", "secrets", "services/proxy"), verbs=WRITE
    )
    for group, resources in _GROUPS.items():
        if group != "discovery.k8s.io":
            yield PolicyRule(api_groups=(group,), resources=resources, verbs=WRITE)
    yield rule("coordination.k8s.io", "leases", READ + WRITE)


def _admin() -> Iterator[PolicyRule]:
    yield rule("authorization.k8s.io", "localsubjectaccessreviews", "create")
    yield rule(GROUP, "roles rolebindings", READ + WRITE)


def node() -> Iterator[PolicyRule]:
    """What a kubelet needs; nodes.py narrows it."""
    yield rule("authentication.k8s.io", "tokenreviews", "create")
    yield rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create")
    yield rule("", "services", READ)
    yield rule("", "nodes", "create get list watch")
    yield rule("", "nodes nodes/status", "update patch")
    yield rule("", "events", "create update patch")
    yield rule("", "pods", "create delete get list watch")
    yield rule("", "pods/status", "update patch")
    yield rule("", "pods/eviction", "create")
    yield rule("", "configmaps secrets", READ)
    yield rule("", "persistentvolumeclaims persistentvolumes", "get")
    yield rule("", "persistentvolumeclaims/status", "get update patch")
    yield rule("", "endpoints", "get")
    yield rule("", "serviceaccounts/token", "create")
    yield rule("coordination.k8s.io", "leases", "create delete get patch update")
    yield rule("discovery.k8s.io", "endpointslices", READ)
    yield rule("stats.netpod.dev", "nodestats", "update")


def _viewer() -> Iterator[PolicyRule]:
    """Everything but secrets."""
    for group in dict.fromkeys(r.group for r in registry.SERVED if not r.verbs):
        plurals = [r.plural for r in registry.SERVED if r.group == group and r.plural != "secrets"]
        statuses = [f"{name}/{sub}" for name in plurals for sub in ("status", "scale", "log")]
        yield PolicyRule(api_groups=(group,), resources=(*plurals, *statuses), verbs=READ)
    yield rule("metrics.k8s.io", "nodes pods", READ)
    yield rule("stats.netpod.dev", "nodestats nodestats/history", READ)


_EVERYTHING = (
    rule("*", "*", "*"),
    PolicyRule(verbs=("*",), non_resource_urls=("*",)),
)
_SELF = (
    rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
    rule("authentication.k8s.io", "selfsubjectreviews", "create"),
)


def role(
    name: str, rules: Iterator[PolicyRule] | tuple[PolicyRule, ...], to: str = ""
) -> ClusterRole:
    """A default ClusterRole, gathered by the role `to`."""
    labels = {**LABELS, AGGREGATE + to: "true"} if to else LABELS
    metadata = ObjectMeta(name=name, labels=labels, annotations=ANNOTATIONS)
    return ClusterRole(metadata=metadata, rules=tuple(rules))


def _gathering(name: str, to: str = "") -> ClusterRole:
    selector = LabelSelector(match_labels={AGGREGATE + name: "true"})
    rules = {"admin": (*_admin(), *_edit(), *_view()), "edit": (*_edit(), *_view())}
    labels = {**LABELS, AGGREGATE + to: "true"} if to else LABELS
    return ClusterRole(
        metadata=ObjectMeta(name=name, labels=labels, annotations=ANNOTATIONS),
        rules=rules.get(name) or tuple(_view()),
        aggregation_rule=AggregationRule(cluster_role_selectors=(selector,)),
    )


def _get(*urls: str) -> tuple[PolicyRule, ...]:
    return (PolicyRule(verbs=("get",), non_resource_urls=urls),)


def bind(name: str, *subjects: Subject, role: str = "") -> ClusterRoleBinding:
    """A default binding of the ClusterRole of its name, or another."""
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=name, labels=LABELS, annotations=ANNOTATIONS),
        role_ref=RoleRef(api_group=GROUP, kind="ClusterRole", name=role or name),
        subjects=subjects,
    )


def group(name: str) -> Subject:
    """A group as a subject."""
    return Subject(kind="Group", api_group=GROUP, name=name)


def objects() -> tuple[Object, ...]:
    """The default roles and bindings for people."""
    everybody = group("system:authenticated")
    return (
        role("cluster-admin", _EVERYTHING),
        _gathering("admin"),
        _gathering("edit", "admin"),
        _gathering("view", "edit"),
        role("system:aggregate-to-admin", _admin(), "admin"),
        role("system:aggregate-to-edit", _edit(), "edit"),
        role("system:aggregate-to-view", _view(), "view"),
        role("system:discovery", _get(*_DISCOVERY)),
        role("system:basic-user", _SELF),
        role(
            "system:public-info-viewer",
            _get("/healthz", "/livez", "/readyz", "/version", "/version/"),
        ),
        role(
            "system:service-account-issuer-discovery",
            _get("/.well-known/openid-configuration", "/openid/v1/jwks"),
        ),
        role(
            "system:monitoring",
            _get("/healthz", "/livez", "/metrics", "/metrics/kube-state", "/readyz"),
        ),
        role(
            "system:auth-delegator",
            (
                rule("authentication.k8s.io", "tokenreviews", "create"),
                rule("authorization.k8s.io", "subjectaccessreviews", "create"),
            ),
        ),
        role("system:node", node()),
        role("netpod:viewers", _viewer()),
        bind("cluster-admin", group("system:masters")),
        bind("system:discovery", everybody),
        bind("system:basic-user", everybody),
        bind("system:public-info-viewer", everybody, group("system:unauthenticated")),
        bind("system:service-account-issuer-discovery", group("system:serviceaccounts")),
        bind("system:monitoring", group("system:monitoring")),
        bind("netpod:viewers", group("viewers")),
        bind("netpod:discovery-viewers", group("viewers"), role="system:discovery"),
    )
