"""Default, mutate, validate: what happens to every object between the request and the store, in this order.

The mutators are a table by kind, in order; each is upstream's admission plug-in or registry strategy of that name.
Validation comes last, so that it sees what will be stored.

Source: k8s.io/apiserver pkg/admission; plugin/pkg/admission/*; pkg/registry/*/strategy.go.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from netpod.api import defaults, defaults_service, memo, registry, structs, validation
from netpod.api.core import Namespace
from netpod.api.meta import Condition, LabelSelector, Object
from netpod.api.networking import Ingress, IngressClass
from netpod.api.pod import Pod, PodSpec, Toleration
from netpod.api.pod_status import PodStatus
from netpod.api.service import Service
from netpod.api.storage import PersistentVolumeClaim
from netpod.api.validate_errors import UNREADABLE
from netpod.apiserver import (
    automount,
    claimadmission,
    limitranger,
    objects,
    priorities,
    runtimeclasses,
    status,
    storage,
)
from netpod.apiserver.storage import Storage
from netpod.errors import ApiError, BadRequest, FieldError, NotFound
from netpod.store.store import RECENT

if TYPE_CHECKING:
    from netpod.api.batch import Job
    from netpod.api.workloads import DaemonSet

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
KUBERNETES = "kubernetes"
"""The finalizer in a namespace's spec that the namespace controller removes."""

Mutator = Callable[[Storage, Object], Awaitable[Object]]

NAMESPACES = registry.of(Namespace)
_INGRESS_CLASSES = registry.of(IngressClass)

TOLERATION_SECONDS = 300
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


async def default_tolerations(storage: Storage, obj: Object) -> Object:
    """A pod stays 300 s on a node that stopped answering (plug-in DefaultTolerationSeconds)."""
    pod = cast(Pod, obj)
    if storage.toleration_seconds != TOLERATION_SECONDS:
        return structs.replace(pod, spec=_tolerating(pod.spec, storage.toleration_seconds))
    return structs.replace(pod, spec=_with_tolerations(pod.spec))


@memo.by_identity
def _with_tolerations(spec: PodSpec) -> PodSpec:
    return _tolerating(spec, TOLERATION_SECONDS)


def _tolerating(spec: PodSpec, seconds: int) -> PodSpec:
    added = tuple(
        Toleration(
            key=key,
            operator="Exists",
            effect="NoExecute",
            toleration_seconds=seconds,
        )
        for key in _TOLERATED
        if not any(t.key in (key, "") and t.effect in ("NoExecute", "") for t in spec.tolerations)
    )
    return structs.replace(spec, tolerations=spec.tolerations + added) if added else spec


_GATED = Condition(
    type="PodScheduled",
    status="False",
    reason="SchedulingGated",
    message="Scheduling is blocked due to non-empty scheduling gates",
)


async def pending(_: Storage, obj: Object) -> Object:
    """A new pod is Pending, whatever its author wrote (strategy of pods)."""
    pod = cast(Pod, obj)
    return structs.replace(pod, status=_pending_status(pod.spec))


@memo.by_identity
def _pending_status(spec: PodSpec) -> PodStatus:
    return PodStatus(
        phase="Pending",
        qos_class=_qos_class(spec),
        conditions=(_GATED,) if spec.scheduling_gates else (),
    )


