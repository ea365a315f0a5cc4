"""Garbage collector: what has lost all its owners goes; what waits for its dependents, or leaves them, is helped.

Keeps a graph of who owns whom over all kinds, custom ones too, and looks again, live, before it deletes anything:
an owner counts as gone only when the API server itself says that no object of that uid is there.

Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go, graph_builder.go.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from netpod.api import codec, meta, registry
from netpod.api.meta import Object, OwnerReference
from netpod.controllers import controller, ownership
from netpod.controllers.controller import Context, Controller
from netpod.controllers.customkinds import CustomKinds
from netpod.controllers.ownership import Action, OwnerState
from netpod.controllers.view import View
from netpod.errors import Conflict, NotFound

log = logging.getLogger(__name__)

Uid = str
_NO_DEPENDENTS = frozenset(
    {
        "CSIDriver",
        "CSIStorageCapacity",
        "RuntimeClass",
        "VolumeAttachment",
        "Event",
        "LimitRange",
        "PersistentVolume",
        "PodTemplate",
        "PriorityClass",
        "ResourceQuota",
        "StorageClass",
    }
)
"""Kinds nobody owns and that own nothing; a watch of each would cost memory for nothing."""
_REMEMBERED = 10_000


class GarbageCollector:
    """Acts on ownerReferences. Keys are uids."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._views: list[View[Any]] = [
            context.view(r.cls) for r in registry.RESOURCES if r.kind not in _NO_DEPENDENTS
        ]
        self._customs = CustomKinds(context, self._kind_added, self._kind_removed)
        self._absent: dict[Uid, None] = {}
        self._loop: Controller[Uid] = context.loop(
            "garbagecollector", self.reconcile, after=self._views, workers=20
        )
        for view in self._views:
            _index(view)
        for view in self._views:
            view.subscribe(self._changed)
        self._customs.start()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _kind_added(self, resource: registry.Resource) -> None:
        """Follow a custom kind, and judge again whom objects of it own."""
        view = self._context.view(resource.cls)
        _index(view)
        self._views.append(view)
        view.subscribe(self._changed)
        for each in self._views:
            for obj in each.values():
                if any(r.kind == resource.kind for r in obj.metadata.owner_references):
                    self._loop.enqueue(obj.metadata.uid)

    def _kind_removed(self, resource: registry.Resource) -> None:
        view = self._context.view(resource.cls)
        self._context.forget(resource.cls)
        self._views.remove(view)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._object_gone(old)
            return
        if ownership.is_foreground(new) or ownership.is_orphaning(new):
            self._loop.enqueue(new.metadata.uid)
        if old is not None:
            for uid in ownership.unblocked(old, new):
                self._loop.enqueue(uid)
        if new.metadata.owner_references and not new.metadata.deletion_timestamp:
            known = old is not None and (
                old.metadata.owner_references == new.metadata.owner_references
            )
            if not known and any(
                (owner := self._find(r.uid)) is None or ownership.is_foreground(owner)
                for r in new.metadata.owner_references
            ):
                self._loop.enqueue(new.metadata.uid)

    def _object_gone(self, gone: Object) -> None:
        """Its dependents may have to go; its owners may have waited for it."""
        self._remember_absent(gone.metadata.uid)
        for dependent in self._dependents(gone.metadata.uid):
            self._loop.enqueue(dependent.metadata.uid)
        for reference in gone.metadata.owner_references:
            owner = self._find(reference.uid)
            if owner is not None and ownership.is_foreground(owner):
                self._loop.enqueue(reference.uid)

    async def reconcile(self, uid: Uid) -> None:
        """Do what one object's owners, or its own finalizers, call for."""
        obj = self._find(uid)
        if obj is None:
            return
        try:
            if ownership.is_orphaning(obj):
                await self._leave_dependents(obj)
            elif ownership.is_foreground(obj):
                await self._await_dependents(obj)
            elif obj.metadata.owner_references and not obj.metadata.deletion_timestamp:
                await self._judge(obj)
        except NotFound:
            log.debug("%s %s: gone already", obj.kind, obj.metadata.name)

    async def _judge(self, obj: Object) -> None:
        states = {
            reference.uid: await self._state_of(reference, obj)
            for reference in obj.metadata.owner_references
        }
        verdict = ownership.judge(obj, states, bool(self._dependents(obj.metadata.uid)))
        about = obj.metadata
        if verdict.action is Action.DROP_REFERENCES:
            kept = [codec.encode(reference) for reference in verdict.keep]
            await self._patch(obj, {"ownerReferences": kept})
        elif verdict.action is Action.DELETE:
            log.debug("deleting %s %s: its owners are gone", obj.kind, meta.key_of(obj))
            dependents = self._dependents(about.uid)
            if OwnerState.WAITING in states.values() and any(
                map(ownership.is_foreground, dependents)
            ):
                # Owners and dependents may wait in a circle, which nobody else would open.
                unblocking = [
                    {**codec.encode(r), "blockOwnerDeletion": False} for r in about.owner_references
                ]
                await self._patch(obj, {"ownerReferences": unblocking})
            try:
                await self._context.client.delete(
                    type(obj),
                    about.name,
                    about.namespace,
                    propagation_policy=verdict.policy,
                    uid=about.uid,
                )
            except Conflict:
                log.debug("%s %s is another object by now", obj.kind, about.name)

    async def _state_of(self, reference: OwnerReference, obj: Object) -> OwnerState:
        """Look an owner up in the graph, and live when the graph does not have it."""
        owner = self._find(reference.uid)
        if owner is not None:
            blocked = ownership.is_foreground(owner) and ownership.blocks(obj, reference.uid)
            return OwnerState.WAITING if blocked else OwnerState.SOLID
        if reference.uid in self._absent:
            return OwnerState.ABSENT
        resource = self._customs.find(reference.api_version, reference.kind)
        if resource is None:
            try:
                resource = registry.by_kind(reference.api_version, reference.kind)
            except NotFound:
                # A kind nobody here can look up: leave its dependents alone.
                return OwnerState.SOLID
        namespace = obj.metadata.namespace if resource.namespaced else ""
        try:
            live = await self._context.client.get(resource.cls, reference.name, namespace)
        except NotFound:
            self._remember_absent(reference.uid)
            return OwnerState.ABSENT
        if live.metadata.uid != reference.uid:
            self._remember_absent(reference.uid)
            return OwnerState.ABSENT
        return OwnerState.SOLID

    async def _await_dependents(self, owner: Object) -> None:
        """Foreground: delete the blocking dependents first, then let the owner go."""
        blocking = [
            d
            for d in self._dependents(owner.metadata.uid)
            if ownership.blocks(d, owner.metadata.uid)
        ]
        if not blocking:
            await self._remove_finalizer(owner, ownership.FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.metadata.deletion_timestamp:
                self._loop.enqueue(dependent.metadata.uid)

    async def _leave_dependents(self, owner: Object) -> None:
        """Orphan: take the owner's name off every dependent, then let it go."""
        await controller.all_of(
            self._patch(
                dependent,
                {
                    "ownerReferences": [
                        codec.encode(r)
                        for r in dependent.metadata.owner_references
                        if r.uid != owner.metadata.uid
                    ]
                },
            )
            for dependent in self._dependents(owner.metadata.uid)
        )
        await self._remove_finalizer(owner, ownership.ORPHAN)

    async def _remove_finalizer(self, obj: Object, finalizer: str) -> None:
        left = [name for name in obj.metadata.finalizers if name != finalizer]
        await self._patch(obj, {"finalizers": left})

    async def _patch(self, obj: Object, metadata: dict[str, Any]) -> None:
        about = obj.metadata
        identity = {"uid": about.uid, "resourceVersion": about.resource_version}
        try:
            await self._context.client.patch(
                type(obj), about.name, about.namespace, {"metadata": {**identity, **metadata}}
            )
        except NotFound:
            log.debug("%s %s is gone already", obj.kind, about.name)

    def _find(self, uid: Uid) -> Object | None:
        for view in self._views:
            for obj in view.by("uid", uid):
                found: Object = obj
                return found
        return None

    def _dependents(self, uid: Uid) -> Sequence[Object]:
        return [obj for view in self._views for obj in view.by("owners", uid)]

    def _remember_absent(self, uid: Uid) -> None:
        """A uid never comes back, so that an owner is gone is worth knowing for its other dependents."""
        self._absent[uid] = None
        if len(self._absent) > _REMEMBERED:
            del self._absent[next(iter(self._absent))]


def _index(view: View[Any]) -> None:
    view.index("uid", by_uid)
    view.index("owners", by_owners)


def by_uid(obj: Object) -> list[Uid]:
    """Index function: the object's uid."""
    return [obj.metadata.uid]


def by_owners(obj: Object) -> Iterator[Uid]:
    """Index function: the uids of all owners."""
    return (reference.uid for reference in obj.metadata.owner_references)
