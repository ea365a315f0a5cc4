"""activeDeadlineSeconds: a pod that is active longer than its author allows ends as Failed.

Source: kubernetes pkg/kubelet/active_deadline.go.
"""

import signal
import time
from typing import TYPE_CHECKING

from netpod.api import meta

if TYPE_CHECKING:
    from netpod.kubelet.podworker import PodWorker

REASON = "DeadlineExceeded"
MESSAGE = "Pod was active on the node longer than the specified deadline"
POLL_SECONDS = 0.1


class Deadline:
    """Of one pod; `failed` is for its status, ("", "") until it is over."""

    def __init__(self, worker: "PodWorker") -> None:
        self._worker = worker
        self._kill_at: float | None = None
        self.failed = ("", "")

    async def sync(self) -> bool:
        """End the containers when the time is up; True while some of them still run."""
        worker = self._worker
        limit, status = worker.pod.spec.active_deadline_seconds, worker.pod.status
        if status.phase in ("Succeeded", "Failed") or limit is None or not status.start_time:
            return False
        left = meta.parse_timestamp(status.start_time).timestamp() + limit - time.time()
        if left > 0:
            worker.wake_in(left)
            return False
        running = [unit.seen for unit in worker.units.values() if unit.running and unit.seen]
        if self._kill_at is None:
            self.failed = (REASON, MESSAGE)
            worker.event("Normal", REASON, MESSAGE)
            grace = worker.pod.spec.termination_grace_period_seconds
            self._kill_at = time.monotonic() + (30 if grace is None else grace)
            for seen in running:
                await worker.node.runtime.signal(seen.config.id, signal.SIGTERM)
        if time.monotonic() >= self._kill_at:
            for seen in running:
                await worker.node.runtime.signal(seen.config.id, signal.SIGKILL)
        if running:
            worker.wake_in(max(POLL_SECONDS, self._kill_at - time.monotonic()))
        return bool(running)
