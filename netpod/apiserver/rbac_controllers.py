"""The roles of upstream's controllers, as data.

A kube-controller-manager with --use-service-account-credentials is each of them in turn, by the token of an account in
kube-system.

netpod's own controllers are one user (rbac_components.py) and need none of these. Rules are those of 1.20 and of today
together, for kinds that are served here.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go.
"""

from collections.abc import Iterator

from netpod.api.meta import Object
from netpod.api.rbac import PolicyRule, Subject
from netpod.apiserver.rbac_policy import bind, role, rule

PREFIX = "system:controller:"
SYSTEM = "kube-system"
_EVENTS = "core,events.k8s.io events create patch update"
_APPS = "apps,extensions"
# A line is GROUP[,GROUP] RESOURCE[,RESOURCE] VERB...; the group without a name is called core.
_RULES: dict[str, tuple[str, ...]] = {
    "attachdetach-controller": (
        "core persistentvolumes,persistentvolumeclaims list watch",
        "core nodes get list watch",
        "core nodes/status patch update",
        "core pods list watch",
        "storage.k8s.io volumeattachments create delete get list watch",
        "storage.k8s.io csidrivers,csinodes get list watch",
        _EVENTS,
    ),
    "certificate-controller": (
        "certificates.k8s.io certificatesigningrequests delete get list watch",
        "certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status update",
        # Which signers, upstream names one by one: those of kubernetes.io.
        "certificates.k8s.io signers approve sign",
        "authorization.k8s.io subjectaccessreviews create",
        _EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        "rbac.authorization.k8s.io clusterroles escalate get list patch update watch",
    ),
    "cronjob-controller": (
        "batch cronjobs get list update watch",
        "batch jobs create delete get list patch update watch",
        "batch cronjobs/status,cronjobs/finalizers update",
        "core pods list watch delete",
        _EVENTS,
    ),
    "daemon-set-controller": (
        f"{_APPS} daemonsets get list watch",
        f"{_APPS} daemonsets/status,daemonsets/finalizers update",
        "core nodes list watch",
        "core pods create delete list patch watch",
        "core pods/binding create",
        "apps controllerrevisions create delete get list patch update watch",
        _EVENTS,
    ),
    "deployment-controller": (
        f"{_APPS} deployments get list update watch",
        f"{_APPS} deployments/status,deployments/finalizers update",
        f"{_APPS} replicasets create delete get list patch update watch",
        "core pods get list update watch",
        _EVENTS,
    ),
    "disruption-controller": (
        f"{_APPS} deployments,replicasets get list watch",
        "core replicationcontrollers get list watch",
        "apps statefulsets get list watch",
        "policy poddisruptionbudgets get list watch",
        "policy poddisruptionbudgets/status update",
        "core pods/status patch update",
        "* */scale get",
        _EVENTS,
    ),
    "endpoint-controller": (
        "core pods,services get list watch",
        "core endpoints create delete get list update watch",
        "core endpoints/restricted create",
        _EVENTS,
    ),
    "endpointslice-controller": (
        "core nodes,pods,services get list watch",
        "core services/finalizers update",
        "discovery.k8s.io endpointslices create delete get list update watch",
        _EVENTS,
    ),
    "endpointslicemirroring-controller": (
        "core endpoints,services get list watch",
        "core services/finalizers,endpoints/finalizers update",
        "discovery.k8s.io endpointslices create delete get list update watch",
        _EVENTS,
    ),
    "ephemeral-volume-controller": (
        "core pods get list watch",
        "core pods/finalizers update",
        "core persistentvolumeclaims create get list watch",
        _EVENTS,
    ),
    "expand-controller": (
        "core persistentvolumes get list patch update watch",
        "core persistentvolumeclaims get list watch",
        "core persistentvolumeclaims/status patch update",
        "core endpoints,services get",
        "core secrets get list watch",
        "storage.k8s.io storageclasses get list watch",
        _EVENTS,
    ),
    "generic-garbage-collector": (
        "* * delete get list patch update watch",
        _EVENTS,
    ),
    "horizontal-pod-autoscaler": (
        "autoscaling horizontalpodautoscalers get list watch",
        "autoscaling horizontalpodautoscalers/status update",
        "* */scale get update",
        "core pods list watch",
        "core services/proxy get",
        "metrics.k8s.io pods list watch",
        "custom.metrics.k8s.io,external.metrics.k8s.io * get list watch",
        _EVENTS,
    ),
    "job-controller": (
        "batch jobs get list patch update watch",
        "batch jobs/status,jobs/finalizers update",
        "core pods create delete list patch watch",
        _EVENTS,
    ),
    "namespace-controller": (
        "core namespaces delete get list watch",
        "core namespaces/finalize,namespaces/status update",
        "* * delete deletecollection get list watch",
    ),
    "node-controller": (
        "core nodes delete get list patch update watch",
        "core nodes/status,pods/status patch update",
        "core pods delete get list watch",
        _EVENTS,
    ),
    "persistent-volume-binder": (
        "core persistentvolumes create delete get list update watch",
        "core persistentvolumes/status,persistentvolumeclaims/status update",
        "core persistentvolumeclaims get list update watch",
        "core pods create delete get list watch",
        "storage.k8s.io storageclasses get list watch",
        "core endpoints,services create delete get update",
        "core secrets get list",
        "core nodes list watch",
        "core events watch",
        _EVENTS,
    ),
    "pod-garbage-collector": (
        "core pods delete list watch",
        "core nodes get list watch",
        "core pods/status patch",
    ),
    "pv-protection-controller": ("core persistentvolumes get list update watch", _EVENTS),
    "pvc-protection-controller": (
        "core persistentvolumeclaims get list update watch",
        "core persistentvolumeclaims/status update",
        "core pods get list watch",
        _EVENTS,
    ),
    "replicaset-controller": (
        f"{_APPS} replicasets get list update watch",
        f"{_APPS} replicasets/status,replicasets/finalizers update",
        "core pods create delete list patch watch",
        _EVENTS,
    ),
    "replication-controller": (
        "core replicationcontrollers get list update watch",
        "core replicationcontrollers/status,replicationcontrollers/finalizers update",
        "core pods create delete list patch watch",
        _EVENTS,
    ),
    "resourcequota-controller": (
        "* * list watch",
        "core resourcequotas/status update",
        _EVENTS,
    ),
    "root-ca-cert-publisher": ("core configmaps create update", _EVENTS),
    "route-controller": ("core nodes list watch", "core nodes/status patch", _EVENTS),
    "service-account-controller": ("core serviceaccounts create", _EVENTS),
    "service-controller": (
        "core services get list watch",
        "core services/status patch update",
        "core nodes list watch",
        _EVENTS,
    ),
    "statefulset-controller": (
        "core pods create delete get list patch update watch",
        "apps statefulsets get list watch",
        "apps statefulsets/status,statefulsets/finalizers update",
        "apps controllerrevisions create delete get list patch update watch",
        "core persistentvolumeclaims create delete get list update watch",
        "core pods/finalizers update",
        _EVENTS,
    ),
    "ttl-after-finished-controller": ("batch jobs delete get list watch", _EVENTS),
    "ttl-controller": ("core nodes list patch update watch", _EVENTS),
}


def objects() -> Iterator[Object]:
    """A role for each controller, and its binding to the account of that name in kube-system."""
    for name, lines in _RULES.items():
        yield role(PREFIX + name, tuple(map(_read, lines)))
        yield bind(PREFIX + name, Subject(kind="ServiceAccount", namespace=SYSTEM, name=name))


def _read(line: str) -> PolicyRule:
    groups, resources, *verbs = line.split()
    named = tuple("" if it == "core" else it for it in groups.split(","))
    return rule(named, resources.replace(",", " "), tuple(verbs))
