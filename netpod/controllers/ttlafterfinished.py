"""TTL-after-finished controller: deletes Jobs that ended ttlSecondsAfterFinished ago.

Source: kubernetes pkg/controller/ttlafterfinished/ttlafterfinished_controller.go.
"""

import logging
from datetime import datetime, timedelta

from netpod.api import meta
from netpod.api.batch import Job
from netpod.api.meta import Key
from netpod.controllers import jobs, pods
from netpod.controllers.controller import Context, Controller
from netpod.errors import Conflict, NotFound

log = logging.getLogger(__name__)


class TtlAfterFinishedController:
    """Sweeps up Jobs that asked for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.view(Job)
        self._loop: Controller[Key] = context.loop(
            "ttl-after-finished", self.reconcile, after=[self._jobs]
        )
        self._jobs.subscribe(self._job_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        if new is not None and due(new) is not None:
            self._loop.enqueue(meta.key_of(new))

    async def reconcile(self, key: Key) -> None:
        """Delete one Job when its time has come, with its pods first."""
        job = self._jobs.get(key)
        when = due(job) if job is not None else None
        if job is None or when is None:
            return
        wait = (when - self._context.clock()).total_seconds()
        if wait > 0:
            self._loop.enqueue_after(key, wait)
            return
        try:
            await self._context.client.delete(
                Job, key.name, key.namespace, propagation_policy="Foreground", uid=job.metadata.uid
            )
        except (NotFound, Conflict):
            log.debug("job %s is gone already", key)


def due(job: Job) -> datetime | None:
    """Return when a Job is to be deleted, None when never or not known yet."""
    seconds = job.spec.ttl_seconds_after_finished
    condition = jobs.finished(job)
    if seconds is None or condition is None or job.metadata.deletion_timestamp:
        return None
    when = pods.moment(condition.last_transition_time)
    return when + timedelta(seconds=seconds) if when is not None else None
