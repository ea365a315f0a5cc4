"""CronJobs against the real API server and scheduler, by a clock of the test's."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from netpod.api import cron, meta
from netpod.api.batch import CronJob, Job
from netpod.client.rest import Client
from netpod.controllers import cronjobs
from tests.unit.controllers import builders, plane, workloads

TICK = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  concurrencyPolicy: POLICY
  successfulJobsHistoryLimit: 1
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "tick:1"}]}}}
"""


class Clock:
    """Real time moved to just before a full minute, and further when told to."""

    def __init__(self) -> None:
        now = meta.now()
        self.offset = now.replace(second=59, microsecond=0) - now

    def __call__(self) -> datetime:
        """Return the moment."""
        return meta.now() + self.offset


async def jobs_of(client: Client) -> list[Job]:
    """Return the Jobs by name."""
    return sorted((await client.list(Job, "shop")).items, key=lambda j: j.metadata.name)


async def touch(client: Client) -> None:
    """Have the CronJob looked at again."""
    stamp = {"metadata": {"annotations": {"touched": meta.micro_timestamp(meta.now())}}}
    await client.patch(CronJob, "tick", "shop", stamp)


async def runs(client: Client, count: int, clock: Clock) -> bool:
    """Tell whether so many Jobs have been made; moves the clock on by a minute until then."""
    if len(await jobs_of(client)) >= count:
        return True
    clock.offset += timedelta(seconds=20)
    await touch(client)
    await asyncio.sleep(0.05)
    return False


def manifest(policy: str = "Allow") -> CronJob:
    """Return CronJob tick."""
    made: CronJob = workloads.made(TICK.replace("POLICY", policy))
    return made


def test_a_job_is_made_at_the_full_minute_and_old_ones_go(tmp_path: Path) -> None:
    """One Job per minute under the minute's name; of those that succeeded one is kept."""
    clock = Clock()

    async def story(client: Client) -> None:
        made = await client.create(manifest())
        await plane.until(lambda: runs(client, 1, clock))
        (first,) = await jobs_of(client)
        minutes = int(clock().timestamp()) // 60
        assert int(first.metadata.name.removeprefix("tick-")) in (minutes, minutes - 1)
        assert cronjobs.SCHEDULED in first.metadata.annotations

        async def renewed() -> bool:
            clock.offset += timedelta(seconds=20)
            await touch(client)
            await asyncio.sleep(0.05)
            names = {j.metadata.name for j in await jobs_of(client)}
            state = (await client.get(CronJob, "tick", "shop")).status
            return first.metadata.name not in names and bool(state.last_successful_time)

        await plane.until(renewed)
        said = {
            (component, reason) for component, reason, _ in await workloads.events(client, made)
        }
        assert ("cronjob-controller", "SuccessfulCreate") in said
        assert ("cronjob-controller", "SawCompletedJob") in said

    workloads.tell(tmp_path, story, play=lambda _: "succeed", clock=clock)


def test_forbid_waits_for_the_running_job(tmp_path: Path) -> None:
    """With concurrencyPolicy Forbid a run is left out while the one before is active."""
    clock = Clock()

    async def story(client: Client) -> None:
        made = await client.create(manifest("Forbid"))
        await plane.until(lambda: runs(client, 1, clock))
        clock.offset += timedelta(minutes=2)
        await touch(client)

        async def refused() -> bool:
            said = await workloads.events(client, made)
            return any(reason == "JobAlreadyActive" for _, reason, _ in said)

        await plane.until(refused)
        assert len(await jobs_of(client)) == 1

    workloads.tell(tmp_path, story, clock=clock)


def test_replace_ends_the_running_job(tmp_path: Path) -> None:
    """With concurrencyPolicy Replace the next run takes the place of the active one."""
    clock = Clock()

    async def story(client: Client) -> None:
        await client.create(manifest("Replace"))
        await plane.until(lambda: runs(client, 1, clock))
        (first,) = await jobs_of(client)
        clock.offset += timedelta(minutes=1)
        await touch(client)

        async def replaced() -> bool:
            found = await jobs_of(client)
            return len(found) == 1 and found[0].metadata.uid != first.metadata.uid

        await plane.until(replaced)

    workloads.tell(tmp_path, story, clock=clock)


def test_suspended_cron_job_makes_nothing_and_missed_runs_are_one(tmp_path: Path) -> None:
    """While suspended no Job is made; resumed after minutes, one is."""
    clock = Clock()

    async def story(client: Client) -> None:
        held = manifest()
        await client.create(
            dataclasses.replace(held, spec=dataclasses.replace(held.spec, suspend=True))
        )
        clock.offset += timedelta(minutes=5)
        await touch(client)
        await asyncio.sleep(0.3)
        assert await jobs_of(client) == []
        await client.patch(CronJob, "tick", "shop", {"spec": {"suspend": False}})

        async def one() -> bool:
            return len(await jobs_of(client)) == 1

        await plane.until(one)

    workloads.tell(tmp_path, story, clock=clock)


def _due(since: str, now: str, deadline: int | None = None) -> cronjobs.Due:
    known = manifest()
    known = dataclasses.replace(
        known,
        spec=dataclasses.replace(known.spec, starting_deadline_seconds=deadline),
        status=dataclasses.replace(known.status, last_schedule_time=since),
    )
    read: Callable[[str], datetime] = meta.parse_timestamp
    zone = builders.NOW.tzinfo
    assert zone is not None
    return cronjobs.due(known, cron.parse("*/5 * * * *"), zone, read(now))


def test_what_is_due_after_a_long_sleep_is_the_last_run() -> None:
    """A day of missed runs is one run, the latest; the starting deadline limits how far back."""
    found = _due("2026-01-01T12:00:00Z", "2026-01-02T12:07:30Z")
    assert found.run == meta.parse_timestamp("2026-01-02T12:05:00Z")
    assert found.missed > cronjobs.TOO_MANY
    assert _due("2026-01-01T12:00:00Z", "2026-01-01T12:04:00Z").run is None
    assert _due("2026-01-01T12:00:00Z", "2026-01-01T12:16:00Z", 200).missed == 1
    assert _due("2026-01-01T12:00:00Z", "2026-01-01T12:16:00Z", 30).run is None
