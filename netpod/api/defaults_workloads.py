"""Defaults of the kinds beside pods, Services and Deployments.

Source: pkg/apis/{batch,apps,core,networking,autoscaling,rbac,storage,scheduling}/v1/defaults.go.
"""

from collections.abc import Mapping
from typing import Any

from netpod.api import defaults_pod
from netpod.api.autoscaling import HorizontalPodAutoscaler
from netpod.api.batch import CronJob, Job
from netpod.api.defaults_pod import fill
from netpod.api.networkpolicy import NetworkPolicy, NetworkPolicyPort
from netpod.api.pod import PodTemplateSpec
from netpod.api.policy import LimitRange, PriorityClass, ResourceQuota
from netpod.api.rbac import GROUP, ClusterRoleBinding, RoleBinding, Subject
from netpod.api.storage import CSIDriver, PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.api.structs import replace
from netpod.api.workloads import (
    DaemonSet,
    PodTemplate,
    ReplicationController,
    RollingUpdateDaemonSet,
    RollingUpdateStatefulSet,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
)

CPU_TARGET = 80
"""Percent of the requested CPU an autoscaler without metrics aims at."""
_MAX_INT32 = 2**31 - 1
_SCALING: Mapping[str, Mapping[str, Any]] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
}
"""What an autoscaler's rules are where it has some and says no more. Source: pkg/apis/autoscaling/v2/defaults.go."""


def template(value: PodTemplateSpec) -> PodTemplateSpec:
    """Return a pod template with defaults."""
    return replace(value, spec=defaults_pod.spec_defaults(value.spec))


def job(obj: Job) -> Job:
    """One pod that must succeed, six more tries."""
    spec = obj.spec
    if spec.completions is None and spec.parallelism is None:
        spec = replace(spec, completions=1)
    spec = fill(
        spec,
        parallelism=1,
        backoff_limit=6 if spec.backoff_limit_per_index is None else _MAX_INT32,
        completion_mode="NonIndexed",
        suspend=False,
        manual_selector=False if spec.manual_selector is None else spec.manual_selector,
        pod_replacement_policy="TerminatingOrFailed"
        if spec.pod_failure_policy is None
        else "Failed",
    )
    metadata = obj.metadata
    if not metadata.labels and spec.template.metadata.labels:
        metadata = replace(metadata, labels=spec.template.metadata.labels)
    return replace(obj, metadata=metadata, spec=replace(spec, template=template(spec.template)))


def cron_job(obj: CronJob) -> CronJob:
    """Runs may overlap; three that succeeded and one that failed are kept."""
    spec = fill(
        obj.spec,
        concurrency_policy="Allow",
        suspend=False,
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=1,
    )
    inner = spec.job_template.spec
    inner = replace(inner, template=template(inner.template))
    return replace(obj, spec=replace(spec, job_template=replace(spec.job_template, spec=inner)))


def daemon_set(obj: DaemonSet) -> DaemonSet:
    """Updates one node after the other."""
    strategy = fill(obj.spec.update_strategy, type="RollingUpdate")
    if strategy.type == "RollingUpdate":
        bounds = fill(
            strategy.rolling_update or RollingUpdateDaemonSet(), max_unavailable=1, max_surge=0
        )
        strategy = replace(strategy, rolling_update=bounds)
    spec = fill(obj.spec, revision_history_limit=10)
    spec = replace(spec, update_strategy=strategy, template=template(spec.template))
    return replace(obj, spec=spec)


def stateful_set(obj: StatefulSet) -> StatefulSet:
    """One pod, in order, whose claims stay."""
    strategy = fill(obj.spec.update_strategy, type="RollingUpdate")
    if strategy.type == "RollingUpdate":
        bounds = fill(strategy.rolling_update or RollingUpdateStatefulSet(), partition=0)
        strategy = replace(strategy, rolling_update=bounds)
    retention = fill(
        obj.spec.persistent_volume_claim_retention_policy
        or StatefulSetPersistentVolumeClaimRetentionPolicy(),
        when_deleted="Retain",
        when_scaled="Retain",
    )
    spec = fill(
        obj.spec, replicas=1, revision_history_limit=10, pod_management_policy="OrderedReady"
    )
    spec = replace(
        spec,
        update_strategy=strategy,
        persistent_volume_claim_retention_policy=retention,
        template=template(spec.template),
        volume_claim_templates=tuple(claim(c) for c in spec.volume_claim_templates),
    )
    return replace(obj, spec=spec)


def replication_controller(obj: ReplicationController) -> ReplicationController:
    """One pod; labels and selector are the template's."""
    spec = fill(obj.spec, replicas=1)
    metadata = obj.metadata
    if spec.template is not None:
        labels = spec.template.metadata.labels
        spec = replace(spec, selector=spec.selector or labels, template=template(spec.template))
        metadata = replace(metadata, labels=metadata.labels or labels)
    return replace(obj, metadata=metadata, spec=spec)


def pod_template(obj: PodTemplate) -> PodTemplate:
    """As any pod template."""
    return replace(obj, template=template(obj.template))


