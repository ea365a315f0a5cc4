"""How a strategic merge patch treats each list and map, as a table.

A list that is not in the table is replaced whole; a map that is not is merged key by key, and so on below it.

Source: the patchStrategy and patchMergeKey tags in types.go of k8s.io/api and apimachinery 0.36.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What happens to one field.

    Attributes:
        struct: Struct of the field's value, or of its elements: a key of STRUCTS, or "".
        merge_key: Lists of objects merge by this field of their elements.
        merge: Lists of plain values merge as sets.
        replace: The value is replaced whole, though it is a map.
    """

    struct: str = ""
    merge_key: str = ""
    merge: bool = False
    replace: bool = False


def _of(struct: str) -> Rule:
    return Rule(struct=struct)


def _by(merge_key: str, struct: str = "") -> Rule:
    return Rule(struct=struct, merge_key=merge_key)


_SET = Rule(merge=True)
_ATOMIC = Rule()

Fields = Mapping[str, Rule]

_POD_TEMPLATE: Fields = {"metadata": _of("ObjectMeta"), "spec": _of("PodSpec")}
_WITH_CONDITIONS: Fields = {"conditions": _by("type")}
_WORKLOAD: Fields = {"template": _of("PodTemplateSpec")}
_WORKLOADS = "Deployment ReplicaSet StatefulSet DaemonSet ReplicationController Job".split()

STRUCTS: Mapping[str, Fields] = {
    "ObjectMeta": {"ownerReferences": _by("uid"), "finalizers": _SET, "managedFields": _ATOMIC},
    "PodTemplateSpec": _POD_TEMPLATE,
    "PodSpec": {
        "volumes": _by("name"),
        "initContainers": _by("name", "Container"),
        "containers": _by("name", "Container"),
        "ephemeralContainers": _by("name", "Container"),
        "imagePullSecrets": _by("name"),
        "hostAliases": _by("ip"),
        "topologySpreadConstraints": _by("topologyKey"),
        "schedulingGates": _by("name"),
        "resourceClaims": _by("name"),
        "tolerations": _ATOMIC,
        "readinessGates": _ATOMIC,
    },
    "Container": {
        "ports": _by("containerPort"),
        "env": _by("name"),
        "volumeMounts": _by("mountPath"),
        "volumeDevices": _by("devicePath"),
        "envFrom": _ATOMIC,
        "resizePolicy": _ATOMIC,
    },
    "PodStatus": {
        "conditions": _by("type"),
        "podIPs": _by("ip"),
        "hostIPs": _by("ip"),
        "resourceClaimStatuses": _by("name"),
        "containerStatuses": _ATOMIC,
    },
    "NodeSpec": {"podCIDRs": _SET, "taints": _ATOMIC},
    "NodeStatus": {"conditions": _by("type"), "addresses": _by("type"), "images": _ATOMIC},
    "ServiceSpec": {"ports": _by("port"), "externalIPs": _ATOMIC},
    "Conditions": _WITH_CONDITIONS,
    "WorkloadSpec": _WORKLOAD,
    "Pod": {"metadata": _of("ObjectMeta"), "spec": _of("PodSpec"), "status": _of("PodStatus")},
    "Node": {"metadata": _of("ObjectMeta"), "spec": _of("NodeSpec"), "status": _of("NodeStatus")},
    "Service": {
        "metadata": _of("ObjectMeta"),
        "spec": _of("ServiceSpec"),
        "status": _of("Conditions"),
    },
    "Namespace": {"metadata": _of("ObjectMeta"), "status": _of("Conditions")},
    "ServiceAccount": {"metadata": _of("ObjectMeta"), "secrets": _by("name")},
    **{
        kind: {
            "metadata": _of("ObjectMeta"),
            "spec": _of("WorkloadSpec"),
            "status": _of("Conditions"),
        }
        for kind in _WORKLOADS
    },
    "PodTemplate": {"metadata": _of("ObjectMeta"), "template": _of("PodTemplateSpec")},
    "JobTemplateSpec": {"metadata": _of("ObjectMeta"), "spec": _of("WorkloadSpec")},
    "CronJobSpec": {"jobTemplate": _of("JobTemplateSpec")},
    "CronJob": {"metadata": _of("ObjectMeta"), "spec": _of("CronJobSpec")},
    "HorizontalPodAutoscaler": {"metadata": _of("ObjectMeta"), "status": _of("Conditions")},
    "PersistentVolumeClaim": {"metadata": _of("ObjectMeta"), "status": _of("Conditions")},
    "PodDisruptionBudgetSpec": {"selector": Rule(replace=True)},
    "PodDisruptionBudget": {
        "metadata": _of("ObjectMeta"),
        "spec": _of("PodDisruptionBudgetSpec"),
        "status": _of("Conditions"),
    },
    "CSINodeSpec": {"drivers": _by("name")},
    "CSINode": {"metadata": _of("ObjectMeta"), "spec": _of("CSINodeSpec")},
    "ComponentStatus": {"metadata": _of("ObjectMeta"), "conditions": _by("type")},
    "Object": {"metadata": _of("ObjectMeta")},
}

NOTHING = Rule()


def root(kind: str) -> str:
    """Return the struct of a kind; kinds without lists of their own share one."""
    return kind if kind in STRUCTS else "Object"


def rule(struct: str, name: str) -> Rule:
    """Return the rule of a field; NOTHING special where the table is silent."""
    return STRUCTS.get(struct, {}).get(name, NOTHING)
