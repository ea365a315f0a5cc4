"""Indexed Jobs that give single indexes up, and Jobs that are done before all indexes are."""

from pathlib import Path

import pytest

from netpod.api import meta
from netpod.api.batch import Job
from netpod.api.pod import Pod
from netpod.client.rest import Client
from netpod.controllers import indexes, jobpolicy
from netpod.errors import Invalid
from tests.unit.controllers import plane, workloads
from tests.unit.controllers.test_job import TEMPLATE, ended, job


def by_index(*failing: int) -> workloads.Play:
    """Pods of some indexes fail, the others succeed."""
    return lambda pod: "fail" if indexes.of(pod) in failing else "succeed"


async def tried(client: Client) -> list[tuple[int | None, int]]:
    """Index and earlier failures of every pod, sorted."""
    found = [(indexes.of(p), jobpolicy.failures_of(p)) for p in await plane.pods(client)]
    return sorted(found, key=str)


def test_an_index_is_given_up_alone(tmp_path: Path) -> None:
    """backoffLimitPerIndex 1: index 1 is tried twice and fails, the others complete; then the Job is Failed."""

    async def story(client: Client) -> None:
        more = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}
        await client.create(job(backoffLimitPerIndex=1, template=TEMPLATE, **more))
        await plane.until(lambda: ended(client, "Failed", "FailedIndexes"))
        status = (await client.get(Job, "work", "shop")).status
        assert (status.completed_indexes, status.failed_indexes) == ("0,2", "1")
        assert (status.succeeded, status.failed) == (2, 2)
        assert await tried(client) == [(0, 0), (1, 0), (1, 1), (2, 0)]
        assert not any(p.metadata.finalizers for p in await plane.pods(client))

    workloads.tell(tmp_path, story, play=by_index(1), job_backoff=0.05)


def test_the_count_of_failures_outlives_the_failed_pod(tmp_path: Path) -> None:
    """Whoever deletes a failed pod does not give its index another try: its finalizer keeps it until then."""

    async def story(client: Client) -> None:
        more = {"completions": 1, "completionMode": "Indexed"}
        await client.create(job(backoffLimitPerIndex=1, template=TEMPLATE, **more))

        async def failed() -> bool:
            return any(p.status.phase == "Failed" for p in await plane.pods(client))

        await plane.until(failed)
        for pod in await plane.pods(client):
            # The second try may be there already; it is to fail by itself.
            if pod.status.phase == "Failed":
                await client.delete(Pod, pod.metadata.name, "shop")
        await plane.until(lambda: ended(client, "Failed", "FailedIndexes"))
        status = (await client.get(Job, "work", "shop")).status
        assert (status.failed, status.failed_indexes) == (2, "0")

    workloads.tell(tmp_path, story, play=by_index(0), job_backoff=0.3)


def test_too_many_given_up_indexes_end_the_job(tmp_path: Path) -> None:
    """maxFailedIndexes 0: the first one ends it, and what runs is ended."""

    async def story(client: Client) -> None:
        more = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}
        limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}
        await client.create(job(template=TEMPLATE, **limits, **more))
        await plane.until(lambda: ended(client, "Failed", "MaxFailedIndexesExceeded"))

        async def one_left() -> bool:
            return [indexes.of(p) for p in await plane.pods(client)] == [2]

        await plane.until(one_left)

    workloads.tell(tmp_path, story, play=lambda p: "fail" if indexes.of(p) == 2 else "run")


def test_a_success_policy_ends_the_job_early(tmp_path: Path) -> None:
    """One of indexes 0 and 1 suffices: Complete by SuccessPolicy, the rest is ended."""

    async def story(client: Client) -> None:
        more = {"completions": 4, "parallelism": 4, "completionMode": "Indexed"}
        rules = [{"succeededIndexes": "3"}, {"succeededIndexes": "0-1", "succeededCount": 1}]
        await client.create(job(successPolicy={"rules": rules}, template=TEMPLATE, **more))
        await plane.until(lambda: ended(client, "Complete", "SuccessPolicy"))
        status = (await client.get(Job, "work", "shop")).status
        met = meta.condition(status.conditions, "SuccessCriteriaMet")
        assert met is not None
        assert (met.status, met.message) == ("True", "Matched rules at index 1")
        assert (status.completed_indexes, status.active) == ("1", 0)

    play: workloads.Play = lambda p: "succeed" if indexes.of(p) == 1 else "run"  # noqa: E731
    workloads.tell(tmp_path, story, play=play)


def test_limits_per_index_need_indexes(tmp_path: Path) -> None:
    """The field is named."""

    async def story(client: Client) -> None:
        for field, value in (("backoffLimitPerIndex", 1), ("successPolicy", {"rules": [{}]})):
            with pytest.raises(Invalid, match=f"spec.{field}: .*requires indexed completion mode"):
                await client.create(job(template=TEMPLATE, **{field: value}))

    workloads.tell(tmp_path, story)
