"""What every write shares: system metadata, strategies of subresources, deletion by the last finalizer.

Source: k8s.io/apiserver pkg/registry/rest/{create,update}.go, pkg/registry/generic/registry/store.go.
"""

import asyncio
import contextlib
import copy
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

from netpod import errors
from netpod.api import meta, registry, structs
from netpod.api.core import Namespace
from netpod.api.meta import Object
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.apiserver import admission, certificates, managed, objects, status, storage
from netpod.apiserver.alike import Alike, Made
from netpod.apiserver.allocators import Allocators
from netpod.apiserver.quotas import Quotas
from netpod.apiserver.routes import Route
from netpod.apiserver.storage import Storage
from netpod.store.store import KeyValue

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, so no words. Source: k8s.io/apimachinery pkg/util/rand."""

GENERATED_BASE = 58
ATTEMPTS = 8

COUNTED = frozenset(
    {
        "apps",
        "batch",
        "policy",
        "networking.k8s.io",
        "discovery.k8s.io",
        "gateway.networking.k8s.io",
    }
)
"""Groups whose objects count changes of their spec in metadata.generation."""

COUNTED_KINDS = ("Pod", "ReplicationController", "CustomResourceDefinition", "PriorityClass")
UNCHANGING = ("PriorityClass",)
"""Kinds that have a first generation and no other."""

SERVICE = registry.of(Service)
EPHEMERAL = "ephemeralcontainers"


Judge = Callable[[registry.Resource, Object, Object | None], None]
"""Raises Forbidden for a write of an object, over an older one or none, that its writer may not make."""


class Writer:
    """Creates and replaces objects for whoever asks: HTTP handlers, subresources, bootstrap.

    Args:
        now: The clock.
        chance: Source of name suffixes.
    """

    def __init__(
        self,
        store: Storage,
        allocators: Allocators,
        *,
        now: Callable[[], datetime] = meta.now,
        chance: random.Random | None = None,
    ) -> None:
        self.storage = store
        self.allocators = allocators
        self.now = now
        self._chance = chance or random.SystemRandom()
        # Two writes of one Service must not judge each other's claims, so they take turns.
        self._services = asyncio.Lock()
        self._quotas = Quotas(store, now)
        self.alike = Alike(store)
        self._judge: Judge | None = None

    @property
    def judges(self) -> bool:
        """Whether what is written matters for who may write it."""
        return self._judge is not None

    def judged(self, judge: Judge) -> "Writer":
        """The same writer, for somebody whose writes are judged."""
        writer = copy.copy(self)
        writer._judge = judge
        return writer

    async def create(
        self, resource: registry.Resource, obj: Object, *, dry_run: bool = False
    ) -> KeyValue:
        """Admit and store a new object.

        Raises:
            AlreadyExists, NotFound (its namespace), Forbidden, Invalid.
        """
        if self._judge is not None:
            self._judge(resource, obj, None)

        def once() -> Awaitable[KeyValue]:
            return self._create(resource, self._identify(obj, resource), dry_run)

        return await (once() if obj.metadata.name else _again(once))

    async def create_alike(self, route: Route, name: str, made: Made) -> KeyValue:
        """Store another of what was made before; without a name it gets one.

        Raises:
            AlreadyExists: there is one of that name.
        """

        def once() -> Awaitable[KeyValue]:
            own = name or self._generated(made.base)
            text = made.text(own, meta.new_uid(), meta.timestamp(self.now()))
            return self.storage.put(route.resource, route.namespace, own, text)

        return await (once() if name else _again(once))

    def _generated(self, base: str) -> str:
        return base[:GENERATED_BASE] + "".join(self._chance.choices(SUFFIX, k=5))

    def _identify(self, obj: Object, resource: registry.Resource) -> Object:
        given = obj.metadata
        name = given.name
        if not name and given.generate_name:
            name = self._generated(given.generate_name)
        metadata = structs.replace(
            given,
            name=name,
            uid=meta.new_uid(),
            creation_timestamp=meta.timestamp(self.now()),
            deletion_timestamp="",
            deletion_grace_period_seconds=None,
            generation=1 if _counted(resource) else 0,
            resource_version="",
            self_link="",
        )
        # Status belongs to whoever observes, not to whoever wishes; only the kubelet registers its node with one.
        if "status" in resource.subresources and resource.kind != "Node":
            return _with(obj, metadata=metadata, status=structs.default(resource.cls, "status"))
        return structs.replace(obj, metadata=metadata)

    async def _create(self, resource: registry.Resource, obj: Object, dry_run: bool) -> KeyValue:
        obj = await admission.admit_create(self.storage, resource, obj)
        if not await self._quotas.concern(resource, obj):
            return await self._put(resource, obj, dry_run)
        async with self._quotas.charge(resource, obj, dry_run=dry_run):
            return await self._put(resource, obj, dry_run)

    async def _put(self, resource: registry.Resource, obj: Object, dry_run: bool) -> KeyValue:
        if not isinstance(obj, Service):
            return await self.storage.create(resource, obj, dry_run=dry_run)
        service, claim = self.allocators.claim(None, obj)
        try:
            kv = await self.storage.create(resource, service, dry_run=dry_run)
        except BaseException:
            claim.undo()
            raise
        if dry_run:
            claim.undo()
        return kv

    async def replace(
        self,
        resource: registry.Resource,
        kv: KeyValue,
        new: Object,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> KeyValue:
        """Admit and store a newer version of what `kv` holds.

        What the subresource does not own stays as it was; an unchanged object keeps its revision; an object
        that waited for its last finalizer goes.

        Raises:
            Conflict: `new` names another uid or resourceVersion, or `kv` is no longer stored.
            NotFound, Invalid, Forbidden.
        """
        old = objects.unpack(resource, kv)
        _check_identity(resource, new, old)
        new = _merge(resource, new, old, subresource, self.now())
        if self._judge is not None:
            self._judge(resource, new, old)
        if not subresource or subresource in ("scale", EPHEMERAL):
            admit = admission.admit_debug if subresource == EPHEMERAL else admission.admit_update
            new = await admit(self.storage, resource, new, old)
        elif subresource == "status":
            admission.admit_status(resource, new, old)
        if not isinstance(new, Service) or subresource:
            return await self._store(resource, kv, new, old, dry_run)
        async with self._services:
            service, claim = self.allocators.claim(cast(Service, old), new)
            try:
                async with self._quotas.charge(resource, service, old, dry_run=dry_run):
                    kv = await self._store(resource, kv, service, old, dry_run)
            except BaseException:
                claim.undo()
                raise
            claim.undo() if dry_run else claim.commit()
        return kv

    async def _store(
        self, resource: registry.Resource, kv: KeyValue, new: Object, old: Object, dry_run: bool
    ) -> KeyValue:
        new = managed.unless_changed(objects.with_revision(new, old.metadata.resource_version), old)
        if new == old:
            return kv
        if _counted(resource) and resource.kind not in UNCHANGING and _differs(new, old):
            new = _with_meta(new, generation=old.metadata.generation + 1)
        if may_go(new):
            gone = await self.storage.delete(resource, kv, dry_run=dry_run)
            if not dry_run:
                self.forget(old)
            return gone._replace(value=objects.pack(resource, new))
        return await self.storage.replace(resource, kv, new, dry_run=dry_run)

    def forget(self, obj: Object) -> None:
        """Give back what a deleted object had from the pools."""
        if isinstance(obj, Service):
            self.allocators.release(obj)


async def _again(once: Callable[[], Awaitable[KeyValue]]) -> KeyValue:
    """Create with another generated name while there is one of that name."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(errors.AlreadyExists):
            return await once()
    return await once()


