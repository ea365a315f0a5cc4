"""Work that ends: Job and CronJob.

Source: k8s.io/api batch/v1/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.core import ObjectReference
from netpod.api.meta import (
    Condition,
    Json,
    LabelSelector,
    Object,
    ObjectMeta,
    Struct,
    always,
)
from netpod.api.pod import PodTemplateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec(Struct):
    """How many pods must succeed, how many run at once, and how often one may fail."""

    parallelism: int | None = None
    completions: int | None = None
    active_deadline_seconds: int | None = None
    pod_failure_policy: Mapping[str, Json] | None = None
    success_policy: Mapping[str, Json] | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec, metadata={"always": True})
    ttl_seconds_after_finished: int | None = None
    completion_mode: str | None = None
    suspend: bool | None = None
    pod_replacement_policy: str | None = None
    managed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus(Struct):
    """Counts of the Job's pods; conditions Complete, Failed or Suspended."""

    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int | None = None
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: Mapping[str, Json] | None = None
    ready: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Object):
    """Pods that run until enough of them have succeeded."""

    api_version: str = always("batch/v1")
    kind: str = always("Job")
    spec: JobSpec = field(default_factory=JobSpec)
    status: JobStatus = field(default_factory=JobStatus, metadata={"always": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTemplateSpec(Struct):
    """The Job a CronJob makes."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: JobSpec = field(default_factory=JobSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJobSpec(Struct):
    """When (cron's five fields, or @hourly and the like) and what; concurrency Allow, Forbid or Replace."""

    schedule: str = always("")
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = ""
    suspend: bool | None = None
    job_template: JobTemplateSpec = field(
        default_factory=JobTemplateSpec, metadata={"always": True}
    )
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJobStatus(Struct):
    """Jobs that run now, and when one began or succeeded last."""

    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJob(Object):
    """Makes a Job at the times of a schedule."""

    api_version: str = always("batch/v1")
    kind: str = always("CronJob")
    spec: CronJobSpec = field(default_factory=CronJobSpec)
    status: CronJobStatus = field(default_factory=CronJobStatus, metadata={"always": True})
