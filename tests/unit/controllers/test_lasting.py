"""Workloads when the control plane is killed, when a namespace goes, and when pods are refused."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from netpod.api.batch import Job
from netpod.api.core import Namespace
from netpod.api.pod import Pod
from netpod.client.rest import Client
from netpod.controllers import controller
from tests.unit.controllers import plane, workloads
from tests.unit.controllers.test_daemonset import AGENT
from tests.unit.controllers.test_job import TEMPLATE, ended, job
from tests.unit.controllers.test_statefulset import DB


def test_killed_controllers_count_every_pod_of_a_job_once(tmp_path: Path) -> None:
    """Twenty completions over controllers that are killed again and again: exactly twenty pods, all counted."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "node-0")
            await client.create(job(completions=20, parallelism=4, template=TEMPLATE))
            async with plane.running(workloads.play_kubelets(client, lambda _: "succeed")):
                for pause in (0.15, 0.05, 0.2, 0.1, 0.25, 0.3):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await workloads.controllers(client)
                async with plane.running(workloads.controllers(client)):
                    await plane.until(lambda: ended(client, "Complete"))
            state = (await client.get(Job, "work", "shop")).status
            assert (state.succeeded, state.failed) == (20, 0)
            assert len(await plane.pods(client)) == 20

    asyncio.run(story())


def test_namespace_goes_with_all_workloads_in_it(tmp_path: Path) -> None:
    """No finalizer of ours and no controller that makes new pods holds a namespace up."""

    async def story(client: Client) -> None:
        for manifest in (AGENT, DB):
            await client.create(workloads.made(manifest))
        await client.create(job(completions=3, parallelism=3, template=TEMPLATE))

        async def busy() -> bool:
            found = await plane.pods(client)
            return sum(p.status.phase == "Running" for p in found) >= 6

        await plane.until(busy)
        await client.delete(Namespace, "shop")
        await plane.until(lambda: plane.is_gone(client, Namespace, "shop", ""))

    workloads.tell(tmp_path, story)


def test_orphaned_pods_stay_and_are_adopted_again(tmp_path: Path) -> None:
    """A StatefulSet deleted with Orphan leaves its pods; made again it takes the same ones."""

    async def story(client: Client) -> None:
        made = workloads.made(DB)
        await client.create(made)

        async def three() -> bool:
            found = await plane.pods(client)
            return sum(p.status.phase == "Running" for p in found) == 3

        await plane.until(three)
        before = {p.metadata.uid for p in await plane.pods(client)}
        await client.delete(type(made), "db", "shop", propagation_policy="Orphan")
        await plane.until(lambda: plane.is_gone(client, type(made), "db"))

        async def alone() -> bool:
            return not any(p.metadata.owner_references for p in await plane.pods(client))

        await plane.until(alone)
        again = await client.create(made)

        async def adopted() -> bool:
            found = await plane.pods(client)
            owners = {controller.owner_uid(p) for p in found}
            return owners == {again.metadata.uid} and {p.metadata.uid for p in found} == before

        await plane.until(adopted)

    workloads.tell(tmp_path, story)


def test_refused_pods_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the API server refuses pods for good, their owner tries again after a while, and says why."""
    monkeypatch.setattr(controller, "REFUSED_RETRY", 0.1)
    long = "x" * 64

    async def story(client: Client) -> None:
        made = await client.create(
            workloads.made(DB.replace("{name: db}\nspec", f"{{name: {long}}}\nspec"))
        )

        async def said() -> bool:
            found = await workloads.events(client, made)
            return any(reason == "FailedCreate" for _, reason, _ in found)

        await plane.until(said)
        assert (await client.list(Pod, "shop")).items == ()

    workloads.tell(tmp_path, story)
