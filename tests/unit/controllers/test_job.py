"""Jobs against the real API server and scheduler."""

from pathlib import Path

import pytest

from netpod.api import meta
from netpod.api.batch import Job
from netpod.api.pod import Pod
from netpod.client.rest import Client
from netpod.controllers import indexes, podfailure
from tests.unit.controllers import builders, plane, workloads


def job(**spec: object) -> Job:
    """Return Job work as an author writes it."""
    import orjson

    text = orjson.dumps(spec).decode()
    manifest = f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: work}}
spec: {text}
"""
    made: Job = workloads.made(manifest)
    return made


TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]}}


async def ended(client: Client, type_: str, reason: str = "") -> bool:
    """Tell whether the Job has that condition."""
    found = meta.condition((await client.get(Job, "work", "shop")).status.conditions, type_)
    return found is not None and found.status == "True" and found.reason == reason


async def started(client: Client, count: int) -> bool:
    """Tell whether so many of the Job's pods run."""
    return sum(p.status.phase == "Running" for p in await plane.pods(client)) == count


def test_completions_are_counted_and_parallelism_is_kept(tmp_path: Path) -> None:
    """Five completions, two at a time: never three at once, five counted, no finalizer is left."""

    async def story(client: Client) -> None:
        made = await client.create(job(completions=5, parallelism=2, template=TEMPLATE))

        async def done() -> bool:
            active = [p for p in await plane.pods(client) if p.status.phase == "Pending"]
            assert len(active) <= 2, "parallelism 2"
            return await ended(client, "Complete")

        await plane.until(done)
        state = (await client.get(Job, "work", "shop")).status
        assert (state.succeeded, state.failed, state.active) == (5, 0, 0)
        assert state.completion_time
        found = await plane.pods(client)
        assert len(found) == 5
        assert not any(p.metadata.finalizers for p in found)
        await plane.until(lambda: said(client, made, "Completed"))

    workloads.tell(tmp_path, story, play=lambda _: "succeed")


async def said(client: Client, about: Job, reason: str) -> bool:
    """Tell whether the job controller said so."""
    return any(
        (component, why) == ("job-controller", reason)
        for component, why, _ in await workloads.events(client, about)
    )


def test_failures_end_the_job_at_the_backoff_limit(tmp_path: Path) -> None:
    """backoffLimit 2: three pods fail, the Job is Failed with BackoffLimitExceeded."""

    async def story(client: Client) -> None:
        made = await client.create(job(backoffLimit=2, template=TEMPLATE))
        await plane.until(lambda: ended(client, "Failed", "BackoffLimitExceeded"))
        state = (await client.get(Job, "work", "shop")).status
        assert (state.succeeded, state.failed, state.active) == (0, 3, 0)
        await plane.until(lambda: said(client, made, "BackoffLimitExceeded"))

    workloads.tell(tmp_path, story, play=lambda _: "fail", job_backoff=0.01)


def test_indexed_job_runs_every_index_until_it_succeeds(tmp_path: Path) -> None:
    """Each index has a pod of its number and host name; a failed index is tried again."""
    failed: set[str] = set()

    def play(pod: Pod) -> str:
        index = indexes.of(pod)
        if index == 1 and not failed:
            failed.add(pod.metadata.uid)
        return "fail" if pod.metadata.uid in failed else "succeed"

    async def story(client: Client) -> None:
        await client.create(
            job(completions=4, parallelism=4, completionMode="Indexed", template=TEMPLATE)
        )
        await plane.until(lambda: ended(client, "Complete"))
        state = (await client.get(Job, "work", "shop")).status
        assert (state.completed_indexes, state.succeeded, state.failed) == ("0-3", 4, 1)
        pod = next(p for p in await plane.pods(client) if indexes.of(p) == 2)
        assert pod.metadata.name.startswith("work-2-")
        assert pod.spec.hostname == "work-2"
        assert "JOB_COMPLETION_INDEX" in {e.name for e in pod.spec.containers[0].env}

    workloads.tell(tmp_path, story, play=play, job_backoff=0.01)


def test_deadline_ends_running_pods(tmp_path: Path) -> None:
    """activeDeadlineSeconds 1: the running pod goes and the Job is Failed with DeadlineExceeded."""

    async def story(client: Client) -> None:
        await client.create(job(activeDeadlineSeconds=1, template=TEMPLATE))
        await plane.until(lambda: ended(client, "Failed", "DeadlineExceeded"))

        async def none() -> bool:
            return not await plane.pods(client)

        await plane.until(none)

    workloads.tell(tmp_path, story)


