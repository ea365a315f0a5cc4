"""Who belongs to whom: a controller adopts orphans that its selector matches and lets go of what it no longer does.

Source: kubernetes pkg/controller/controller_ref_manager.go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from netpod.api import codec
from netpod.api.meta import Object
from netpod.api.selectors import LabelQuery
from netpod.client.rest import Client
from netpod.controllers import controller
from netpod.controllers.view import View
from netpod.errors import NotFound

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Generic[T]):
    """What an owner has to do with the objects around it."""

    owned: tuple[T, ...]
    adopt: tuple[T, ...]
    release: tuple[T, ...]


def decide(owner: Object, query: LabelQuery, objects: Iterable[T]) -> Claim[T]:
    """Sort objects into owned, to be adopted and to be released.

    An owner that is being deleted adopts and releases nothing. An object that is being deleted is never adopted.
    """
    owned: list[T] = []
    adopt: list[T] = []
    release: list[T] = []
    leaving = bool(owner.metadata.deletion_timestamp)
    for obj in objects:
        holder = controller.owner_uid(obj)
        matches = query.matches(obj.metadata.labels)
        if holder == owner.metadata.uid:
            if matches or leaving:
                owned.append(obj)
            else:
                release.append(obj)
        elif not holder and matches and not leaving and not obj.metadata.deletion_timestamp:
            adopt.append(obj)
    return Claim(owned=tuple(owned), adopt=tuple(adopt), release=tuple(release))


async def claim(
    client: Client,
    view: View[T],
    owner: Object,
    query: LabelQuery,
    objects: Iterable[T],
    finalizer: str = "",
) -> Sequence[T]:
    """Carry out `decide`; return what the owner owns now, adopted objects included.

    `finalizer` is put on what is adopted and taken off what is released.

    Raises:
        Conflict: an object changed meanwhile; look again.
    """
    decision = decide(owner, query, objects)
    owned = list(decision.owned)
    if decision.adopt:
        # The cache may be behind: only an owner that is still there, as it was, may take orphans.
        fresh = await client.get(type(owner), owner.metadata.name, owner.metadata.namespace)
        if fresh.metadata.uid != owner.metadata.uid or fresh.metadata.deletion_timestamp:
            return owned
    for obj in decision.adopt:
        references = (*obj.metadata.owner_references, controller.controller_reference(owner))
        patch: dict[str, object] = {
            "ownerReferences": [codec.encode(reference) for reference in references]
        }
        if finalizer and finalizer not in obj.metadata.finalizers:
            patch["finalizers"] = [*obj.metadata.finalizers, finalizer]
        owned.append(await _patch_metadata(client, view, obj, patch))
    for obj in decision.release:
        kept = [r for r in obj.metadata.owner_references if r.uid != owner.metadata.uid]
        patch = {"ownerReferences": [codec.encode(reference) for reference in kept]}
        if finalizer in obj.metadata.finalizers:
            patch["finalizers"] = [name for name in obj.metadata.finalizers if name != finalizer]
        try:
            await _patch_metadata(client, view, obj, patch)
        except NotFound:
            continue
    return owned


async def _patch_metadata(client: Client, view: View[T], obj: T, patch: Mapping[str, object]) -> T:
    """Patch metadata of exactly the object that was looked at: same uid, same revision."""
    identity = {"uid": obj.metadata.uid, "resourceVersion": obj.metadata.resource_version}
    return view.wrote(
        await client.patch(
            type(obj),
            obj.metadata.name,
            obj.metadata.namespace,
            {"metadata": {**identity, **patch}},
        )
    )
