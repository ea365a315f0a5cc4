"""CronJob controller: makes a Job at the times of a schedule.

Source: kubernetes pkg/controller/cronjob/cronjob_controllerv2.go.
"""

import dataclasses
import logging
from datetime import datetime, timedelta, tzinfo

from netpod.api import cron, meta
from netpod.api.batch import CronJob, Job
from netpod.api.meta import Key
from netpod.controllers import controller, cronjobs, jobs
from netpod.controllers.controller import Context, Controller
from netpod.errors import AlreadyExists, Conflict, NetpodError, NotFound

log = logging.getLogger(__name__)

_LATE = 0.1
"""Seconds after the full minute at which a run is looked for."""


class CronJobController:
    """Keeps every CronJob's Jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("cronjob-controller")
        self._crons = context.view(CronJob)
        self._jobs = context.view(Job)
        self._jobs.index("owner", controller.by_owner)
        self._loop: Controller[Key] = context.loop(
            "cronjob",
            self.reconcile,
            after=[self._crons, self._jobs],
            again=controller.REFUSED_RETRY,
        )
        self._crons.subscribe(self._cron_changed)
        self._jobs.subscribe(self._job_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _cron_changed(self, old: CronJob | None, new: CronJob | None) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        owner = meta.controller_of(shown)
        if owner is not None and owner.kind == "CronJob":
            self._loop.enqueue(Key(shown.metadata.namespace, owner.name))

    async def reconcile(self, key: Key) -> None:
        """Begin what is due, clean up what is over, and come back for the next run."""
        found = self._crons.get(key)
        if found is None or found.metadata.deletion_timestamp:
            return
        try:
            await self._advance(found)
        except NotFound:
            log.debug("cronjob %s: it went away meanwhile", key)

    async def _advance(self, found: CronJob) -> None:
        owned = self._jobs.by("owner", found.metadata.uid)
        for job in cronjobs.surplus(found, owned):
            await self._delete(found, job)
        owned = self._jobs.by("owner", found.metadata.uid)
        wanted, over = cronjobs.with_ends(found, owned)
        for job in over:
            condition = jobs.finished(job)
            assert condition is not None, "only ended jobs are over"
            self._say(
                found,
                "Normal",
                "SawCompletedJob",
                f"Saw completed job: {job.metadata.name}, condition: {condition.type}",
            )
        if not found.spec.suspend:
            wanted = await self._begin(wanted)
        if wanted.status != found.status:
            self._crons.wrote(await self._context.client.update(wanted, subresource="status"))

    async def _begin(self, wanted: CronJob) -> CronJob:
        """Make the Job of the run that is due, if one is; return the CronJob with its new status."""
        now = self._context.clock()
        try:
            schedule, zone = cron.parse(wanted.spec.schedule), cronjobs.zone_of(wanted)
        except ValueError as error:
            reason = "UnknownTimeZone" if "zone" in str(error) else "UnparseableSchedule"
            self._say(wanted, "Warning", reason, f"invalid schedule: {error}")
            return wanted
        due = cronjobs.due(wanted, schedule, zone, now)
        if due.next is not None:
            wait = (due.next - now).total_seconds() + _LATE
            self._loop.enqueue_after(meta.key_of(wanted), wait)
        if due.missed > cronjobs.TOO_MANY:
            self._say(
                wanted,
                "Warning",
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds "
                "or check clock skew",
            )
        if due.run is None or not self._in_time(wanted, due.run, now):
            return wanted
        if wanted.status.active:
            if wanted.spec.concurrency_policy == "Forbid":
                self._say(
                    wanted,
                    "Normal",
                    "JobAlreadyActive",
                    "Not starting job because prior execution is running and concurrency "
                    "policy is Forbid",
                )
                return wanted
            if wanted.spec.concurrency_policy == "Replace":
                wanted = await self._replace(wanted)
        return await self._create(wanted, due.run, zone)

    def _in_time(self, wanted: CronJob, run: datetime, now: datetime) -> bool:
        limit = wanted.spec.starting_deadline_seconds
        if limit is None or run + timedelta(seconds=limit) >= now:
            return True
        self._say(
            wanted,
            "Warning",
            "MissSchedule",
            f"Missed scheduled time to start a job: {cronjobs.stamp(run)}",
        )
        return False

    async def _replace(self, wanted: CronJob) -> CronJob:
        by_uid = {j.metadata.uid: j for j in self._jobs.by("owner", wanted.metadata.uid)}
        for item in wanted.status.active:
            job = by_uid.get(item.uid)
            if job is not None:
                await self._delete(wanted, job)
        return dataclasses.replace(wanted, status=dataclasses.replace(wanted.status, active=()))

    async def _create(self, wanted: CronJob, run: datetime, zone: tzinfo) -> CronJob:
        job = cronjobs.job_for(wanted, run, zone)
        active = wanted.status.active
        try:
            made = self._jobs.wrote(await self._context.client.create(job))
        except AlreadyExists:
            # We made it and were ended before we could write so.
            known = await self._context.client.get(Job, job.metadata.name, job.metadata.namespace)
            if controller.owner_uid(known) == wanted.metadata.uid and jobs.finished(known) is None:
                if known.metadata.uid not in {item.uid for item in active}:
                    active = (*active, cronjobs.reference(known))
        except NotFound:
            raise
        except NetpodError as error:
            self._say(wanted, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            active = (*active, cronjobs.reference(made))
            name = made.metadata.name
            self._say(wanted, "Normal", "SuccessfulCreate", f"Created job {name}")
        status = dataclasses.replace(
            wanted.status, active=active, last_schedule_time=cronjobs.stamp(run)
        )
        return dataclasses.replace(wanted, status=status)

    async def _delete(self, owner: CronJob, job: Job) -> None:
        about = job.metadata
        try:
            await self._context.client.delete(
                Job,
                about.name,
                about.namespace,
                propagation_policy="Background",
                uid=about.uid,
            )
        except (NotFound, Conflict):
            log.debug("job %s is gone already", about.name)
        else:
            self._say(owner, "Normal", "SuccessfulDelete", f"Deleted job {about.name}")
        self._jobs.removed(job)

    def _say(self, about: CronJob, type_: str, reason: str, message: str) -> None:
        self._context.recorder.event(about, type_, reason, message)
