"""What a Job counts, whether it is over, and which pods it makes or ends next (pure).

A pod that ended is counted once: its finalizer keeps it until its uid stands in `uncountedTerminatedPods`; when the
finalizer is gone the uid moves into the counter. Killed at any point, the next pass goes on from what is written.

Source: kubernetes pkg/controller/job/job_controller.go, tracking_utils.go, backoff_utils.go.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from netpod.api import meta
from netpod.api.batch import Job, JobStatus
from netpod.api.meta import Condition
from netpod.api.pod import Pod
from netpod.controllers import indexes, jobpolicy, podfailure, pods

FINALIZER = "batch.kubernetes.io/job-tracking"
BACKOFF_FIRST, BACKOFF_MAX = 10.0, 600.0
"""Seconds until a failed pod is replaced, doubling. Source: DefaultJobPodFailureBackOff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A Job's pods, sorted.

    Attributes:
        active: Neither ended nor on their way out.
        succeeded: Counted and about to be counted.
        failed: The same.
        uncounted: uids that are to stand in uncountedTerminatedPods, of pods that succeeded and that failed.
        release: Pods whose finalizer may go once the uids are written.
        completed: Indexes that succeeded.
        given_up: Indexes that failed for good.
        terminating: Pods that are leaving and have not ended yet.
        fail: Why the pod failure policy ends the Job, or "".
    """

    active: tuple[Pod, ...]
    succeeded: int
    failed: int
    uncounted: tuple[tuple[str, ...], tuple[str, ...]]
    counted: tuple[int, int]
    release: tuple[Pod, ...]
    completed: frozenset[int]
    given_up: frozenset[int]
    terminating: int
    fail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a Job is over: condition type, reason and message."""

    type: str
    reason: str = ""
    message: str = ""


def is_indexed(job: Job) -> bool:
    """Tell whether each completion has a number."""
    return job.spec.completion_mode == "Indexed"


def finished(job: Job) -> Condition | None:
    """Return condition Complete or Failed when it is True."""
    for type_ in ("Complete", "Failed"):
        known = meta.condition(job.status.conditions, type_)
        if known is not None and known.status == "True":
            return known
    return None


def tally(
    job: Job, owned: Sequence[Pod], leaving: Iterable[str] = (), *, over: bool = False
) -> Tally:
    """Sort a Job's pods.

    Args:
        job: Gives what was counted before.
        owned: Its pods.
        leaving: uids of pods we have deleted ourselves.
        over: The Job ends: no failed pod is kept for the sake of its successor.
    """
    gone = set(leaving)
    before = job.status.uncounted_terminated_pods or {}
    holding = {p.metadata.uid: p for p in owned if FINALIZER in p.metadata.finalizers}
    waiting = [list(before.get("succeeded") or ()), list(before.get("failed") or ())]
    counted = [job.status.succeeded, job.status.failed]
    for kind in (0, 1):
        for uid in list(waiting[kind]):
            if uid not in holding:
                waiting[kind].remove(uid)
                counted[kind] += 1
    completions = job.spec.completions or 0
    completed = indexes.parse(job.status.completed_indexes, completions)
    known = {*waiting[0], *waiting[1]}
    active: list[Pod] = []
    release: list[Pod] = []
    terminating, fail = 0, ""
    only_failed = job.spec.pod_replacement_policy == "Failed"
    for pod in owned:
        uid = pod.metadata.uid
        if uid in holding and uid in known:
            release.append(pod)
        elif uid in holding and pod.status.phase == "Succeeded":
            index = indexes.of(pod)
            if not is_indexed(job):
                waiting[0].append(uid)
            elif index is not None and index < completions and index not in completed:
                completed.add(index)
            release.append(pod)
        elif uid in holding and _has_failed(pod, only_failed=only_failed):
            decision = podfailure.judge(job.spec.pod_failure_policy, pod)
            if decision.action == "FailJob":
                fail = fail or decision.message
            if decision.action != "Ignore":
                waiting[1].append(uid)
            release.append(pod)
        elif pods.is_terminating(pod) and not pods.is_finished(pod):
            terminating += 1
        elif pods.is_active(pod) and uid not in gone:
            active.append(pod)
    if is_indexed(job):
        counted[0] = len(completed)
    given_up = jobpolicy.failed_indexes(job, owned, completed)
    kept = set() if over else jobpolicy.kept(job, owned, active, {*completed, *given_up})
    return Tally(
        active=tuple(active),
        succeeded=counted[0] + len(waiting[0]),
        failed=counted[1] + len(waiting[1]),
        uncounted=(tuple(waiting[0]), tuple(waiting[1])),
        counted=(counted[0], counted[1]),
        release=tuple(pod for pod in release if pod.metadata.uid not in kept),
        completed=frozenset(completed),
        given_up=frozenset(given_up),
        terminating=terminating,
        fail=fail,
    )


def _has_failed(pod: Pod, *, only_failed: bool) -> bool:
    if pod.status.phase == "Failed":
        return True
    return not only_failed and pods.is_terminating(pod) and pod.status.phase != "Succeeded"