def test_suspended_job_has_no_pods_until_it_is_resumed(tmp_path: Path) -> None:
    """Suspending ends the pods without counting them; resuming makes new ones."""

    async def story(client: Client) -> None:
        await client.create(job(parallelism=2, completions=2, template=TEMPLATE))
        await plane.until(lambda: started(client, 2))
        await client.patch(Job, "work", "shop", {"spec": {"suspend": True}})
        await plane.until(lambda: ended(client, "Suspended", "JobSuspended"))

        async def none() -> bool:
            return not await plane.pods(client)

        await plane.until(none)
        state = (await client.get(Job, "work", "shop")).status
        assert (state.failed, state.start_time) == (0, None)
        await client.patch(Job, "work", "shop", {"spec": {"suspend": False}})
        await plane.until(lambda: started(client, 2))

    workloads.tell(tmp_path, story)


def test_finished_job_goes_after_its_ttl_and_a_deleted_one_leaves_no_pod(tmp_path: Path) -> None:
    """ttlSecondsAfterFinished 0 deletes the Job and its pods; so does deleting a Job that runs."""
    wish = ["succeed"]

    async def story(client: Client) -> None:
        async def none() -> bool:
            return await plane.is_gone(client, Job, "work") and not await plane.pods(client)

        await client.create(job(ttlSecondsAfterFinished=0, template=TEMPLATE))
        await plane.until(none)
        wish[0] = "run"
        await client.create(job(template=TEMPLATE))
        await plane.until(lambda: started(client, 1))
        await client.delete(Job, "work", "shop", propagation_policy="Background")
        await plane.until(none)

    workloads.tell(tmp_path, story, play=lambda _: wish[0])


def test_pod_failure_policy_ends_the_job_at_once(tmp_path: Path) -> None:
    """FailJob on exit code 3: one failure is enough."""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}

    async def story(client: Client) -> None:
        await client.create(job(podFailurePolicy={"rules": [rule]}, template=TEMPLATE))
        await plane.until(lambda: ended(client, "Failed", "PodFailurePolicy"))
        assert (await client.get(Job, "work", "shop")).status.failed == 1

    workloads.tell(tmp_path, story, play=lambda _: "fail")


def test_pod_failure_policy_ignores_disrupted_pods() -> None:
    """A pod with condition DisruptionTarget matches an Ignore rule on it."""
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    pod = builders.pod("a", phase="Failed")
    assert podfailure.judge({"rules": [rule]}, pod).action == "Count"
    rule["onPodConditions"] = [{"type": "Ready", "status": "True"}]
    assert podfailure.judge({"rules": [rule]}, pod).action == "Ignore"


@pytest.mark.parametrize(
    ("text", "found"), [("", []), ("0,2-4", [0, 2, 3, 4]), ("0,1", [0, 1]), ("3-5,7", [3, 4, 5, 7])]
)
def test_indexes_are_written_as_upstream_does(text: str, found: list[int]) -> None:
    """Ranges from three on; reading is the inverse."""
    assert indexes.text(found) == text
    assert sorted(indexes.parse(text, 10)) == found


def test_pods_that_no_job_owns_are_let_go(tmp_path: Path) -> None:
    """The finalizer goes with the Job's name on a pod, and off a pod that is to go and names no Job any more."""

    async def story(client: Client) -> None:
        await client.create(job(parallelism=1, template=TEMPLATE))
        await plane.until(lambda: started(client, 1))
        (pod,) = await plane.pods(client)
        await client.patch(Pod, pod.metadata.name, "shop", {"metadata": {"labels": None}})

        async def released() -> bool:
            found = await client.get(Pod, pod.metadata.name, "shop")
            return not found.metadata.owner_references and not found.metadata.finalizers

        await plane.until(released, "released")
        await plane.until(lambda: started(client, 2))
        (other,) = [p for p in await plane.pods(client) if p.metadata.uid != pod.metadata.uid]
        away = {"metadata": {"labels": None, "ownerReferences": None}}
        await client.patch(Pod, other.metadata.name, "shop", away)
        await client.delete(Pod, other.metadata.name, "shop")
        await plane.until(lambda: plane.is_gone(client, Pod, other.metadata.name), "gone")

    workloads.tell(tmp_path, story)