def may_go(obj: Object) -> bool:
    """Whether an object is being deleted and nothing holds it any more."""
    metadata = obj.metadata
    if not metadata.deletion_timestamp or metadata.finalizers:
        return False
    if isinstance(obj, Namespace):
        return not obj.spec.finalizers
    return not metadata.deletion_grace_period_seconds


def _with(obj: Object, **changes: Any) -> Object:
    return structs.replace(obj, **changes)


def _with_meta(obj: Object, **changes: Any) -> Object:
    return structs.replace(obj, metadata=structs.replace(obj.metadata, **changes))


def _counted(resource: registry.Resource) -> bool:
    return (
        (resource.group in COUNTED and resource.kind != "ControllerRevision")
        or resource.kind in COUNTED_KINDS
        or resource.custom is not None
    )


def _differs(new: Object, old: Object) -> bool:
    """Whether anything but metadata and status changed; a Deployment's annotations are copied to what it makes."""
    if new.kind == "Deployment" and new.metadata.annotations != old.metadata.annotations:
        return True
    alike: dict[str, Any] = {"metadata": old.metadata}
    if hasattr(old, "status"):
        alike["status"] = old.status
    return _with(new, **alike) != old


def _check_identity(resource: registry.Resource, new: Object, old: Object) -> None:
    wanted, found = new.metadata, old.metadata
    if wanted.uid and wanted.uid != found.uid:
        raise storage.conflict(
            resource,
            found.name,
            f"StorageError: invalid object, Code: 4, Key: {objects.key(resource, found.namespace, found.name)}, "
            "ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {wanted.uid}, UID in object meta: {found.uid}",
        )
    if wanted.resource_version not in ("", "0", found.resource_version):
        raise storage.conflict(resource, found.name, storage.MODIFIED)


