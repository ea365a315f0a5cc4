"""Claims, volumes and storage classes, Services and sets of pods, from the watch into the scheduler's cache."""

from collections.abc import Callable
from typing import Any

from netpod.api import meta
from netpod.api.meta import Key
from netpod.api.service import Service
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.client.informer import Informer, Informers
from netpod.client.rest import Client
from netpod.scheduler.likeness import SETS, Likeness
from netpod.scheduler.volumes import Storage

SELECTED = "volume.kubernetes.io/selected-node"


class WatchedLikeness:
    """Keeps a Likeness up to date."""

    def __init__(self, informers: Informers, likeness: Likeness) -> None:
        services = informers.of(Service)
        services.subscribe(likeness.set_service)
        self._informers: list[Informer[Any]] = [services]
        for kind in SETS:
            sets: Informer[Any] = informers.of(kind)
            sets.subscribe(likeness.set_set)
            self._informers.append(sets)

    async def wait_synced(self) -> None:
        """Wait until what exists is known."""
        for informer in self._informers:
            await informer.wait_synced()


class Watched:
    """Keeps a Storage up to date.

    Args:
        informers: For the three kinds.
        storage: What is kept.
        changed: Told when something changed that pods may wait for.
    """

    def __init__(self, informers: Informers, storage: Storage, changed: Callable[[], None]) -> None:
        self._storage = storage
        self._changed = changed
        self._informers = (
            informers.of(PersistentVolumeClaim),
            informers.of(PersistentVolume),
            informers.of(StorageClass),
        )
        claims, volumes, classes = self._informers
        claims.subscribe(self._claim_changed)
        volumes.subscribe(self._volume_changed)
        classes.subscribe(self._class_changed)

    async def wait_synced(self) -> None:
        """Wait until what exists is known."""
        for informer in self._informers:
            await informer.wait_synced()

    async def select(self, client: Client, claim: Key, node: str) -> None:
        """Say on which node a claim's first consumer runs."""
        patch = {"metadata": {"annotations": {SELECTED: node}}}
        await client.patch(PersistentVolumeClaim, claim.name, claim.namespace, patch)

    def _claim_changed(
        self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        if new is not None:
            self._storage.claims[meta.key_of(new)] = new
        elif old is not None:
            self._storage.claims.pop(meta.key_of(old), None)
        self._changed()

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None:
            self._storage.volumes[new.metadata.name] = new
        elif old is not None:
            self._storage.volumes.pop(old.metadata.name, None)
        self._changed()

    def _class_changed(self, old: StorageClass | None, new: StorageClass | None) -> None:
        if new is not None:
            self._storage.classes[new.metadata.name] = new
        elif old is not None:
            self._storage.classes.pop(old.metadata.name, None)
        self._changed()
