"""How a pod ends: hooks, SIGTERM, the grace period, SIGKILL; then its network, its sandbox, its object.

Readiness probes go on until the containers have ended, so that `serving` stays true as long as they serve.
Source: kubernetes pkg/kubelet/kuberuntime killContainer; the grace period starts when the kubelet learns of it.
"""

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING

from netpod.api.cri import Container as Seen
from netpod.api.cri import State
from netpod.api.meta import key_of
from netpod.api.pod import Container, Pod
from netpod.errors import ApiError, Conflict, NotFound
from netpod.kubelet import hooks, status

if TYPE_CHECKING:
    from netpod.kubelet.podworker import PodWorker

log = logging.getLogger(__name__)
DEFAULT_GRACE = 30.0


class Termination:
    """The end of one pod, as far as it has come."""

    def __init__(self, worker: "PodWorker") -> None:
        self._worker = worker
        self._began = time.monotonic()
        self._told: set[str] = set()
        self._hooks_until = 0.0
        self.stopped = False
        """Whether no container runs any more."""

    async def sync(self) -> bool:
        """One pass; True when nothing is left and the API server knows it."""
        running = self._running()
        if running:
            await self._end(running)
            return False
        self.stopped = True
        worker = self._worker
        if worker.sandbox is not None:
            await worker.delete_sandbox(worker.sandbox)
        worker.node.sandboxes.forget(key_of(worker.pod), worker.pod.metadata.uid)
        if not worker.gone:
            await self._delete_object()
        return True

    def _running(self) -> list[tuple[Container, Seen]]:
        worker = self._worker
        found = []
        for item in worker.specs():
            seen = worker.units[item.name].seen if item.name in worker.units else None
            if seen is not None and seen.state == State.RUNNING:
                found.append((item, seen))
        return found

    async def _end(self, running: list[tuple[Container, Seen]]) -> None:
        worker = self._worker
        sidecars = {
            item.name for item in worker.pod.spec.init_containers if status.is_sidecar(item)
        }
        # Sidecars serve the others to their end.
        first = [pair for pair in running if pair[0].name not in sidecars] or running
        fresh = [pair for pair in first if pair[1].config.id not in self._told]
        for item, seen in fresh:
            self._told.add(seen.config.id)
            worker.event("Normal", "Killing", f"Stopping container {item.name}")
            unit = worker.units[item.name]
            if unit.probes is not None:
                unit.probes.end()
        if fresh:
            await asyncio.gather(*(self._hook(item, seen) for item, seen in fresh))
            for _, seen in fresh:
                await worker.node.runtime.signal(seen.config.id, signal.SIGTERM)
        left = (
            max(self._began + grace(worker.pod, worker.gone), self._hooks_until) - time.monotonic()
        )
        if left <= 0:
            for _, seen in running:
                await worker.node.runtime.signal(seen.config.id, signal.SIGKILL)
        worker.wake_in(max(left, 0.1))

    async def _hook(self, item: Container, seen: Seen) -> None:
        """Run preStop; it eats from the grace period."""
        worker = self._worker
        seconds = self._began + grace(worker.pod, worker.gone) - time.monotonic()
        if await hooks.pre_stop(worker, item, seen, seconds):
            self._hooks_until = time.monotonic() + hooks.LEAST_AFTER_HOOK

    async def _delete_object(self) -> None:
        worker = self._worker
        try:
            await worker.report_last()
        except ApiError as error:
            if error.retryable:
                raise
            log.info("pod %s ends without its last status: %s", key_of(worker.pod), error)
        key = worker.pod.metadata
        try:
            await worker.node.client.delete(
                Pod, key.name, key.namespace, grace_period_seconds=0, uid=key.uid
            )
        except (NotFound, Conflict) as error:
            log.debug("pod %s is gone: %s", key_of(worker.pod), error)


def grace(pod: Pod, gone: bool) -> float:
    """Seconds a pod has to end; a pod whose object is gone already was deleted by force and has none."""
    if gone:
        return 0.0
    for seconds in (
        pod.metadata.deletion_grace_period_seconds,
        pod.spec.termination_grace_period_seconds,
    ):
        if seconds is not None:
            return float(seconds)
    return DEFAULT_GRACE
