"""Which run of a CronJob is due, the Job of a run, and which old Jobs go (pure).

Source: kubernetes pkg/controller/cronjob/utils.go, cronjob_controllerv2.go.
"""

import dataclasses
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from netpod.api import cron, meta
from netpod.api.batch import CronJob, Job
from netpod.api.core import ObjectReference
from netpod.api.meta import ObjectMeta
from netpod.controllers import controller, jobs, pods

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
TOO_MANY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The run that should have begun last, None when none is due; when the next one is; how many were missed."""

    run: datetime | None
    next: datetime | None
    missed: int


def zone_of(cron_job: CronJob) -> tzinfo:
    """Return the time zone of the schedule, UTC when none is named.

    Raises:
        ValueError: there is no such zone.
    """
    if not cron_job.spec.time_zone:
        return UTC
    try:
        return zoneinfo.ZoneInfo(cron_job.spec.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {cron_job.spec.time_zone}") from error


def due(cron_job: CronJob, schedule: cron.Schedule, zone: tzinfo, now: datetime) -> Due:
    """Look from the last run (or creation, or the starting deadline) to now."""
    spec = cron_job.spec
    since = (
        pods.moment(cron_job.status.last_schedule_time)
        or pods.moment(cron_job.metadata.creation_timestamp)
        or now
    )
    if spec.starting_deadline_seconds is not None:
        since = max(since, now - timedelta(seconds=spec.starting_deadline_seconds))
    run, missed = None, 0
    moment = schedule.next(since, zone)
    while moment is not None and moment <= now:
        run = moment
        missed += 1
        if missed > TOO_MANY:
            # Long asleep: go on from a moment ago instead of through every minute of the past.
            run = _latest(schedule, zone, run, now)
            break
        moment = schedule.next(moment, zone)
    return Due(run=run, next=schedule.next(now, zone), missed=missed)


def _latest(schedule: cron.Schedule, zone: tzinfo, known: datetime, now: datetime) -> datetime:
    """Return the last run not later than now, looking back further and further."""
    back = timedelta(hours=1)
    while now - back > known:
        moment = schedule.next(now - back, zone)
        if moment is not None and moment <= now:
            while moment is not None and moment <= now:
                known = moment
                moment = schedule.next(moment, zone)
            return known
        back *= 2
    moment = schedule.next(known, zone)
    while moment is not None and moment <= now:
        known, moment = moment, schedule.next(moment, zone)
    return known


def job_for(cron_job: CronJob, run: datetime, zone: tzinfo) -> Job:
    """Return the Job of one run; its name follows from the run, so that no run has two."""
    template = cron_job.spec.job_template
    stamp = run.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Job(
        metadata=ObjectMeta(
            name=f"{cron_job.metadata.name}-{int(run.timestamp()) // 60}",
            namespace=cron_job.metadata.namespace,
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, SCHEDULED: stamp},
            owner_references=(controller.controller_reference(cron_job),),
        ),
        spec=template.spec,
    )


def reference(job: Job) -> ObjectReference:
    """Return a Job as it stands in `status.active`."""
    about = job.metadata
    return ObjectReference(
        api_version=job.api_version,
        kind=job.kind,
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        resource_version=about.resource_version,
    )


def surplus(cron_job: CronJob, owned: Sequence[Job]) -> list[Job]:
    """Return the ended Jobs beyond the history limits, oldest first."""
    spec, doomed = cron_job.spec, []
    for type_, limit in (
        ("Complete", spec.successful_jobs_history_limit),
        ("Failed", spec.failed_jobs_history_limit),
    ):
        ended = [j for j in owned if (c := jobs.finished(j)) is not None and c.type == type_]
        ended.sort(key=lambda j: (j.status.start_time or "", j.metadata.name))
        if limit is not None:
            doomed += ended[: max(0, len(ended) - limit)]
    return [job for job in doomed if not job.metadata.deletion_timestamp]


def with_ends(cron_job: CronJob, owned: Sequence[Job]) -> tuple[CronJob, list[Job]]:
    """Take ended Jobs out of `status.active`; return the CronJob and the Jobs that were in it."""
    by_uid = {job.metadata.uid: job for job in owned}
    active, over = [], []
    last = cron_job.status.last_successful_time
    for item in cron_job.status.active:
        job = by_uid.get(item.uid)
        if job is not None and jobs.finished(job) is None:
            active.append(item)
        elif job is not None:
            over.append(job)
    for job in owned:
        condition = jobs.finished(job)
        if condition is not None and condition.type == "Complete":
            when = job.status.completion_time or condition.last_transition_time
            last = max(last or "", when)
    status = dataclasses.replace(
        cron_job.status, active=tuple(active), last_successful_time=last or None
    )
    return dataclasses.replace(cron_job, status=status), over


def stamp(moment: datetime) -> str:
    """Return a moment as a status has it."""
    return meta.timestamp(moment)
