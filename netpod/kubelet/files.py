"""A pod's volumes over its life: there before its sandbox, and renewed when what they hold changes."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netpod.api.core import ConfigMap, Secret
from netpod.api.pod import Pod, Volume
from netpod.client.informer import Informer, Informers
from netpod.errors import ApiError
from netpod.kubelet import sources, starting
from netpod.kubelet.refusal import CannotStart

if TYPE_CHECKING:
    from netpod.kubelet.podworker import PodWorker

log = logging.getLogger(__name__)
RETRY_SECONDS = (0.5, 120.0)
"""First and longest pause after a failure. Source: kubelet's volume manager."""
TOKEN_RENEW_SECONDS = sources.TOKEN_SECONDS * 0.8


class Changes:
    """Tells whoever follows a ConfigMap or Secret that it changed.

    Each is watched by its name, as long as somebody follows it: a node may read no others.
    """

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._watched: dict[tuple[str, str, str], Informer[Any]] = {}
        self._followers: dict[tuple[str, str, str], set[Callable[[], None]]] = {}

    def follow(self, kind: str, namespace: str, name: str, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the object is another one than before."""
        key = kind, namespace, name
        self._followers.setdefault(key, set()).add(changed)
        if key in self._watched:
            return
        only = f"metadata.name={name}"
        cls: type[ConfigMap] | type[Secret] = ConfigMap if kind == "ConfigMap" else Secret
        self._watched[key] = self._informers.of(cls, namespace=namespace, field_selector=only)
        self._watched[key].subscribe(self._changed)

    def forget(self, kind: str, namespace: str, name: str, changed: Callable[[], None]) -> None:
        """Call it no more."""
        key = (kind, namespace, name)
        followers = self._followers.get(key, set())
        followers.discard(changed)
        if not followers:
            self._followers.pop(key, None)
            if key in self._watched:
                self._informers.drop(self._watched.pop(key))

    def _changed(self, old: ConfigMap | Secret | None, new: ConfigMap | Secret | None) -> None:
        seen = new or old
        if seen is None or (old is not None and new is not None and _same(old, new)):
            return
        names = seen.metadata
        for changed in list(self._followers.get((seen.kind, names.namespace, names.name), ())):
            changed()


def _same(old: ConfigMap | Secret, new: ConfigMap | Secret) -> bool:
    return old.metadata.resource_version == new.metadata.resource_version


class Files:
    """The volumes of one pod."""

    def __init__(self, worker: "PodWorker") -> None:
        self._worker = worker
        self._ready = False
        self._stale = False
        self._retry_at = 0.0
        self._renew_at = float("inf")
        self._pause = RETRY_SECONDS[0]

    async def sync(self) -> bool:
        """Prepare what is to be prepared; True once containers may start."""
        worker = self._worker
        if not self._wanted():
            return True
        now = time.monotonic()
        due = not self._ready or self._stale or now >= self._renew_at
        if not due or now < self._retry_at:
            worker.wake_in(max(0.0, (self._retry_at if due else self._renew_at) - now))
            return self._ready
        if not self._ready:
            self._follow()
        self._stale = False
        try:
            worker.volumes = await starting.volumes(worker.node, worker.pod, worker.pod_ips)
        except (CannotStart, ApiError) as error:
            self._stale = True
            if isinstance(error, CannotStart):
                worker.event("Warning", error.reason, str(error))
            else:
                log.info("cannot prepare volumes of pod %s: %s", worker.pod.metadata.name, error)
            self._retry_at = now + self._pause
            self._pause = min(self._pause * 2, RETRY_SECONDS[1])
            worker.wake_in(self._retry_at - now)
            return self._ready
        self._ready = True
        self._pause, self._retry_at = RETRY_SECONDS[0], 0.0
        if any(map(sources.is_token, self._wanted())):
            self._renew_at = now + TOKEN_RENEW_SECONDS
            worker.wake_in(TOKEN_RENEW_SECONDS)
        return True

    def pod_changed(self, old: Pod, new: Pod) -> None:
        """The pod is another one than before: what volumes tell of it may be, too."""
        before, now = old.metadata, new.metadata
        if (before.labels, before.annotations) != (now.labels, now.annotations):
            self._stale = self._stale or sources.tells_of_pod(self._wanted())

    def _wanted(self) -> list[Volume]:
        """The volumes that somebody reads: no stand-in asks for its token."""
        worker = self._worker
        found = list(worker.pod.spec.volumes)
        if any(map(sources.is_token, found)) and starting.only_stand_ins(worker.node, worker.pod):
            found = [volume for volume in found if not sources.is_token(volume)]
        return found

    def _follow(self) -> None:
        """Hear of changes of what the volumes are made from."""
        namespace = self._worker.pod.metadata.namespace
        for kind, name in sources.changes(self._wanted()):
            self._worker.node.changes.follow(kind, namespace, name, self._changed)

    def close(self) -> None:
        """Hear of them no more."""
        namespace = self._worker.pod.metadata.namespace
        for kind, name in sources.changes(self._worker.pod.spec.volumes):
            self._worker.node.changes.forget(kind, namespace, name, self._changed)

    def _changed(self) -> None:
        self._stale = True
        self._retry_at = 0.0
        self._worker.poke()
