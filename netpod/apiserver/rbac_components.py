"""The roles and bindings of the cluster's own components, as data.

Upstream gives each controller an account of its own; here they are one user, with what they need together.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,controller_policy,namespace_policy}.go; kubeadm's
addon phase for kube-proxy's ConfigMap.
"""

from collections.abc import Iterator

from netpod.api.meta import Object, ObjectMeta
from netpod.api.rbac import GROUP, ClusterRole, PolicyRule, Role, RoleBinding, RoleRef, Subject
from netpod.apiserver.rbac_policy import ANNOTATIONS, GATEWAY, LABELS, READ, bind, role, rule

SYSTEM = "kube-system"
CERTIFICATES = "certificates.k8s.io"
MANAGER, SCHEDULER, PROXY = (
    f"system:kube-{name}" for name in ("controller-manager", "scheduler", "proxy")
)


def _events() -> PolicyRule:
    return rule(("", "events.k8s.io"), "events", "create patch update")


def _proxier() -> Iterator[PolicyRule]:
    yield rule("", "endpoints services", "list watch")
    yield rule("", "nodes", READ)
    yield _events()
    yield rule("discovery.k8s.io", "endpointslices", "list watch")


def _dns() -> Iterator[PolicyRule]:
    yield rule("", "configmaps endpoints services pods namespaces", "list watch get")
    yield rule("discovery.k8s.io", "endpointslices", "list watch get")


def _ingress() -> Iterator[PolicyRule]:
    yield rule("", "services pods nodes endpoints configmaps secrets namespaces", READ)
    yield rule("discovery.k8s.io", "endpointslices", READ)
    yield rule("networking.k8s.io", "ingresses ingressclasses", READ)
    yield rule("networking.k8s.io", "ingresses/status", "update patch")
    yield _events()
    yield rule("coordination.k8s.io", "leases", (*READ, "create", "update", "patch"))
    # A Gateway gets a Service of type LoadBalancer in the ingress' own namespace.
    yield rule("", "services", "create update patch delete")
    yield rule(GATEWAY, "gatewayclasses gateways httproutes referencegrants", READ)
    yield rule(GATEWAY, "gatewayclasses", "create")
    statuses = "gatewayclasses/status gateways/status httproutes/status"
    yield rule(GATEWAY, statuses, "update patch")


def _scheduler() -> Iterator[PolicyRule]:
    yield _events()
    yield rule("coordination.k8s.io", "leases", "create")
    yield _named("coordination.k8s.io", "leases", "get update", "kube-scheduler")
    # A scheduler of 1.20 holds an Endpoints too.
    yield rule("", "endpoints", "create")
    yield _named("", "endpoints", "get update", "kube-scheduler")
    yield rule("", "nodes namespaces replicationcontrollers services", READ)
    yield rule("", "pods", (*READ, "delete"))
    yield rule("", "bindings pods/binding", "create")
    yield rule("", "pods/status", "patch update")
    yield rule("apps", "replicasets statefulsets", READ)
    yield rule("policy", "poddisruptionbudgets", READ)
    yield rule("", "persistentvolumeclaims persistentvolumes", (*READ, "patch", "update"))
    yield rule("storage.k8s.io", "storageclasses csinodes csidrivers csistoragecapacities", READ)
    yield from _reviews()


def _controllers() -> Iterator[PolicyRule]:
    # Collectors of garbage and of namespaces end objects of every kind, and take their finalizers off.
    yield rule("*", "*", (*READ, "update", "patch", "delete", "deletecollection"))
    yield _events()
    made = "configmaps endpoints persistentvolumes persistentvolumeclaims pods pods/eviction"
    yield rule("", f"{made} secrets serviceaccounts serviceaccounts/token", "create")
    yield rule("apps", "controllerrevisions replicasets", "create")
    yield rule("batch", "jobs", "create")
    yield rule("discovery.k8s.io", "endpointslices", "create")
    yield rule("coordination.k8s.io", "leases", "create")
    yield rule(CERTIFICATES, "signers", "approve sign")
    yield from _reviews()


