"""What an object counts for in a ResourceQuota, and which quotas it falls under (pure).

Source: kubernetes pkg/quota/v1/evaluator/core/{pods,services,persistent_volume_claims}.go, generic/evaluator.go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from netpod.api import meta, podamounts, quantity
from netpod.api.meta import IntOrString, Object
from netpod.api.pod import Pod, PodSpec
from netpod.api.policy import ResourceQuota
from netpod.api.quantity import Format
from netpod.api.registry import Resource
from netpod.api.service import Service
from netpod.api.storage import PersistentVolumeClaim

ONE = Fraction(1)
COMPUTE = ("cpu", "memory", "ephemeral-storage")
REQUIRED = frozenset(
    {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
)
"""What each container must name when a quota limits it."""

COUNTED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)
"""Kinds that are counted under their plain name too."""

CLASS = ".storageclass.storage.k8s.io/"
Amounts = Mapping[str, Fraction]


def of(resource: Resource, obj: Object, now: datetime) -> dict[str, Fraction]:
    """All an object counts for, by the names that a quota's `hard` may have."""
    found = {f"count/{resource.qualified}": ONE}
    if not resource.group and resource.plural in COUNTED:
        found[resource.plural] = ONE
    if isinstance(obj, Pod):
        if not _ended(obj, now):
            found |= {"pods": ONE} | _compute(obj.spec)
    elif isinstance(obj, Service):
        found |= _service(obj)
    elif isinstance(obj, PersistentVolumeClaim):
        found |= _claim(obj)
    return found


def _ended(pod: Pod, now: datetime) -> bool:
    """Whether a pod uses nothing any more, or should have stopped long ago."""
    if pod.status.phase in ("Succeeded", "Failed"):
        return True
    metadata = pod.metadata
    if not metadata.deletion_timestamp or metadata.deletion_grace_period_seconds is None:
        return False
    grace = timedelta(seconds=metadata.deletion_grace_period_seconds)
    return now > meta.parse_timestamp(metadata.deletion_timestamp) + grace


def _compute(spec: PodSpec) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for name, value in podamounts.requests(spec).items():
        if name in COMPUTE or name.startswith("hugepages-"):
            found[name] = value
        found[f"requests.{name}"] = value
    for name, value in podamounts.limits(spec).items():
        if name in COMPUTE:
            found[f"limits.{name}"] = value
    return found


def _service(service: Service) -> dict[str, Fraction]:
    spec = service.spec
    balanced = spec.type == "LoadBalancer"
    ports = len(spec.ports)
    node_ports = ports if spec.type == "NodePort" else 0
    if balanced:
        without = spec.allocate_load_balancer_node_ports is False
        node_ports = sum(1 for port in spec.ports if port.node_port) if without else ports
    return {
        "services.nodeports": Fraction(node_ports),
        "services.loadbalancers": Fraction(int(balanced)),
    }


def _claim(claim: PersistentVolumeClaim) -> dict[str, Fraction]:
    spec = claim.spec
    wanted = podamounts.exact(spec.resources.requests).get("storage", Fraction(0))
    found = {"requests.storage": wanted}
    if spec.storage_class_name:
        found[f"{spec.storage_class_name}{CLASS}requests.storage"] = wanted
        found[f"{spec.storage_class_name}{CLASS}persistentvolumeclaims"] = ONE
    return found


def concerns(quota: ResourceQuota, obj: Object) -> bool:
    """Whether an object falls under a quota: scopes choose among pods, and nothing else has one."""
    spec = quota.spec
    wanted: list[Mapping[str, Any]] = [
        {"scopeName": name, "operator": "Exists"} for name in spec.scopes
    ]
    selector = spec.scope_selector or {}
    wanted += [item for item in selector.get("matchExpressions") or () if isinstance(item, Mapping)]
    if not wanted:
        return True
    return isinstance(obj, Pod) and all(_in_scope(obj, item) for item in wanted)


def _in_scope(pod: Pod, wanted: Mapping[str, Any]) -> bool:
    spec = pod.spec
    match wanted.get("scopeName"):
        case "Terminating":
            return spec.active_deadline_seconds is not None
        case "NotTerminating":
            return spec.active_deadline_seconds is None
        case "BestEffort":
            return _best_effort(spec)
        case "NotBestEffort":
            return not _best_effort(spec)
        case "PriorityClass":
            return _matches(spec.priority_class_name, wanted)
        case "CrossNamespacePodAffinity":
            return _crosses(spec)
    return False


def _matches(value: str, wanted: Mapping[str, Any]) -> bool:
    values = wanted.get("values") or ()
    match wanted.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return bool(value) and value not in values
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
    return False


def _best_effort(spec: PodSpec) -> bool:
    everything = (*spec.containers, *spec.init_containers)
    return not any(c.resources.requests or c.resources.limits for c in everything)


def _crosses(spec: PodSpec) -> bool:
    if spec.affinity is None:
        return False
    kinds = (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity)
    return any("namespaces" in str(kind) for kind in kinds if kind)


def missing(pod: Pod, hard: Iterable[str]) -> str:
    """What containers fail to name of the resources a quota limits: `cpu for: c; memory for: c`, or ""."""
    wanted = sorted(REQUIRED & set(hard))
    found = []
    for name in wanted:
        kind, _, plain = name.rpartition(".")
        lacking = sorted(
            c.name
            for c in (*pod.spec.containers, *pod.spec.init_containers)
            if plain not in (c.resources.limits if kind == "limits" else c.resources.requests)
        )
        if lacking:
            found.append(f"{name} for: {','.join(lacking)}")
    return "; ".join(found)


def add(amounts: Iterable[Amounts]) -> dict[str, Fraction]:
    """The sum by name."""
    total: dict[str, Fraction] = {}
    for each in amounts:
        for name, value in each.items():
            total[name] = total[name] + value if name in total else value
    return total


def written(name: str, amount: Fraction, hard: Mapping[str, IntOrString]) -> str:
    """An amount as text, in the form in which the quota writes it: binary suffixes for memory and storage."""
    style = Format.DECIMAL_SI
    if quantity.is_binary(hard.get(name, "")) or name.rpartition(".")[2] in ("memory", "storage"):
        style = Format.BINARY_SI
    return quantity.format(amount, style)
