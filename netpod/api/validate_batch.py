"""Rules for Jobs and CronJobs.

Source: pkg/apis/batch/validation/validation.go; github.com/robfig/cron parser.go.
"""

import dataclasses
import re
import zoneinfo

from netpod.api import validate_meta, validate_pod
from netpod.api.batch import CronJob, CronJobSpec, Job, JobSpec
from netpod.api.validate_errors import Errors

MAX_CRON_NAME = 52
"""A CronJob's Jobs have 11 more characters in their names."""

_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
_TERM = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\d+))?")


def job(errors: Errors, obj: Job) -> None:
    """Check a Job."""
    _spec(errors, obj.spec, "spec")
    if obj.spec.selector is None:
        errors.required("spec.selector")
    else:
        validate_meta.label_selector(errors, obj.spec.selector, "spec.selector")


def _spec(errors: Errors, spec: JobSpec, path: str) -> None:
    for name, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ):
        errors.non_negative(f"{path}.{name}", value)
    if spec.completion_mode:
        errors.supported(f"{path}.completionMode", spec.completion_mode, ("NonIndexed", "Indexed"))
    if spec.completion_mode == "Indexed" and spec.completions is None:
        detail = f"when completion mode is {spec.completion_mode}"
        errors.required(f"{path}.completions", detail)
    _per_index(errors, spec, path)
    at = f"{path}.template"
    validate_meta.template_metadata(errors, spec.template.metadata, at)
    validate_pod.pod_spec(errors, spec.template.spec, f"{at}.spec")
    policy = spec.template.spec.restart_policy
    if policy in ("Always", ""):
        # Always is also what a template without the field has by now.
        errors.required(f"{at}.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        errors.refuse(f"{at}.spec.restartPolicy", policy, ("OnFailure", "Never"))


def _per_index(errors: Errors, spec: JobSpec, path: str) -> None:
    """What only means something when each completion has a number."""
    for name, value in (
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
        ("successPolicy", spec.success_policy),
    ):
        if value is not None and spec.completion_mode != "Indexed":
            errors.invalid(f"{path}.{name}", value, "requires indexed completion mode")
    if spec.max_failed_indexes is not None and spec.backoff_limit_per_index is None:
        errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.success_policy is not None and not spec.success_policy.get("rules"):
        detail = "at least one rules must be specified when the successPolicy is specified"
        errors.required(f"{path}.successPolicy.rules", detail)


def job_update(errors: Errors, new: Job, old: Job) -> None:
    """What pods a Job has stays; a suspended one that never ran may be placed elsewhere."""
    if old.spec.completion_mode != "Indexed":
        errors.immutable("spec.completions", new.spec.completions, old.spec.completions)
    errors.immutable("spec.selector", new.spec.selector, old.spec.selector)
    errors.immutable("spec.completionMode", new.spec.completion_mode, old.spec.completion_mode)
    old_template = old.spec.template
    if old.spec.suspend and not old.status.start_time:
        movable = ("node_selector", "affinity", "tolerations")
        kept = {name: getattr(new.spec.template.spec, name) for name in movable}
        old_template = dataclasses.replace(
            old_template,
            metadata=new.spec.template.metadata,
            spec=dataclasses.replace(old_template.spec, **kept),
        )
    errors.immutable("spec.template", new.spec.template, old_template)


def cron_job(errors: Errors, obj: CronJob) -> None:
    """Check a CronJob."""
    if len(obj.metadata.name) > MAX_CRON_NAME:
        detail = f"must be no more than {MAX_CRON_NAME} characters"
        errors.invalid("metadata.name", obj.metadata.name, detail)
    spec = obj.spec
    _schedule(errors, spec)
    errors.non_negative("spec.startingDeadlineSeconds", spec.starting_deadline_seconds)
    policies = ("Allow", "Forbid", "Replace")
    if spec.concurrency_policy:
        errors.supported("spec.concurrencyPolicy", spec.concurrency_policy, policies)
    else:
        errors.required("spec.concurrencyPolicy")
    for name, value in (
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ):
        errors.non_negative(f"spec.{name}", value)
    template = spec.job_template
    _spec(errors, template.spec, "spec.jobTemplate.spec")
    if template.spec.manual_selector:
        errors.refuse("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))


def _schedule(errors: Errors, spec: CronJobSpec) -> None:
    path = "spec.schedule"
    if not spec.schedule:
        errors.required(path)
    else:
        problem = cron_problem(spec.schedule)
        if problem:
            errors.invalid(path, spec.schedule, problem)
        elif spec.schedule.startswith(("TZ=", "CRON_TZ=")):
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.invalid(path, spec.schedule, detail)
    zone = spec.time_zone
    if zone is None:
        return
    if not zone:
        errors.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        detail = "timeZone must be an explicit time zone of the IANA database"
        errors.invalid("spec.timeZone", zone, detail)
    else:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            errors.invalid("spec.timeZone", zone, f"unknown time zone {zone}")


def cron_problem(schedule: str) -> str:
    """Return why a schedule does not parse, "" when it does."""
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        schedule = schedule.partition(" ")[2]
    schedule = schedule.strip()
    if schedule.startswith("@"):
        if schedule in _DESCRIPTORS:
            return ""
        if re.fullmatch(r"@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", schedule):
            return ""
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for term in text.split(","):
            problem = _term_problem(term, low, high, list(names))
            if problem:
                return problem
    return ""


def _term_problem(term: str, low: int, high: int, names: list[str]) -> str:
    match = _TERM.fullmatch(term)
    if match is None:
        return f"failed to parse int from {term}"
    first, last, step = match.groups()
    bounds = []
    for word in (first, last):
        if word is None or word in ("*", "?"):
            continue
        if word.lower() in names:
            bounds.append(names.index(word.lower()) + low)
        elif word.isdigit():
            bounds.append(int(word))
        else:
            return f"failed to parse int from {word}"
    if step is not None and int(step) == 0:
        return f"step of range should be a positive number: {term}"
    for number in bounds:
        if number < low:
            return f"beginning of range ({number}) below minimum ({low}): {term}"
        if number > high:
            return f"end of range ({number}) above maximum ({high}): {term}"
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        return f"beginning of range ({bounds[0]}) beyond end of range ({bounds[1]}): {term}"
    return ""
