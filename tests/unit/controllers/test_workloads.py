"""Deployments and ReplicaSets against the real API server."""

import asyncio
import contextlib
import dataclasses
from pathlib import Path

from netpod.api import meta
from netpod.api.apps import Deployment, ReplicaSet
from netpod.api.meta import LabelSelector, ObjectMeta
from netpod.api.pod import Pod
from netpod.client.rest import Client
from netpod.controllers import revisions
from tests.unit.controllers import builders, plane


def wanted(replicas: int = 3, *, recreate: bool = False) -> Deployment:
    """Return a Deployment as an author writes it."""
    full = builders.deployment(replicas, recreate=recreate, surge=1, unavailable=0)
    return dataclasses.replace(full, metadata=ObjectMeta(name="web", namespace="shop"))


async def is_complete(client: Client, replicas: int) -> bool:
    """Tell whether the Deployment says that it is done."""
    found = await client.get(Deployment, "web", "shop")
    status = found.status
    done = meta.condition(status.conditions, "Progressing")
    return (
        status.observed_generation == found.metadata.generation
        and (status.replicas, status.updated_replicas, status.available_replicas)
        == (replicas, replicas, replicas)
        and done is not None
        and done.reason == "NewReplicaSetAvailable"
    )


def test_deployment_becomes_pods_and_follows_scale_and_template(tmp_path: Path) -> None:
    """Created, scaled, rolled and rolled back: always the wanted number, revisions count on."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            async with plane.running(
                plane.all_controllers(client), plane.play_kubelet(client, "worker")
            ):
                await client.create(wanted())
                await plane.until(lambda: is_complete(client, 3), "three pods")
                patch = {"spec": {"replicas": 5}}
                await client.patch(Deployment, "web", "shop", patch)
                await plane.until(lambda: is_complete(client, 5), "five pods")
                assert len(await plane.pods(client)) == 5
                await roll(client, "web:2")
                sets = (await client.list(ReplicaSet, "shop")).items
                assert sorted(rs.spec.replicas or 0 for rs in sets) == [0, 5]

                async def only_new() -> bool:
                    images = {p.spec.containers[0].image for p in await plane.pods(client)}
                    return images == {"web:2"}

                await plane.until(only_new, "the last old pod is gone")
                await roll(client, "web:1")
                found = await client.get(Deployment, "web", "shop")
                assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
                assert len((await client.list(ReplicaSet, "shop")).items) == 2

    asyncio.run(story())


async def roll(client: Client, image: str) -> None:
    """Change the image and wait for the end of the rollout; never more than 6 or fewer than 5 ready."""
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await client.patch(Deployment, "web", "shop", patch)

    async def done() -> bool:
        alive = [p for p in await plane.pods(client) if not p.metadata.deletion_timestamp]
        ready = [p for p in alive if meta.condition(p.status.conditions, "Ready")]
        assert len(alive) <= 6, "maxSurge 1"
        assert len(ready) >= 5, "maxUnavailable 0"
        return await is_complete(client, 5)

    await plane.until(done, f"rollout of {image}")


def test_recreate_has_no_two_versions_at_a_time(tmp_path: Path) -> None:
    """The first new pod appears only after the last old one is gone."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            async with plane.running(
                plane.all_controllers(client), plane.play_kubelet(client, "worker")
            ):
                await client.create(wanted(recreate=True))
                await plane.until(lambda: is_complete(client, 3), "three pods")
                patch = {
                    "spec": {
                        "template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}
                    }
                }
                await client.patch(Deployment, "web", "shop", patch)

                async def done() -> bool:
                    images = {p.spec.containers[0].image for p in await plane.pods(client)}
                    assert len(images) <= 1, "old and new never meet"
                    return images == {"web:2"} and await is_complete(client, 3)

                await plane.until(done, "the new version")

    asyncio.run(story())


def test_lost_pods_are_replaced_and_surplus_goes_without_over_creation(tmp_path: Path) -> None:
    """Pods deleted by somebody else come back; never more than wanted are alive, even in a burst."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            async with plane.running(
                plane.all_controllers(client), plane.play_kubelet(client, "worker")
            ):
                await client.create(wanted(20))

                async def all_there() -> bool:
                    alive = [
                        p for p in await plane.pods(client) if not p.metadata.deletion_timestamp
                    ]
                    assert len(alive) <= 20
                    return await is_complete(client, 20)

                await plane.until(all_there, "20 pods")
                before = await plane.pods(client)
                for pod in before[:5]:
                    await client.delete(Pod, pod.metadata.name, "shop", grace_period_seconds=0)

                async def replaced() -> bool:
                    now = {p.metadata.uid for p in await plane.pods(client)}
                    assert len(now) <= 20
                    gone = {p.metadata.uid for p in before[:5]}
                    return len(now) == 20 and not now & gone and await is_complete(client, 20)

                await plane.until(replaced, "five new pods")

    asyncio.run(story())


def test_orphan_is_adopted_and_relabelled_pod_released(tmp_path: Path) -> None:
    """A ReplicaSet takes a matching pod nobody owns, and replaces one whose label was changed."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            orphan = builders.pod("orphan", node="")
            orphan = dataclasses.replace(
                orphan,
                metadata=ObjectMeta(name="orphan", namespace="shop", labels=builders.APP),
            )
            await client.create(orphan)
            owner = builders.replica_set("web", 2)
            owner = dataclasses.replace(owner, metadata=ObjectMeta(name="web", namespace="shop"))
            async with plane.running(plane.all_controllers(client)):
                await client.create(owner)

                async def owned() -> bool:
                    found = await plane.pods(client)
                    return len(found) == 2 and all(meta.controller_of(p) for p in found)

                await plane.until(owned, "the orphan and one more")
                patch = {"metadata": {"labels": {"app": "debug"}}}
                await client.patch(Pod, "orphan", "shop", patch)

                async def released() -> bool:
                    free = await client.get(Pod, "orphan", "shop")
                    return meta.controller_of(free) is None and len(await plane.pods(client)) == 3

                await plane.until(released, "a third pod, and the first free")

    asyncio.run(story())