_STATUS_ALONE = frozenset(("CustomResourceDefinition", "VolumeAttachment"))
"""Kinds whose status is written without labels and annotations. Source: ResetObjectMetaForStatus in pkg/registry."""


def _merge(
    resource: registry.Resource, new: Object, old: Object, subresource: str, now: datetime
) -> Object:
    """What the writer may change from `new`, everything else from `old`."""
    if subresource and resource.kind == certificates.KIND:
        return certificates.merged(new, old, subresource, now)
    if subresource == "status":
        about = new.metadata
        kept: dict[str, Any] = {"managed_fields": about.managed_fields}
        if resource.custom is None and resource.kind not in _STATUS_ALONE:
            kept["annotations"] = about.annotations
            if resource.kind != "Deployment":
                kept["labels"] = about.labels
        return _with(_with_meta(old, **kept), status=getattr(new, "status"))  # noqa: B009
    if subresource == EPHEMERAL:
        debuggers = cast(Pod, new).spec.ephemeral_containers
        spec = structs.replace(cast(Pod, old).spec, ephemeral_containers=debuggers)
        return _with(_with_meta(old, managed_fields=new.metadata.managed_fields), spec=spec)
    if subresource == "finalize":
        return _with(old, spec=getattr(new, "spec"))  # noqa: B009
    before = old.metadata
    finalizers = new.metadata.finalizers
    if before.deletion_timestamp:
        added = [name for name in finalizers if name not in before.finalizers]
        if added:
            names = ", ".join(f'"{name}"' for name in added)
            told = (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{names}}}"
            )
            fault = errors.FieldError(
                field="metadata.finalizers", reason="FieldValueForbidden", message=told
            )
            raise status.invalid(resource.kind, resource.group, before.name, [fault])
    metadata = structs.replace(
        new.metadata,
        name=before.name,
        namespace=before.namespace,
        generate_name=new.metadata.generate_name or before.generate_name,
        uid=before.uid,
        resource_version=before.resource_version,
        generation=before.generation,
        creation_timestamp=before.creation_timestamp,
        deletion_timestamp=before.deletion_timestamp,
        deletion_grace_period_seconds=before.deletion_grace_period_seconds,
        self_link="",
    )
    merged = structs.replace(new, metadata=metadata)
    if "status" in resource.subresources:
        merged = _with(merged, status=getattr(old, "status"))  # noqa: B009
    if isinstance(merged, Namespace) and isinstance(old, Namespace):
        merged = structs.replace(merged, spec=old.spec)
    elif resource.kind == certificates.KIND:
        return certificates.merged(merged, old, subresource, now)
    return merged