def end(job: Job, count: Tally, now: datetime) -> End | None:
    """Return how the Job is over, None while it is not."""
    met = meta.condition(job.status.conditions, "SuccessCriteriaMet")
    if met is not None and met.status == "True":
        return End(type="Complete", reason=met.reason, message=met.message)
    target = meta.condition(job.status.conditions, "FailureTarget")
    if target is not None and target.status == "True":
        return End(type="Failed", reason=target.reason, message=target.message)
    if count.fail:
        return End(type="Failed", reason="PodFailurePolicy", message=count.fail)
    rule = jobpolicy.success_rule(job, count.completed)
    if rule is not None:
        message = f"Matched rules at index {rule}"
        return End(type="Complete", reason="SuccessPolicy", message=message)
    most = job.spec.max_failed_indexes
    if most is not None and len(count.given_up) > most:
        message = "Job has exceeded the specified maximal number of failed indexes"
        return End(type="Failed", reason="MaxFailedIndexesExceeded", message=message)
    limit = job.spec.backoff_limit if job.spec.backoff_limit is not None else 6
    if count.failed > limit or _restarts_too_often(job, count.active, limit):
        message = "Job has reached the specified backoff limit"
        return End(type="Failed", reason="BackoffLimitExceeded", message=message)
    due = deadline(job)
    if due is not None and due <= now:
        message = "Job was active longer than specified deadline"
        return End(type="Failed", reason="DeadlineExceeded", message=message)
    if job.spec.completions is None:
        complete = count.succeeded > 0 and not count.active
    elif count.given_up and len(count.given_up) + count.succeeded >= job.spec.completions:
        return End(type="Failed", reason="FailedIndexes", message="Job has failed indexes")
    else:
        complete = count.succeeded >= job.spec.completions
    return End(type="Complete") if complete else None


def _restarts_too_often(job: Job, active: Iterable[Pod], limit: int) -> bool:
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in active
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def deadline(job: Job) -> datetime | None:
    """Return when the Job has run for too long."""
    start = pods.moment(job.status.start_time)
    seconds = job.spec.active_deadline_seconds
    if start is None or seconds is None or job.spec.suspend:
        return None
    return start + timedelta(seconds=seconds)


def backoff(owned: Iterable[Pod], first: float, now: datetime) -> float:
    """Return the seconds until a failed pod may be replaced: doubling with each failure since the last success."""
    ended = [(when, p) for p in owned if pods.is_finished(p) and (when := _ended_at(p)) is not None]
    success = max((when for when, p in ended if p.status.phase == "Succeeded"), default=None)
    failures = [
        when
        for when, p in ended
        if p.status.phase == "Failed" and (success is None or when > success)
    ]
    if not failures:
        return 0.0
    pause = min(first * 2 ** (len(failures) - 1), BACKOFF_MAX)
    return max(0.0, (max(failures) + timedelta(seconds=pause) - now).total_seconds())


def index_backoff(
    job: Job, owned: Sequence[Pod], wanted: Iterable[int], first: float, now: datetime
) -> tuple[list[int], float]:
    """Return the indexes that may have a pod now, and the seconds until the next of the others may."""
    last = jobpolicy.latest_failed(job, owned)
    free: list[int] = []
    waits: list[float] = []
    for index in wanted:
        pod = last.get(index)
        ended = _ended_at(pod) if pod is not None else None
        if pod is None or ended is None:
            free.append(index)
            continue
        pause = min(first * 2 ** min(jobpolicy.failures_of(pod), 20), BACKOFF_MAX)
        left = (ended + timedelta(seconds=pause) - now).total_seconds()
        if left > 0:
            waits.append(left)
        else:
            free.append(index)
    return free, min(waits, default=0.0)


def _ended_at(pod: Pod) -> datetime | None:
    ends = [
        when
        for status in pod.status.container_statuses
        if status.state.terminated is not None
        and (when := pods.moment(status.state.terminated.finished_at)) is not None
    ]
    if ends:
        return max(ends)
    ready = meta.condition(pod.status.conditions, "Ready")
    return pods.moment(ready.last_transition_time if ready else pod.metadata.creation_timestamp)


def wanted(job: Job, count: Tally) -> int:
    """Return how many pods should be active now; suspended and finished ones ask for none."""
    parallelism = job.spec.parallelism if job.spec.parallelism is not None else 1
    if job.spec.suspend:
        return 0
    if job.spec.completions is None:
        number = parallelism if count.succeeded == 0 else len(count.active)
    else:
        number = job.spec.completions - count.succeeded - len(count.given_up)
    number = max(0, min(number, parallelism))
    if job.spec.pod_replacement_policy == "Failed":
        number = max(0, number - count.terminating)
    return number


def next_indexes(job: Job, count: Tally, number: int) -> list[int]:
    """Return the lowest indexes that have neither ended for good nor a pod."""
    busy = {indexes.of(pod) for pod in count.active} | count.completed | count.given_up
    return [i for i in range(job.spec.completions or 0) if i not in busy][:number]


def surplus(job: Job, count: Tally, number: int) -> list[Pod]:
    """Return the active pods to end, so that `number` stay: doubles of an index, then those least far on."""
    seen: set[int | None] = set()
    doubles: list[Pod] = []
    rest: list[Pod] = []
    for pod in count.active:
        index = indexes.of(pod)
        double = is_indexed(job) and (index in seen or index in count.completed)
        (doubles if double else rest).append(pod)
        seen.add(index)
    order = sorted(
        rest,
        key=lambda p: (bool(p.spec.node_name), pods.is_ready(p), p.metadata.creation_timestamp),
    )
    return [*doubles, *order[: max(0, len(rest) - number)]]


def status(job: Job, count: Tally, active: int, ready: int, now: datetime) -> JobStatus:
    """Write the counts."""
    uncounted = {
        name: list(uids)
        for name, uids in zip(("succeeded", "failed"), count.uncounted, strict=True)
        if uids
    }
    start = job.status.start_time
    if start is None and not job.spec.suspend:
        start = meta.timestamp(now)
    return dataclasses.replace(
        job.status,
        active=active,
        ready=ready,
        terminating=count.terminating,
        succeeded=count.counted[0],
        failed=count.counted[1],
        uncounted_terminated_pods=uncounted,
        completed_indexes=indexes.text(count.completed),
        failed_indexes=indexes.text(count.given_up) if jobpolicy.counts_per_index(job) else None,
        start_time=start,
    )
