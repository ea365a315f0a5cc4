"""The roles and bindings every cluster has from the start, as data.

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
ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

_GATEWAY = "gateway.networking.k8s.io"
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
    _GATEWAY: ("gateways", "httproutes", "referencegrants"),
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
    _GATEWAY: ("gateways/status", "httproutes/status", "gatewayclasses"),
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
    yield rule("", "nodes", "create get list watch delete")
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


def _proxier() -> Iterator[PolicyRule]:
    yield rule("", "endpoints services", "list watch")
    yield rule("", "nodes", READ)
    yield rule(("", "events.k8s.io"), "events", "create patch update")
    yield rule("discovery.k8s.io", "endpointslices", "list watch")


def _dns() -> Iterator[PolicyRule]:
    yield rule("", "configmaps endpoints services pods namespaces", "list watch get")
    yield rule("discovery.k8s.io", "endpointslices", "list watch get")


def _ingress() -> Iterator[PolicyRule]:
    yield rule("", "services pods nodes endpoints configmaps secrets namespaces", READ)
    yield rule("discovery.k8s.io", "endpointslices", READ)
    yield rule("networking.k8s.io", "ingresses ingressclasses", READ)
    yield rule("networking.k8s.io", "ingresses/status", "update patch")
    yield rule(("", "events.k8s.io"), "events", "create patch update")
    yield rule("coordination.k8s.io", "leases", (*READ, "create", "update", "patch"))
    # A Gateway gets a Service of type LoadBalancer in the ingress' own namespace.
    yield rule("", "services", "create update patch delete")
    yield rule(_GATEWAY, "gatewayclasses gateways httproutes referencegrants", READ)
    yield rule(_GATEWAY, "gatewayclasses", "create")
    statuses = "gatewayclasses/status gateways/status httproutes/status"
    yield rule(_GATEWAY, statuses, "update patch")


_EVERYTHING = (
    rule("*", "*", "*"),
    PolicyRule(verbs=("*",), non_resource_urls=("*",)),
)
_SELF = (
    rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
    rule("authentication.k8s.io", "selfsubjectreviews", "create"),
)


def _role(
    name: str, rules: Iterator[PolicyRule] | tuple[PolicyRule, ...], to: str = ""
) -> ClusterRole:
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


def _bind(name: str, *subjects: Subject, role: str = "") -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=name, labels=LABELS, annotations=ANNOTATIONS),
        role_ref=RoleRef(api_group=GROUP, kind="ClusterRole", name=role or name),
        subjects=subjects,
    )


def _group(name: str) -> Subject:
    return Subject(kind="Group", api_group=GROUP, name=name)


def _user(name: str) -> Subject:
    return Subject(kind="User", api_group=GROUP, name=name)


def _account(name: str) -> Subject:
    return Subject(kind="ServiceAccount", namespace="kube-system", name=name)


def objects() -> tuple[Object, ...]:
    """All default roles and bindings."""
    everybody = _group("system:authenticated")
    return (
        _role("cluster-admin", _EVERYTHING),
        _gathering("admin"),
        _gathering("edit", "admin"),
        _gathering("view", "edit"),
        _role("system:aggregate-to-admin", _admin(), "admin"),
        _role("system:aggregate-to-edit", _edit(), "edit"),
        _role("system:aggregate-to-view", _view(), "view"),
        _role("system:discovery", _get(*_DISCOVERY)),
        _role("system:basic-user", _SELF),
        _role(
            "system:public-info-viewer",
            _get("/healthz", "/livez", "/readyz", "/version", "/version/"),
        ),
        _role(
            "system:service-account-issuer-discovery",
            _get("/.well-known/openid-configuration", "/openid/v1/jwks"),
        ),
        _role(
            "system:monitoring",
            _get("/healthz", "/livez", "/metrics", "/metrics/kube-state", "/readyz"),
        ),
        _role(
            "system:auth-delegator",
            (
                rule("authentication.k8s.io", "tokenreviews", "create"),
                rule("authorization.k8s.io", "subjectaccessreviews", "create"),
            ),
        ),
        _role("system:node", node()),
        _role("system:node-proxier", _proxier()),
        _role("system:kube-controller-manager", _EVERYTHING),
        _role("system:kube-scheduler", _EVERYTHING[:1]),
        _role("netpod:viewers", _viewer()),
        _role("netpod:dns", _dns()),
        _role("netpod:ingress", _ingress()),
        _bind("cluster-admin", _group("system:masters")),
        _bind("system:discovery", everybody),
        _bind("system:basic-user", everybody),
        _bind("system:public-info-viewer", everybody, _group("system:unauthenticated")),
        _bind("system:service-account-issuer-discovery", _group("system:serviceaccounts")),
        _bind("system:monitoring", _group("system:monitoring")),
        _bind("system:node-proxier", _user("system:kube-proxy")),
        _bind("system:kube-controller-manager", _user("system:kube-controller-manager")),
        _bind("system:kube-scheduler", _user("system:kube-scheduler")),
        _bind("netpod:viewers", _group("viewers")),
        _bind("netpod:discovery-viewers", _group("viewers"), role="system:discovery"),
        _bind("netpod:dns", _account("dns")),
        _bind("netpod:ingress", _account("ingress")),
    )
