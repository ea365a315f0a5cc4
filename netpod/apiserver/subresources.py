"""scale of workloads and binding of pods; status and finalize are strategies in writes.py.

Source: pkg/registry/apps/deployment/storage/storage.go ScaleREST; pkg/registry/core/pod/storage/storage.go
BindingREST.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from netpod import errors
from netpod.api import codec, meta, registry
from netpod.api.apps import Deployment, ReplicaSet, Scale, ScaleSpec, ScaleStatus
from netpod.api.core import Binding
from netpod.api.meta import Condition, Json, LabelSelector
from netpod.api.pod import Pod
from netpod.apiserver import kinds, managed, negotiation, objects, status, storage
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.writes import Writer
from netpod.store.store import KeyValue

SCALE = registry.Resource(
    group="autoscaling", version="v1", kind="Scale", plural="scales", at=Scale
)
PODS = registry.of(Pod)
OPERATORS = {"In": "in", "NotIn": "notin"}


def selector_text(selector: LabelSelector | Mapping[str, str] | None) -> str:
    """A label selector in the form of a query, e.g. `app=web,tier in (a,b)`."""
    if selector is None:
        return ""
    if isinstance(selector, Mapping):
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [(key, f"{key}={value}") for key, value in selector.match_labels.items()]
    for one in selector.match_expressions:
        if one.operator in OPERATORS:
            text = f"{one.key} {OPERATORS[one.operator]} ({','.join(sorted(one.values))})"
        else:
            text = f"!{one.key}" if one.operator == "DoesNotExist" else one.key
        parts.append((one.key, text))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def no_scale(resource: registry.Resource, name: str) -> errors.NotFound:
    """`deployments/scale.apps "x" not found`: reading the scale of what is not there."""
    kind, group = f"{resource.plural}/scale", resource.group or SCALE.group
    return errors.NotFound(
        f'{kind}.{group} "{name}" not found', details={"name": name, "group": group, "kind": kind}
    )


def scale_of(resource: registry.Resource, kv: KeyValue) -> dict[str, Json]:
    """The Scale of a stored workload, or of an object of a custom kind."""
    if resource.custom is not None:
        return _custom_scale(resource, kv)
    workload = cast(Deployment | ReplicaSet, objects.unpack(resource, kv))
    metadata = workload.metadata
    scale = Scale(
        metadata=meta.ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=_replicas(workload)),
        status=ScaleStatus(
            replicas=workload.status.replicas, selector=selector_text(workload.spec.selector)
        ),
    )
    return {"spec": {}, **codec.encode(scale)}


def _custom_scale(resource: registry.Resource, kv: KeyValue) -> dict[str, Json]:
    data, kind = objects.plain(kv), resource.custom
    found = kind.dig(data, kind.selector) if kind.selector else ""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status = {"replicas": kind.dig(data, kind.status_replicas) or 0}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: data["metadata"][name] for name in kept if name in data["metadata"]},
        "spec": {"replicas": kind.dig(data, kind.replicas) or 0},
        "status": {**status, **({"selector": found} if found else {})},
    }


def _scaled(resource: registry.Resource, kv: KeyValue, replicas: int) -> Any:
    """The stored object with another number of replicas."""
    if resource.custom is not None:
        data = objects.plain(kv)
        resource.custom.put(data, resource.custom.replicas, replicas)
        return codec.decode(resource.cls, data)
    workload = cast(Any, objects.unpack(resource, kv))
    spec = dataclasses.replace(workload.spec, replicas=replicas)
    return dataclasses.replace(workload, spec=spec)


def _replicas(workload: Deployment | ReplicaSet) -> int:
    return 1 if workload.spec.replicas is None else workload.spec.replicas


def _scale(data: dict[str, Json], name: str) -> Scale:
    kinds.check(SCALE, data.get("apiVersion") or SCALE.api_version, data.get("kind") or SCALE.kind)
    try:
        scale = codec.decode(Scale, data)
    except errors.BadRequest as wrong:
        raise kinds.undecodable(SCALE, wrong) from wrong
    kinds.check_name(scale.metadata.name, name)
    if scale.spec.replicas < 0:
        error = errors.FieldError(
            field="spec.replicas",
            reason="FieldValueInvalid",
            message=f"Invalid value: {scale.spec.replicas}: must be greater than or equal to 0",
        )
        raise status.invalid("Scale", "autoscaling", name, [error])
    return scale


def scaling(resource: registry.Resource, name: str, applied: dict[str, Json]) -> dict[str, Json]:
    """What an applied Scale says of the object that it scales, as if that had been applied.

    Raises:
        BadRequest: what is applied is no Scale.
        Invalid: replicas is negative.
    """
    _scale(applied, name)
    said = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": applied["metadata"],
    }
    spec = applied.get("spec") or {}
    if "replicas" in spec:
        if resource.custom is not None:
            resource.custom.put(said, resource.custom.replicas, spec["replicas"])
        else:
            said["spec"] = {"replicas": spec["replicas"]}
    return said


async def update_scale(writer: Writer, call: Call, data: dict[str, Json]) -> Reply:
    """Set a workload's replicas from a Scale.

    Raises:
        BadRequest: the body is no Scale.
        Invalid: replicas is negative.
        Conflict, NotFound.
    """
    route = call.route
    scale = _scale(data, route.name)
    kv = await writer.storage.get(route.resource, route.namespace, route.name)
    new = _scaled(route.resource.storage, kv, scale.spec.replicas)
    wanted = scale.metadata
    metadata = dataclasses.replace(
        new.metadata, resource_version=wanted.resource_version, uid=wanted.uid or new.metadata.uid
    )
    new = managed.updated(call, kv, dataclasses.replace(new, metadata=metadata), "scale")
    resource = route.resource.storage
    kv = await writer.replace(resource, kv, new, subresource="scale", dry_run=call.dry_run)
    return Reply(body=negotiation.dump(scale_of(route.resource, kv)))


async def bind(writer: Writer, call: Call) -> Reply:
    """POST of a Binding: the pod goes to the target node, once.

    Raises:
        Conflict: the pod has a node already, is being deleted, or has another uid.
        BadRequest, NotFound.
    """
    route = call.route
    binding = codec.decode(Binding, negotiation.body(call.body, call.content_type))
    if binding.metadata.name != route.name:
        raise errors.BadRequest("name in URL does not match name in Binding object")
    _check_target(binding)
    for _ in range(10):
        kv = await writer.storage.get(PODS, route.namespace, route.name)
        pod = cast(Pod, objects.unpack(PODS, kv))
        _check_binding(pod, binding)
        try:
            await writer.storage.replace(
                PODS, kv, _bound(pod, writer, binding), dry_run=call.dry_run
            )
        except errors.Conflict:
            continue
        return Reply(status=201, body=status.CREATED)
    raise storage.conflict(PODS, route.name, storage.MODIFIED)


def _check_target(binding: Binding) -> None:
    """Source: pkg/apis/core/validation ValidatePodBinding."""
    target = binding.target
    found = []
    if target.kind not in ("", "Node"):
        told = f'Unsupported value: "{target.kind}": supported values: "Node", "<empty>"'
        found.append(("target.kind", "FieldValueNotSupported", told))
    if not target.name:
        found.append(("target.name", "FieldValueRequired", "Required value"))
    if found:
        faults = [errors.FieldError(field=f, reason=r, message=m) for f, r, m in found]
        raise status.invalid("Binding", "", binding.metadata.name, faults)


def _check_binding(pod: Pod, binding: Binding) -> None:
    name = pod.metadata.name
    wanted = binding.metadata
    if wanted.uid and wanted.uid != pod.metadata.uid:
        cause = (
            f"Precondition failed: UID in precondition: {wanted.uid}, "
            f"UID in object meta: {pod.metadata.uid}"
        )
    elif pod.metadata.deletion_timestamp:
        cause = f"pod {name} is being deleted, cannot be assigned to a host"
    elif pod.spec.node_name:
        cause = f'pod {name} is already assigned to node "{pod.spec.node_name}"'
    elif pod.spec.scheduling_gates:
        cause = f"pod {name} has non-empty .spec.schedulingGates"
    else:
        return
    raise errors.Conflict(
        f'Operation cannot be fulfilled on pods/binding "{name}": {cause}',
        details={"name": name, "kind": "pods/binding"},
    )


def _bound(pod: Pod, writer: Writer, binding: Binding) -> Pod:
    scheduled = Condition(
        type="PodScheduled",
        status="True",
        last_transition_time=meta.timestamp(writer.now()),
    )
    others = tuple(c for c in pod.status.conditions if c.type != "PodScheduled")
    annotations = {**pod.metadata.annotations, **binding.metadata.annotations}
    return dataclasses.replace(
        pod,
        metadata=dataclasses.replace(pod.metadata, annotations=annotations),
        spec=dataclasses.replace(pod.spec, node_name=binding.target.name),
        status=dataclasses.replace(pod.status, conditions=(*others, scheduled)),
    )
