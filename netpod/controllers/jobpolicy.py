"""Indexed Jobs that count failures per index, and Jobs that are done before every index is (pure).

    backoffLimitPerIndex  each pod carries how often its index failed before; an index that fails once more than the
                          limit is given up, the others go on. The last failed pod of an index keeps its finalizer
                          until the next one is there, so that nobody forgets the count.
    successPolicy         rules of indexes that suffice

Source: kubernetes pkg/controller/job/backoff_utils.go, indexed_job_utils.go, success_policy.go; KEP-3850, KEP-3998.
"""

from collections.abc import Iterable, Sequence

from netpod.api.batch import Job
from netpod.api.pod import Pod
from netpod.controllers import indexes, podfailure

FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def counts_per_index(job: Job) -> bool:
    """Tell whether an index may fail without the whole Job."""
    return job.spec.completion_mode == "Indexed" and job.spec.backoff_limit_per_index is not None


def failures_of(pod: Pod, name: str = FAILURES) -> int:
    """Return how often a pod's index had failed before it."""
    text = pod.metadata.annotations.get(name, "0")
    return int(text) if text.isdigit() else 0


def failed_indexes(job: Job, owned: Iterable[Pod], completed: Iterable[int]) -> set[int]:
    """Return the indexes that are given up: those written, and those whose pods used the limit up."""
    if not counts_per_index(job):
        return set()
    completions = job.spec.completions or 0
    found = indexes.parse(job.status.failed_indexes, completions)
    limit = job.spec.backoff_limit_per_index or 0
    for pod in owned:
        index = indexes.of(pod)
        if index is None or index >= completions or pod.status.phase != "Failed":
            continue
        action = podfailure.judge(job.spec.pod_failure_policy, pod).action
        if action == "FailIndex" or (action != "Ignore" and failures_of(pod) >= limit):
            found.add(index)
    return found - set(completed)


def latest_failed(job: Job, owned: Iterable[Pod]) -> dict[int, Pod]:
    """Return, by index, the failed pod that knows most of its index's failures."""
    found: dict[int, Pod] = {}
    for pod in owned:
        index = indexes.of(pod)
        if index is None or pod.status.phase != "Failed":
            continue
        known = found.get(index)
        if known is None or _tried(pod) > _tried(known):
            found[index] = pod
    return found


def _tried(pod: Pod) -> tuple[int, str]:
    return failures_of(pod) + failures_of(pod, IGNORED), pod.metadata.creation_timestamp


def marks(job: Job, last: Pod | None) -> dict[str, str]:
    """Return the annotations by which the next pod of an index knows what failed before it."""
    if last is None:
        return {FAILURES: "0"}
    ignored = podfailure.judge(job.spec.pod_failure_policy, last).action == "Ignore"
    told = {FAILURES: str(failures_of(last) + (not ignored))}
    if ignored or failures_of(last, IGNORED):
        told[IGNORED] = str(failures_of(last, IGNORED) + ignored)
    return told


def kept(job: Job, owned: Sequence[Pod], active: Iterable[Pod], over: Iterable[int]) -> set[str]:
    """Return the uids of failed pods that are still needed: the last of each index that nobody has followed.

    Args:
        job: Counts per index, or nothing is kept.
        owned: Its pods.
        active: Those that run.
        over: Indexes that have completed or are given up.
    """
    if not counts_per_index(job):
        return set()
    followed = {indexes.of(pod) for pod in active} | set(over)
    last = latest_failed(job, owned)
    return {pod.metadata.uid for index, pod in last.items() if index not in followed}


def success_rule(job: Job, completed: Iterable[int]) -> int | None:
    """Return which rule of the success policy the completed indexes meet, None when none."""
    policy = job.spec.success_policy
    if policy is None or job.spec.completion_mode != "Indexed":
        return None
    done = set(completed)
    for number, rule in enumerate(policy.get("rules") or ()):
        chosen = done
        asked = rule.get("succeededIndexes")
        if asked is not None:
            wanted = indexes.parse(str(asked), job.spec.completions or 0)
            chosen = done & wanted
            if rule.get("succeededCount") is None and chosen == wanted:
                return number
        count = rule.get("succeededCount")
        if count is not None and len(chosen) >= int(count):
            return number
    return None