def _qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort. Source: pkg/apis/core/v1/helper/qos/qos.go."""
    containers = spec.containers + spec.init_containers
    amounts = [(c.resources.requests, c.resources.limits) for c in containers]
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    if all(
        {"cpu", "memory"} <= set(limits) and (not requests or dict(requests) == dict(limits))
        for requests, limits in amounts
    ):
        return "Guaranteed"
    return "Burstable"


async def default_ingress_class(store: Storage, obj: Object) -> Object:
    """An Ingress without a class gets the newest default one (plug-in DefaultIngressClass)."""
    ingress = cast(Ingress, obj)
    if (
        ingress.spec.ingress_class_name is not None
        or "kubernetes.io/ingress.class" in ingress.metadata.annotations
    ):
        return ingress
    page = await store.list(_INGRESS_CLASSES, not_older_than=RECENT)
    classes = [
        (meta["creationTimestamp"], meta["name"])
        for meta in (objects.parsed(kv)["metadata"] for kv in page.items)
        if meta.get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    if not classes:
        return ingress
    newest = max(created for created, _ in classes)
    name = min(name for created, name in classes if created == newest)
    spec = structs.replace(ingress.spec, ingress_class_name=name)
    return structs.replace(ingress, spec=spec)


async def active_namespace(_: Storage, obj: Object) -> Object:
    """A new namespace is Active, labelled with its name, and kept until its content is gone."""
    namespace = cast(Namespace, obj)
    labels = {**namespace.metadata.labels, "kubernetes.io/metadata.name": namespace.metadata.name}
    finalizers = namespace.spec.finalizers
    if KUBERNETES not in finalizers:
        finalizers = (*finalizers, KUBERNETES)
    return structs.replace(
        namespace,
        metadata=structs.replace(namespace.metadata, labels=labels),
        spec=structs.replace(namespace.spec, finalizers=finalizers),
        status=structs.replace(namespace.status, phase="Active", conditions=()),
    )


async def own_selector(_: Storage, obj: Object) -> Object:
    """A Job's pods carry its uid, and the Job selects them by it (strategy of jobs)."""
    job = cast("Job", obj)
    if job.spec.manual_selector:
        return job
    uid, name = job.metadata.uid, job.metadata.name
    template = job.spec.template
    labels = {
        **template.metadata.labels,
        "controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    }
    metadata = structs.replace(template.metadata, labels=labels)
    selector = LabelSelector(match_labels={"batch.kubernetes.io/controller-uid": uid})
    spec = structs.replace(
        job.spec, selector=selector, template=structs.replace(template, metadata=metadata)
    )
    own = job.metadata
    # A Job without labels has its template's, and in upstream's memory they are one thing with them.
    if not own.labels or own.labels is template.metadata.labels:
        own = structs.replace(own, labels=labels)
    return structs.replace(job, metadata=own, spec=spec)


async def define(store: Storage, obj: Object) -> Object:
    """A definition of a kind is established at once (controllers of apiextensions)."""
    from netpod.apiserver import customkinds

    return await customkinds.define(store, obj)


def template_generation(new: "DaemonSet", old: "DaemonSet | None") -> "DaemonSet":
    """A DaemonSet counts changes of its template, in an annotation that its author does not decide.

    Source: pkg/apis/apps/v1/conversion.go, pkg/registry/apps/daemonset/strategy.go.
    """
    before = old.metadata.annotations.get(TEMPLATE_GENERATION, "") if old is not None else ""
    count = int(before) if before.isdecimal() else 0
    if old is None or new.spec.template != old.spec.template:
        count += 1
    annotations = {**new.metadata.annotations, TEMPLATE_GENERATION: str(count)}
    metadata = structs.replace(new.metadata, annotations=annotations)
    return structs.replace(new, metadata=metadata)


ON_CREATE: dict[str, tuple[Mutator, ...]] = {
    "Namespace": (active_namespace,),
    "Pod": (
        limitranger.default,
        automount.account,
        default_tolerations,
        priorities.of_class,
        runtimeclasses.apply,
        pending,
    ),
    "PersistentVolumeClaim": (claimadmission.default_class, claimadmission.protect),
    "PersistentVolume": (claimadmission.protect_volume,),
    "Ingress": (default_ingress_class,),
    "Job": (own_selector,),
    "CustomResourceDefinition": (define,),
}
ON_UPDATE: dict[str, tuple[Mutator, ...]] = {
    "Pod": (default_tolerations,),
    "CustomResourceDefinition": (define,),
}


async def admit_create(store: Storage, resource: registry.Resource, obj: Object) -> Object:
    """The object as it will be created.

    Raises:
        NotFound: its namespace does not exist.
        Forbidden: its namespace is being deleted, or a policy of the namespace forbids it.
        Invalid: fields are wrong; all of them are named.
    """
    if resource.namespaced:
        await _check_namespace(store, resource, obj)
    if resource.custom is not None:
        found = validation.validate_custom(obj, namespaced=resource.namespaced)
        _raise(resource, obj, found)
        return obj
    obj = defaults.apply_defaults(obj)
    if isinstance(obj, Service):
        obj = defaults_service.keep_allocated(obj, None)
    if resource.kind == "DaemonSet":
        obj = template_generation(cast("DaemonSet", obj), None)
    for mutate in ON_CREATE.get(resource.kind, ()):
        obj = await mutate(store, obj)
    _raise(resource, obj, validation.validate_create(obj))
    await limitranger.check(store, resource, obj)
    return obj


async def admit_update(
    store: Storage, resource: registry.Resource, new: Object, old: Object
) -> Object:
    """The object as it will replace `old`.

    Raises:
        Invalid: fields are wrong, or may not change; all of them are named.
    """
    if resource.custom is not None:
        found = validation.validate_custom(new, old, namespaced=resource.namespaced)
        _raise(resource, new, found)
        return new
    new = defaults.apply_defaults(new)
    if isinstance(new, Service) and isinstance(old, Service):
        new = defaults_service.keep_allocated(new, old)
        new = defaults_service.drop_type_dependent(new, old)
    if isinstance(new, Pod) and isinstance(old, Pod):
        new = priorities.kept(new, old)
    if resource.kind == "DaemonSet":
        new = template_generation(cast("DaemonSet", new), cast("DaemonSet", old))
    for mutate in ON_UPDATE.get(resource.kind, ()):
        new = await mutate(store, new)
    _raise(resource, new, validation.validate_update(new, old))
    if isinstance(new, PersistentVolumeClaim) and isinstance(old, PersistentVolumeClaim):
        await claimadmission.check_growth(store, new, old)
    return new


def admit_status(resource: registry.Resource, new: Object, old: Object) -> None:
    """Look at the status an object gets.

    Raises:
        Invalid: fields are wrong; all of them are named.
    """
    if resource.custom is None:
        _raise(resource, new, validation.validate_status(new, old))


async def admit_debug(
    store: Storage, resource: registry.Resource, new: Object, old: Object
) -> Object:
    """The pod with containers added for looking into it.

    Raises:
        Invalid: they are wrong, or one that is there would change or go.
    """
    pod = cast(Pod, defaults.apply_defaults(new))
    _raise(resource, pod, validation.validate_debug(pod, cast(Pod, old)))
    return pod


def _raise(resource: registry.Resource, obj: Object, found: list[FieldError]) -> None:
    for wrong in found:
        if wrong.reason == UNREADABLE:
            kind = resource.kind
            raise BadRequest(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {wrong}'
            )
    if found:
        raise status.invalid(resource.kind, resource.group, obj.metadata.name, found)


async def _check_namespace(store: Storage, resource: registry.Resource, obj: Object) -> None:
    """Plug-in NamespaceLifecycle."""
    namespace = obj.metadata.namespace
    kv = await store.find(NAMESPACES, "", namespace, not_older_than=RECENT)
    if kv is None:
        raise NotFound(
            f'namespaces "{namespace}" not found', details=storage.details(NAMESPACES, namespace)
        )
    if objects.parsed(kv).get("status", {}).get("phase") == "Terminating":
        error: ApiError = storage.forbidden(
            resource,
            obj.metadata.name,
            f"unable to create new content in namespace {namespace} because it is being terminated",
        )
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        error.details = {**error.details, "causes": [cause]}
        raise error
