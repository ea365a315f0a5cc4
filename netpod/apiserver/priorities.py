"""A pod's priority, from the PriorityClass it names or the cluster's default one.

Source: plugin/pkg/admission/priority/admission.go.
"""

import functools
from collections.abc import Callable
from typing import cast

from netpod.api import codec, memo, registry, structs
from netpod.api.meta import Object
from netpod.api.pod import Pod, PodSpec
from netpod.api.policy import PriorityClass
from netpod.api.validate_policy import SYSTEM_PRIORITIES
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT

PODS = registry.of(Pod)
CLASSES = registry.of(PriorityClass)
PREEMPTS = "PreemptLowerPriority"


async def of_class(store: Storage, obj: Object) -> Object:
    """Give a new pod its class, priority and preemption policy.

    Raises:
        Forbidden: there is no such class, or the author wrote another priority or policy than the class's.
    """
    pod = cast(Pod, obj)
    spec = pod.spec
    name, value, policy = await _class(store, pod)
    if spec.priority is not None and spec.priority != value:
        cause = (
            f"the integer value of priority ({spec.priority}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise storage.forbidden(PODS, pod.metadata.name, cause)
    if spec.preemption_policy and spec.preemption_policy != policy:
        cause = (
            f"the string value of PreemptionPolicy ({spec.preemption_policy}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
        raise storage.forbidden(PODS, pod.metadata.name, cause)
    return structs.replace(pod, spec=_filled(name, value, policy)(spec))


def kept(new: Pod, old: Pod) -> Pod:
    """A pod whose writer left priority or preemption policy out keeps those it has."""
    wanted, found = new.spec, old.spec
    priority = found.priority if wanted.priority is None else wanted.priority
    policy = wanted.preemption_policy or found.preemption_policy
    spec = structs.replace(wanted, priority=priority, preemption_policy=policy)
    return structs.replace(new, spec=spec)


async def _class(store: Storage, pod: Pod) -> tuple[str, int, str]:
    """Return name, priority and preemption policy of the pod's class."""
    wanted = pod.spec.priority_class_name
    if wanted:
        kv = await store.find(CLASSES, "", wanted, not_older_than=RECENT)
        if kv is not None:
            found = cast(PriorityClass, objects.unpack(CLASSES, kv))
            return wanted, found.value, found.preemption_policy or PREEMPTS
        if wanted in SYSTEM_PRIORITIES:
            return wanted, SYSTEM_PRIORITIES[wanted], PREEMPTS
        cause = f"no PriorityClass with name {wanted} was found"
        raise storage.forbidden(PODS, pod.metadata.name, cause)
    page = await store.list(CLASSES, not_older_than=RECENT)
    return _default(tuple([kv.value for kv in page.items]))


@functools.lru_cache(maxsize=16)
def _default(classes: tuple[bytes, ...]) -> tuple[str, int, str]:
    """The class of pods that name none, among the stored ones: name, priority and preemption policy."""
    found = [
        codec.from_json(PriorityClass, value) for value in classes if b"globalDefault" in value
    ]
    default = min((it for it in found if it.global_default), key=lambda it: it.value, default=None)
    if default is None:
        return "", 0, PREEMPTS
    return default.metadata.name, default.value, default.preemption_policy or PREEMPTS


@functools.lru_cache(maxsize=64)
def _filled(name: str, value: int, policy: str) -> Callable[[PodSpec], PodSpec]:
    """Return what fills a class in; one function per class, so that pods of a template go on sharing their spec."""

    def fill(spec: PodSpec) -> PodSpec:
        return structs.replace(
            spec, priority_class_name=name, priority=value, preemption_policy=policy
        )

    return memo.by_identity(fill)