def _reviews() -> Iterator[PolicyRule]:
    yield rule("authentication.k8s.io", "tokenreviews", "create")
    yield rule("authorization.k8s.io", "subjectaccessreviews", "create")


def _cloud() -> Iterator[PolicyRule]:
    yield _events()
    yield rule("", "nodes services", READ)
    yield rule("", "services/status", "patch update")


def _network_policy() -> Iterator[PolicyRule]:
    yield _events()
    yield rule("", "namespaces nodes pods", READ)
    yield rule("networking.k8s.io", "networkpolicies", READ)


def _certificates() -> Iterator[ClusterRole]:
    """Roles for who approves requests of one signer, and for kubelets that ask for a certificate of their own."""
    for signer in (
        "kube-apiserver-client",
        "kube-apiserver-client-kubelet",
        "kubelet-serving",
        "legacy-unknown",
    ):
        may = _named(CERTIFICATES, "signers", "approve", f"kubernetes.io/{signer}")
        yield role(f"system:{CERTIFICATES}:{signer}-approver", (may,))
    for asked in ("nodeclient", "selfnodeclient"):
        may = rule(CERTIFICATES, f"certificatesigningrequests/{asked}", "create")
        yield role(f"system:{CERTIFICATES}:certificatesigningrequests:{asked}", (may,))


def _named(groups: str, resources: str, verbs: str | tuple[str, ...], *names: str) -> PolicyRule:
    found = rule(groups, resources, verbs)
    return PolicyRule(
        verbs=found.verbs,
        api_groups=found.api_groups,
        resources=found.resources,
        resource_names=names,
    )


def _local(name: str, *rules: PolicyRule) -> Role:
    about = ObjectMeta(name=name, namespace=SYSTEM, labels=LABELS, annotations=ANNOTATIONS)
    return Role(metadata=about, rules=rules)


def _bind_local(name: str, role: str, *subjects: Subject) -> RoleBinding:
    about = ObjectMeta(name=name, namespace=SYSTEM, labels=LABELS, annotations=ANNOTATIONS)
    ref = RoleRef(api_group=GROUP, kind="Role", name=role)
    return RoleBinding(metadata=about, role_ref=ref, subjects=subjects)


def _user(name: str) -> Subject:
    return Subject(kind="User", api_group=GROUP, name=name)


def _account(name: str) -> Subject:
    return Subject(kind="ServiceAccount", namespace=SYSTEM, name=name)


def objects() -> tuple[Object, ...]:
    """The default roles and bindings of components."""
    reader = "extension-apiserver-authentication-reader"
    leases = rule("coordination.k8s.io", "leases", "create get list update watch")
    locks = [f"system::leader-locking-kube-{it}" for it in ("controller-manager", "scheduler")]
    return (
        role("system:node-proxier", _proxier()),
        role(MANAGER, _controllers()),
        role(SCHEDULER, _scheduler()),
        *_certificates(),
        role("system:cloud-controller-manager", _cloud()),
        role("netpod:network-policy", _network_policy()),
        role("netpod:dns", _dns()),
        role("netpod:ingress", _ingress()),
        bind("system:node-proxier", _user(PROXY)),
        bind(MANAGER, _user(MANAGER)),
        bind(SCHEDULER, _user(SCHEDULER)),
        bind("system:cloud-controller-manager", _account("cloud-controller-manager")),
        bind("netpod:network-policy", _account("network-policy")),
        bind("netpod:dns", _account("dns")),
        bind("netpod:ingress", _account("ingress")),
        _local(reader, _named("", "configmaps", READ, "extension-apiserver-authentication")),
        _bind_local(f"system::{reader}", reader, _user(MANAGER), _user(SCHEDULER)),
        *(_local(name, leases) for name in locks),
        _bind_local(locks[0], locks[0], _user(MANAGER), _account("kube-controller-manager")),
        _bind_local(locks[1], locks[1], _user(SCHEDULER), _account("kube-scheduler")),
        _local("kube-proxy", _named("", "configmaps", READ, "kube-proxy")),
        _bind_local("kube-proxy", "kube-proxy", _user(PROXY)),
    )