def volume(obj: PersistentVolume) -> PersistentVolume:
    """A filesystem, kept when it is released."""
    spec = fill(obj.spec, persistent_volume_reclaim_policy="Retain")
    spec = replace(spec, volume_mode="Filesystem") if spec.volume_mode is None else spec
    path = spec.unknown.get("hostPath")
    if isinstance(path, Mapping):
        spec = replace(spec, unknown={**spec.unknown, "hostPath": {"type": "", **path}})
    spec = replace(spec, capacity=defaults_pod.canonical(spec.capacity))
    return replace(obj, spec=spec, status=fill(obj.status, phase="Pending"))


def claim(obj: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """A filesystem, not bound yet."""
    spec = fill(obj.spec, volume_mode="Filesystem") if obj.spec.volume_mode is None else obj.spec
    resources = replace(
        spec.resources,
        limits=defaults_pod.canonical(spec.resources.limits),
        requests=defaults_pod.canonical(spec.resources.requests),
    )
    spec = replace(spec, resources=resources)
    return replace(obj, spec=spec, status=fill(obj.status, phase="Pending"))


def quota(obj: ResourceQuota) -> ResourceQuota:
    """Amounts in canonical text."""
    return replace(obj, spec=replace(obj.spec, hard=defaults_pod.canonical(obj.spec.hard)))


def csi_driver(obj: CSIDriver) -> CSIDriver:
    """Volumes are attached, persistent, and changed to the pod's group where they have a filesystem."""
    spec = {
        "attachRequired": True,
        "podInfoOnMount": False,
        "volumeLifecycleModes": ["Persistent"],
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
    }
    return replace(obj, spec={**spec, **{k: v for k, v in obj.spec.items() if v not in (None, [])}})


def storage_class(obj: StorageClass) -> StorageClass:
    """Volumes are made at once and deleted with their claim."""
    return fill(obj, reclaim_policy="Delete", volume_binding_mode="Immediate")


def autoscaler(obj: HorizontalPodAutoscaler) -> HorizontalPodAutoscaler:
    """From one replica on, by CPU."""
    spec = fill(obj.spec, min_replicas=1)
    if not spec.metrics:
        target = {"type": "Utilization", "averageUtilization": CPU_TARGET}
        cpu = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        spec = replace(spec, metrics=(cpu,))
    if spec.behavior is not None:
        behavior = {
            name: {**_SCALING[name], **{k: v for k, v in rules.items() if v is not None}}
            if name in _SCALING and isinstance(rules, Mapping)
            else rules
            for name, rules in spec.behavior.items()
        }
        spec = replace(spec, behavior=behavior)
    return replace(obj, spec=spec)


def network_policy(obj: NetworkPolicy) -> NetworkPolicy:
    """Ports are TCP; a policy is about what comes in, and about what goes out if it has such rules."""
    spec = obj.spec
    types = spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",))

    def ports(given: tuple[NetworkPolicyPort, ...]) -> tuple[NetworkPolicyPort, ...]:
        return tuple(
            replace(port, protocol="TCP") if port.protocol is None else port for port in given
        )

    spec = replace(
        spec,
        policy_types=types,
        ingress=tuple(replace(rule, ports=ports(rule.ports)) for rule in spec.ingress),
        egress=tuple(replace(rule, ports=ports(rule.ports)) for rule in spec.egress),
    )
    return replace(obj, spec=spec)


def _subject(subject: Subject) -> Subject:
    return fill(subject, api_group=GROUP) if subject.kind in ("User", "Group") else subject


def role_binding(obj: RoleBinding) -> RoleBinding:
    """Users, groups and roles are of RBAC's own group."""
    role = fill(obj.role_ref, api_group=GROUP)
    return replace(obj, role_ref=role, subjects=tuple(_subject(s) for s in obj.subjects))


def cluster_role_binding(obj: ClusterRoleBinding) -> ClusterRoleBinding:
    """As for a RoleBinding."""
    role = fill(obj.role_ref, api_group=GROUP)
    return replace(obj, role_ref=role, subjects=tuple(_subject(s) for s in obj.subjects))


def priority_class(obj: PriorityClass) -> PriorityClass:
    """Pods of the class may push others out."""
    return fill(obj, preemption_policy="PreemptLowerPriority")


def limit_range(obj: LimitRange) -> LimitRange:
    """Of containers: the default limit is the maximum, the default request the default limit or the minimum."""
    items = []
    for item in obj.spec.limits:
        names = ("max", "min", "default", "default_request", "max_limit_request_ratio")
        amounts = {name: defaults_pod.canonical(getattr(item, name)) for name in names}
        if item.type == "Container":
            default = {**amounts["max"], **amounts["default"]}
            request = {**amounts["min"], **default, **amounts["default_request"]}
            amounts |= {"default": default, "default_request": request}
        items.append(replace(item, **amounts))
    return replace(obj, spec=replace(obj.spec, limits=tuple(items)))
