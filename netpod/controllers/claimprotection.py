"""Claims and the pods that use them: a claim stays while a pod mounts it, and ephemeral volumes get claims.

Volumes and claims: a volume stays while it is bound.

Source: kubernetes pkg/controller/volume/pvcprotection, pvprotection, ephemeral.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import TypeVar

from netpod.api import codec, meta
from netpod.api.meta import Key, Object
from netpod.api.pod import Pod, Volume
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim
from netpod.controllers import claims, controller
from netpod.controllers.controller import Context, Controller
from netpod.errors import AlreadyExists, NotFound

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Object)


class ClaimProtectionController:
    """Lets claims go when nobody uses them, and makes those of ephemeral volumes. Keys are claims."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("persistentvolume-controller")
        self._claims = context.view(PersistentVolumeClaim)
        self._pods = context.view(Pod)
        self._pods.index("claims", by_claim)
        self._loop: Controller[Key] = context.loop(
            "pvc-protection", self.reconcile, after=[self._claims, self._pods]
        )
        self._claims.subscribe(self._claim_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _claim_changed(
        self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        shown = new or old
        if shown is not None:
            for key in by_claim(shown):
                self._loop.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        """Make one step for one claim."""
        claim = self._claims.get(key)
        users = [pod for pod in self._pods.by("claims", key) if not _is_over(pod)]
        try:
            if claim is None:
                for pod in users:
                    await self._make(pod, key)
            elif (
                claim.metadata.deletion_timestamp
                and claims.PROTECTION in claim.metadata.finalizers
                and not users
            ):
                await self._let_go(claim)
        except (AlreadyExists, NotFound) as error:
            log.debug("claim %s: %s", key, error)

    async def _make(self, pod: Pod, key: Key) -> None:
        """Make the claim of an ephemeral volume, owned by its pod."""
        if pod.metadata.deletion_timestamp:
            return
        for volume in pod.spec.volumes:
            template = _template(volume)
            if template is None or f"{pod.metadata.name}-{volume.name}" != key.name:
                continue
            with controller.reading(pod):
                wanted = codec.decode(PersistentVolumeClaim, {**template, "status": {}})
            about = dataclasses.replace(
                wanted.metadata,
                name=key.name,
                namespace=key.namespace,
                owner_references=(controller.controller_reference(pod),),
            )
            made = dataclasses.replace(wanted, metadata=about)
            self._claims.wrote(await self._context.client.create(made))

    async def _let_go(self, claim: PersistentVolumeClaim) -> None:
        changed = _without(claim, claims.PROTECTION)
        await self._context.client.update(changed)
        if not changed.metadata.finalizers:
            self._claims.removed(claim)


class VolumeProtectionController:
    """Lets volumes go that are no longer bound. Keys are volumes."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("pv-protection-controller")
        self._volumes = context.view(PersistentVolume)
        self._loop: Controller[Key] = Controller(
            "pv-protection", self.reconcile, after=[self._volumes]
        )
        self._volumes.subscribe(self._volume_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None and new.metadata.deletion_timestamp:
            self._loop.enqueue(meta.key_of(new))

    async def reconcile(self, key: Key) -> None:
        """Let one volume go, if it is to."""
        volume = self._volumes.get(key)
        if (
            volume is None
            or not volume.metadata.deletion_timestamp
            or claims.VOLUME_PROTECTION not in volume.metadata.finalizers
            or volume.status.phase == "Bound"
        ):
            return
        try:
            await self._context.client.update(_without(volume, claims.VOLUME_PROTECTION))
        except NotFound as error:
            log.debug("volume %s: %s", key.name, error)


def _without(obj: T, finalizer: str) -> T:
    about = obj.metadata
    left = tuple(it for it in about.finalizers if it != finalizer)
    return dataclasses.replace(obj, metadata=dataclasses.replace(about, finalizers=left))


def by_claim(obj: Object) -> list[Key]:
    """Index function: the claims a pod mounts."""
    assert isinstance(obj, Pod), "only pods mount claims"
    found = []
    for volume in obj.spec.volumes:
        source = volume.unknown.get("persistentVolumeClaim")
        if isinstance(source, Mapping):
            found.append(Key(obj.metadata.namespace, str(source.get("claimName", ""))))
        elif _template(volume) is not None:
            found.append(Key(obj.metadata.namespace, f"{obj.metadata.name}-{volume.name}"))
    return found


def _template(volume: Volume) -> Mapping[str, object] | None:
    source = volume.unknown.get("ephemeral")
    template = source.get("volumeClaimTemplate") if isinstance(source, Mapping) else None
    return template if isinstance(template, Mapping) else None


def _is_over(pod: Pod) -> bool:
    """Whether a pod mounts nothing: never placed, or ended."""
    gone = bool(pod.metadata.deletion_timestamp)
    return pod.status.phase in ("Succeeded", "Failed") or (gone and not pod.spec.node_name)
