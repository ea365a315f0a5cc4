"""delete and deletecollection: at once, gracefully, or when the last finalizer goes.

    pod on a node                deletionTimestamp and grace period; the kubelet deletes it again with grace 0
    finalizers left              deletionTimestamp; goes with the update that removes the last one
    propagationPolicy            Foreground and Orphan add a finalizer that the garbage collector removes
    namespace                    Terminating; goes when spec.finalizers is empty

Source: k8s.io/apiserver pkg/registry/rest/delete.go, pkg/registry/generic/registry/store.go; pod strategy.go;
pkg/registry/core/namespace/storage/storage.go.
"""

import dataclasses
from datetime import timedelta

from netpod import errors
from netpod.api import meta, registry
from netpod.api.core import Namespace
from netpod.api.meta import Object
from netpod.api.pod import Pod
from netpod.apiserver import calls, objects, reading, selection, status, storage, writeoptions
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.writeoptions import DeleteOptions
from netpod.apiserver.writes import Writer, may_go
from netpod.store.store import KeyValue

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
POLICY_FINALIZERS = {"Orphan": ORPHAN, "Foreground": FOREGROUND}
JOBS = "jobs.batch"
ORPHANING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
    "set propagationPolicy=Orphan to suppress this warning"
)
"""Jobs leave their pods alone unless told otherwise. Source: pkg/registry/batch/job/storage/storage.go."""
KEPT_NAMESPACES = ("default", "kube-system", "kube-public")
DEFAULT_GRACE = 30
ATTEMPTS = 10


async def delete(writer: Writer, call: Call) -> Reply:
    """DELETE on an object.

    Returns:
        The object while it waits for something, else a Status.

    Raises:
        NotFound, Conflict (a precondition does not hold), Forbidden (a namespace every cluster needs).
    """
    route = call.route
    options = writeoptions.delete_options(call)
    kv, gone = await delete_one(writer, route.resource, route.namespace, route.name, options)
    orphaning = route.resource.qualified == JOBS and not options.propagation_policy
    headers = (calls.warning(ORPHANING),) if orphaning else ()
    if gone and route.resource.cls is not Pod:
        uid = str(objects.parsed(kv)["metadata"].get("uid", ""))
        return Reply(body=status.success(route.resource, route.name, uid), headers=headers)
    return Reply(body=objects.wire(route.resource, kv), headers=headers)


async def delete_collection(writer: Writer, call: Call) -> Reply:
    """DELETE on a collection: each object the selectors choose, as of now.

    Returns:
        The list of what was deleted.
    """
    route = call.route
    options = writeoptions.delete_options(call)
    chosen = selection.of_call(call)
    page = await writer.storage.list(route.resource, route.namespace)
    deleted = []
    for kv in page.items:
        if not chosen.matches(kv):
            continue
        _, namespace, name = kv.key.rsplit("/", 2)
        try:
            await delete_one(
                writer,
                route.resource,
                namespace if route.resource.namespaced else "",
                name,
                options,
            )
        except errors.NotFound:
            continue
        deleted.append(kv)
    return Reply(body=reading.list_body(route.resource, deleted, writer.storage.revision))


async def delete_one(
    writer: Writer, resource: registry.Resource, namespace: str, name: str, options: DeleteOptions
) -> tuple[KeyValue, bool]:
    """Delete an object, or begin to.

    Returns:
        The object as it is now or was last, and whether it is gone.
    """
    wanted = options.preconditions
    for attempt in range(ATTEMPTS):
        kv = await writer.storage.get(resource, namespace, name)
        obj = objects.unpack(resource, kv)
        if wanted.uid and wanted.uid != obj.metadata.uid:
            raise _unmet(resource, name, "UID", wanted.uid, obj.metadata.uid)
        if wanted.resource_version and wanted.resource_version != obj.metadata.resource_version:
            version = obj.metadata.resource_version
            raise _unmet(resource, name, "ResourceVersion", wanted.resource_version, version)
        if isinstance(obj, Namespace) and name in KEPT_NAMESPACES:
            raise storage.forbidden(resource, name, "this namespace may not be deleted")
        try:
            return await _delete(writer, resource, kv, obj, options)
        except errors.Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the loop returns or raises")


_CAUSES = {
    "UID": "The object might have been deleted and then recreated",
    "ResourceVersion": "The object might have been modified",
}


def _unmet(
    resource: registry.Resource, name: str, what: str, wanted: str, found: str
) -> errors.Conflict:
    """What is said when a precondition does not hold."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    return errors.Conflict(
        f'Operation cannot be fulfilled on {kind} "{name}": the {what} in the precondition ({wanted}) '
        f"does not match the {what} in record ({found}). {_CAUSES[what]}",
        details=details,
    )


async def _delete(
    writer: Writer,
    resource: registry.Resource,
    kv: KeyValue,
    obj: Object,
    options: DeleteOptions,
) -> tuple[KeyValue, bool]:
    before = obj.metadata
    grace = _grace(obj, options)
    policy = options.propagation_policy
    if (
        not policy
        and resource.qualified == JOBS
        and not set(POLICY_FINALIZERS.values()).intersection(before.finalizers)
    ):
        policy = "Orphan"
    marked = dataclasses.replace(
        obj,
        metadata=dataclasses.replace(
            before,
            finalizers=_finalizers(before.finalizers, policy),
            deletion_timestamp=before.deletion_timestamp
            if before.deletion_timestamp and grace == before.deletion_grace_period_seconds
            else meta.timestamp(writer.now() + timedelta(seconds=grace)),
            deletion_grace_period_seconds=None if isinstance(obj, Namespace) else grace,
            generation=before.generation + 1
            if before.generation and not before.deletion_timestamp
            else before.generation,
        ),
    )
    if isinstance(marked, Namespace):
        marked = dataclasses.replace(
            marked, status=dataclasses.replace(marked.status, phase="Terminating")
        )
    if may_go(marked):
        gone = await writer.storage.delete(resource, kv, dry_run=options.dry_run)
        if not options.dry_run:
            writer.forget(obj)
        return gone._replace(value=objects.pack(resource, marked)), True
    if before.deletion_timestamp and before.finalizers == marked.metadata.finalizers:
        known = before.deletion_grace_period_seconds or 0
        if grace >= known:
            return kv, False
    return await writer.storage.replace(resource, kv, marked, dry_run=options.dry_run), False


def _grace(obj: Object, options: DeleteOptions) -> int:
    """Seconds a pod gets to end; 0 for everything else, and for pods nobody runs."""
    if not isinstance(obj, Pod):
        return 0
    if not obj.spec.node_name or obj.status.phase in ("Succeeded", "Failed"):
        return 0
    known = obj.metadata.deletion_grace_period_seconds
    wanted = options.grace_period_seconds
    if wanted is None:
        own = obj.spec.termination_grace_period_seconds
        wanted = known if known is not None else DEFAULT_GRACE if own is None else own
    # A second deletion may shorten the wait, never lengthen it.
    return wanted if known is None else min(wanted, known)


def _finalizers(before: tuple[str, ...], policy: str) -> tuple[str, ...]:
    if not policy:
        return before
    kept = tuple(name for name in before if name not in (ORPHAN, FOREGROUND))
    added = POLICY_FINALIZERS.get(policy)
    return (*kept, added) if added else kept
