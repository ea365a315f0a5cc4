"""Plug-in RuntimeClass: a pod that names a class gets its overhead and goes where the class runs.

Source: plugin/pkg/admission/runtimeclass/admission.go.
"""

from collections.abc import Mapping
from typing import Any, cast

from netpod.api import codec, registry, structs
from netpod.api.meta import Object
from netpod.api.pod import Pod, Toleration
from netpod.api.storage import RuntimeClass
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.errors import Forbidden
from netpod.store.store import RECENT

_CLASSES = registry.of(RuntimeClass)
_PODS = registry.of(Pod)


async def apply(store: Storage, obj: Object) -> Object:
    """Return the pod with what its class adds.

    Raises:
        Forbidden: there is no such class, or the pod contradicts it.
    """
    pod = cast(Pod, obj)
    spec, name = pod.spec, pod.spec.runtime_class_name
    if not name:
        if spec.overhead:
            raise _rejected(
                pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        return pod
    kv = await store.find(_CLASSES, "", name, not_older_than=RECENT)
    if kv is None:
        raise _rejected(pod, f'RuntimeClass "{name}" not found')
    found = cast(RuntimeClass, objects.unpack(_CLASSES, kv))
    overhead = _mapping(_mapping(found.overhead).get("podFixed"))
    if spec.overhead and dict(spec.overhead) != dict(overhead):
        what = "Overhead" if overhead else "corresponding RuntimeClass defined Overhead"
        raise _rejected(pod, f"Pod's Overhead doesn't match RuntimeClass's defined {what}")
    where = _mapping(found.scheduling)
    selector = _mapping(where.get("nodeSelector"))
    for key, value in selector.items():
        if spec.node_selector.get(key, value) != value:
            raise storage.forbidden(
                _PODS,
                pod.metadata.name,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                f" pod.spec.nodeSelector[{key}] = {spec.node_selector[key]}",
            )
    more = [codec.decode(Toleration, each) for each in where.get("tolerations") or ()]
    changed = structs.replace(
        spec,
        overhead=overhead or spec.overhead,
        node_selector={**spec.node_selector, **selector} if selector else spec.node_selector,
        tolerations=(*spec.tolerations, *(it for it in more if it not in spec.tolerations)),
    )
    return structs.replace(pod, spec=changed)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rejected(pod: Pod, why: str) -> Forbidden:
    return storage.forbidden(_PODS, pod.metadata.name, f"pod rejected: {why}")