def test_deleted_deployment_takes_its_pods_along(tmp_path: Path) -> None:
    """Background deletion: the garbage collector follows ownerReferences down."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            async with plane.running(
                plane.all_controllers(client), plane.play_kubelet(client, "worker")
            ):
                await client.create(wanted())
                await plane.until(lambda: is_complete(client, 3), "three pods")
                await client.delete(Deployment, "web", "shop", propagation_policy="Background")

                async def empty() -> bool:
                    sets = (await client.list(ReplicaSet, "shop")).items
                    return not sets and not await plane.pods(client)

                await plane.until(empty, "nothing left")

    asyncio.run(story())


def test_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """Controllers and API server are replaced in the middle of a rollout; it ends all the same."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            await client.create(wanted())
            async with plane.running(plane.all_controllers(client)):

                async def begun() -> bool:
                    return len(await plane.pods(client)) == 3

                await plane.until(begun, "three pods")
        async with (
            plane.api(tmp_path) as client,
            plane.running(plane.all_controllers(client), plane.play_kubelet(client, "worker")),
        ):
            await plane.until(lambda: is_complete(client, 3), "the same three pods ready")
            assert len(await plane.pods(client)) == 3
            found = await client.get(Deployment, "web", "shop")
            before = found.metadata.resource_version
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await asyncio.sleep(0.3)
            found = await client.get(Deployment, "web", "shop")
            assert found.metadata.resource_version == before

    asyncio.run(story())


def test_controllers_outlive_the_api_server(tmp_path: Path) -> None:
    """While it is away nothing is lost; when it is back the same controllers go on."""

    async def story() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stays = Client.unix(tmp_path / "apiserver.sock")
            stack.push_async_callback(stays.close)
            await stack.enter_async_context(plane.running(plane.all_controllers(stays)))
            async with plane.api(tmp_path) as client:
                await plane.make_namespace(client)
                await plane.register_node(client, "worker")
                await client.create(wanted())

                async def begun() -> bool:
                    return len(await plane.pods(client)) == 3

                await plane.until(begun, "three pods")
            async with plane.api(tmp_path) as client:
                await client.patch(Deployment, "web", "shop", {"spec": {"replicas": 6}})

                async def grown() -> bool:
                    return len(await plane.pods(client)) == 6

                await plane.until(grown, "six pods")

    asyncio.run(story())


def test_hash_collision_is_counted_and_another_name_taken(tmp_path: Path) -> None:
    """A foreign ReplicaSet of the very name does not stop a Deployment, and is not touched."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            made = await client.create(wanted())
            foreign = revisions.new_replica_set(made, 0, 1)
            about = ObjectMeta(name=foreign.metadata.name, namespace="shop")
            other = {"app": "other"}
            spec = dataclasses.replace(
                foreign.spec,
                selector=LabelSelector(match_labels=other),
                template=dataclasses.replace(
                    foreign.spec.template, metadata=ObjectMeta(labels=other)
                ),
            )
            await client.create(ReplicaSet(metadata=about, spec=spec))
            async with plane.running(plane.all_controllers(client)):

                async def counted() -> bool:
                    status = (await client.get(Deployment, "web", "shop")).status
                    return status.collision_count == 1 and len(await plane.pods(client)) == 3

                await plane.until(counted, "one collision, three pods")
                untouched = await client.get(ReplicaSet, foreign.metadata.name, "shop")
                assert meta.controller_of(untouched) is None

    asyncio.run(story())


def test_paused_deployment_scales_but_does_not_roll(tmp_path: Path) -> None:
    """While paused a new template waits; the number does not."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            async with plane.running(
                plane.all_controllers(client), plane.play_kubelet(client, "worker")
            ):
                await client.create(wanted())
                await plane.until(lambda: is_complete(client, 3), "three pods")
                container = {"name": "c", "image": "web:2"}
                template = {"spec": {"containers": [container]}}
                patch = {"spec": {"paused": True, "replicas": 4, "template": template}}
                await client.patch(Deployment, "web", "shop", patch)

                async def scaled() -> bool:
                    found = await plane.pods(client)
                    assert {p.spec.containers[0].image for p in found} == {"web:1"}
                    status = (await client.get(Deployment, "web", "shop")).status
                    condition = meta.condition(status.conditions, "Progressing")
                    return (
                        status.available_replicas == 4
                        and condition is not None
                        and condition.reason == "DeploymentPaused"
                    )

                await plane.until(scaled, "four old pods")
                await client.patch(Deployment, "web", "shop", {"spec": {"paused": False}})
                await plane.until(lambda: is_complete(client, 4), "the new template")

    asyncio.run(story())
