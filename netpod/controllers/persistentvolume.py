"""Persistent volume binder and provisioner: every claim gets a volume, every volume follows its claim.

    claim    Pending -> Bound (a volume that suits, or one made for it); Lost when its volume is gone
    volume   Available -> Bound -> Released when its claim is gone; with reclaimPolicy Delete it goes with its files

Volumes are made as directories of this machine, which is under every node. One key is one claim, or one volume.

Source: kubernetes pkg/controller/volume/persistentvolume/pv_controller.go; rancher/local-path-provisioner.
"""

import asyncio
import dataclasses
import logging
import shutil
from pathlib import Path

from netpod.api import meta
from netpod.api.meta import Key
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.controllers import claims
from netpod.controllers.controller import Context, Controller
from netpod.errors import AlreadyExists, Conflict, NotFound

log = logging.getLogger(__name__)


class PersistentVolumeController:
    """Binds and makes volumes.

    Args:
        context: Of the process.
        root: Directory below which volumes are made; None makes none.
    """

    def __init__(self, context: Context, root: Path | None) -> None:
        self._context = context.named("persistentvolume-controller")
        self._root = root
        self._claims = context.view(PersistentVolumeClaim)
        self._volumes = context.view(PersistentVolume)
        self._classes = context.view(StorageClass)
        self._loop: Controller[Key] = context.loop(
            "persistentvolume-binder",
            self.reconcile,
            after=[self._claims, self._volumes, self._classes],
            # Two claims must not choose the same volume at the same time.
            workers=1,
        )
        self._claims.subscribe(self._claim_changed)
        self._volumes.subscribe(self._volume_changed)
        self._classes.subscribe(self._class_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _claim_changed(
        self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if new is not None:
            self._loop.enqueue(meta.key_of(new))
        elif shown.spec.volume_name:
            self._loop.enqueue(Key("", shown.spec.volume_name))

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))
        reference = shown.spec.claim_ref
        if reference is not None:
            self._loop.enqueue(Key(reference.namespace, reference.name))
        elif new is not None:
            self._retry_pending()

    def _class_changed(self, old: StorageClass | None, new: StorageClass | None) -> None:
        if new is not None:
            self._retry_pending()

    def _retry_pending(self) -> None:
        for claim in self._claims.values():
            if claim.status.phase != "Bound":
                self._loop.enqueue(meta.key_of(claim))

    async def reconcile(self, key: Key) -> None:
        """Make one step for a claim, or for a volume (which has no namespace)."""
        try:
            if not key.namespace:
                await self._sync_volume(key)
                return
            claim = self._claims.get(key)
            if claim is not None and not claim.metadata.deletion_timestamp:
                await self._sync_claim(claim)
        except (NotFound, Conflict) as error:
            log.debug("persistent volumes, %s: %s", key, error)
            self._loop.enqueue_after(key, 0.1)

    async def _sync_claim(self, claim: PersistentVolumeClaim) -> None:
        if claims.BIND_COMPLETED in claim.metadata.annotations:
            await self._sync_bound(claim)
            return
        volume = claims.match(claim, self._volumes.values())
        if volume is not None:
            await self._bind(claim, volume)
        elif not claim.spec.volume_name:
            await self._provision(claim)

    async def _sync_bound(self, claim: PersistentVolumeClaim) -> None:
        volume = self._volumes.get(Key("", claim.spec.volume_name))
        if volume is not None and claims.is_bound_to(volume, claim):
            await self._bind(claim, volume)
        elif claim.status.phase != "Lost":
            status = dataclasses.replace(claim.status, phase="Lost")
            await self._write_status(dataclasses.replace(claim, status=status))
            if volume is None:
                reason = "ClaimLost"
                why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            else:
                reason = "ClaimMisbound"
                why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            self._context.recorder.event(claim, "Warning", reason, why)

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Write what is missing of a binding: the volume's reference, the claim's, then both phases."""
        client = self._context.client
        reference = volume.spec.claim_ref
        if reference is None or reference.uid != claim.metadata.uid:
            volume = self._volumes.wrote(await client.update(claims.taken(volume, claim)))
        await self._write_phase(volume, "Bound")
        wanted = claims.bound(claim, volume)
        if (wanted.spec, wanted.metadata) != (claim.spec, claim.metadata):
            claim = self._claims.wrote(await client.update(wanted))
        larger = claims.grown(claim, volume)
        if larger != volume:
            volume = self._volumes.wrote(await client.update(larger))
            why = f"ExpandVolume succeeded for volume {meta.key_of(claim)}"
            self._context.recorder.event(claim, "Normal", "VolumeResizeSuccessful", why)
        wanted = claims.bound_status(claim, volume)
        if wanted.status != claim.status:
            await self._write_status(wanted)

    async def _provision(self, claim: PersistentVolumeClaim) -> None:
        """Make a volume for a claim, or say why not."""
        say = self._context.recorder.event
        name = claim.spec.storage_class_name or ""
        if not name:
            why = "no persistent volumes available for this claim and no storage class is set"
            say(claim, "Normal", "FailedBinding", why)
            return
        made_by = self._classes.get(Key("", name))
        if made_by is None:
            why = f'storageclass.storage.k8s.io "{name}" not found'
            say(claim, "Warning", "ProvisioningFailed", why)
            return
        waits = made_by.volume_binding_mode == claims.FIRST_CONSUMER
        if waits and claims.SELECTED_NODE not in claim.metadata.annotations:
            why = "waiting for first consumer to be created before binding"
            say(claim, "Normal", "WaitForFirstConsumer", why)
            return
        if made_by.provisioner != claims.PROVISIONER or self._root is None:
            why = (
                "Waiting for a volume to be created either by the external provisioner "
                f"'{made_by.provisioner}' or manually by the system administrator. If volume creation is delayed, "
                "please verify that the provisioner is running and correctly registered."
            )
            say(claim, "Normal", "ExternalProvisioning", why)
            return
        wanted = claims.provisioned(claim, made_by, self._root)
        try:
            volume = self._volumes.wrote(await self._context.client.create(wanted))
        except AlreadyExists as error:
            raise Conflict(str(error)) from error
        why = f"Successfully provisioned volume {volume.metadata.name}"
        say(claim, "Normal", "ProvisioningSucceeded", why)
        await self._bind(claim, volume)

    async def _sync_volume(self, key: Key) -> None:
        volume = self._volumes.get(key)
        if volume is None:
            return
        reference = volume.spec.claim_ref
        if reference is None:
            await self._write_phase(volume, "Available")
            return
        owner = Key(reference.namespace, reference.name)
        claim = self._claims.get(owner)
        if claim is not None and reference.uid in ("", claim.metadata.uid):
            self._loop.enqueue(owner)
        elif not reference.uid:
            await self._write_phase(volume, "Available")
        elif volume.status.phase != "Released" and not await self._is_gone(owner, reference.uid):
            raise Conflict(f"claim {owner} is not in the cache yet")
        else:
            await self._release(volume)

    async def _is_gone(self, key: Key, uid: str) -> bool:
        """Ask the API server itself before anything is given up for good."""
        try:
            found = await self._context.client.get(PersistentVolumeClaim, key.name, key.namespace)
        except NotFound:
            return True
        return found.metadata.uid != uid

    async def _release(self, volume: PersistentVolume) -> None:
        """The claim is gone: keep the volume, or delete it with its files."""
        volume = await self._write_phase(volume, "Released")
        if volume.spec.persistent_volume_reclaim_policy != "Delete":
            return
        if volume.metadata.annotations.get(claims.PROVISIONED_BY) != claims.PROVISIONER:
            return
        if self._root is not None:
            path = claims.own_directory(volume, self._root)
            if path is not None:
                await asyncio.to_thread(shutil.rmtree, path, True)
        about = volume.metadata
        if not about.deletion_timestamp:
            await self._context.client.delete(PersistentVolume, about.name, uid=about.uid)

    async def _write_phase(self, volume: PersistentVolume, phase: str) -> PersistentVolume:
        if volume.status.phase == phase:
            return volume
        moment = meta.timestamp(self._context.clock())
        status = dataclasses.replace(volume.status, phase=phase, last_phase_transition_time=moment)
        return self._volumes.wrote(
            await self._context.client.update(
                dataclasses.replace(volume, status=status), subresource="status"
            )
        )

    async def _write_status(self, claim: PersistentVolumeClaim) -> None:
        self._claims.wrote(await self._context.client.update(claim, subresource="status"))
