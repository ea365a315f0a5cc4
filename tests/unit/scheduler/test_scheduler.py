"""The scheduler against the real API server."""

import asyncio
import contextlib
import dataclasses
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from netpod.api import meta
from netpod.api.core import Event, Namespace
from netpod.api.meta import ObjectMeta
from netpod.api.node import Node
from netpod.api.pod import Affinity, Pod, PodSchedulingGate, PodSpec
from netpod.api.policy import PriorityClass
from netpod.api.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
    VolumeResourceRequirements,
)
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.client.rest import Client
from netpod.errors import BadRequest
from netpod.scheduler import scheduler
from netpod.store.sqlite import SqliteStore
from tests.unit.scheduler import builders


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Client]:
    """An API server with namespace shop and a running scheduler, and a client of it."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "apiserver.sock"))
    listening.listen(128)
    store = await SqliteStore.open(folder / "store.db")
    client = Client.unix(folder / "apiserver.sock")
    try:
        async with asyncio.TaskGroup() as tasks:
            server = ApiServer(store, ApiServerConfig())
            serving = tasks.create_task(server.serve([Listener(socket=listening, user=TRUSTED)]))
            await client.create(Namespace(metadata=ObjectMeta(name="shop")))
            scheduling = tasks.create_task(scheduler.run(client))
            try:
                yield client
            finally:
                scheduling.cancel()
                await asyncio.wait([scheduling])
                await client.close()
                serving.cancel()
    finally:
        await store.close()


async def until(fact: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait until a fact holds; fail after ten seconds."""
    try:
        async with asyncio.timeout(10):
            while not await fact():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


async def add_node(client: Client, node: Node) -> None:
    """Register a node and post its status, as a kubelet does."""
    await client.create(Node(metadata=node.metadata, spec=node.spec))
    patch = {
        "status": {
            "allocatable": dict(node.status.allocatable),
            "conditions": [{"type": "Ready", "status": "True"}],
        }
    }
    await client.patch(Node, node.metadata.name, "", patch, subresource="status")


async def where(client: Client, name: str) -> str:
    """Return a pod's node, or ""."""
    return (await client.get(Pod, name, "shop")).spec.node_name


async def messages(client: Client, reason: str) -> list[str]:
    """Return what events of a reason say."""
    found = (await client.list(Event, "shop")).items
    return [event.message for event in found if event.reason == reason]


def made(name: str, **options: object) -> Pod:
    """Return a pod as an author writes it."""
    pod = builders.pod(name, **options)  # type: ignore[arg-type]
    about = ObjectMeta(name=name, namespace="shop", labels=pod.metadata.labels)
    return Pod(metadata=about, spec=_with_image(pod))


def _with_image(pod: Pod) -> PodSpec:
    containers = tuple(dataclasses.replace(c, image="web") for c in pod.spec.containers)
    return dataclasses.replace(pod.spec, containers=containers, affinity=None)


def test_burst_is_bound_evenly_and_said_so(tmp_path: Path) -> None:
    """60 pods made at once are 20 on each of three nodes, each with its event."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            for name in ("a", "b", "c"):
                await add_node(client, builders.node(name))
            async with asyncio.TaskGroup() as tasks:
                for number in range(60):
                    tasks.create_task(client.create(made(f"p{number}")))

            async def all_bound() -> bool:
                return all(p.spec.node_name for p in (await client.list(Pod, "shop")).items)

            await until(all_bound, "60 pods bound")
            pods = (await client.list(Pod, "shop")).items
            assert Counter(p.spec.node_name for p in pods) == {"a": 20, "b": 20, "c": 20}
            node = await where(client, "p7")

            async def said() -> bool:
                line = f"Successfully assigned shop/p7 to {node}"
                return line in await messages(client, "Scheduled")

            await until(said, "event Scheduled")

    asyncio.run(story())


def test_pod_that_fits_nowhere_says_why_and_goes_when_a_node_comes(tmp_path: Path) -> None:
    """Condition, event in upstream's words, and a place as soon as there is one."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("small", cpu="1"))
            await client.create(made("big", requests={"cpu": "3"}))

            async def told() -> bool:
                pod = await client.get(Pod, "big", "shop")
                found = meta.condition(pod.status.conditions, "PodScheduled")
                words = (
                    "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                    "available: 1 No preemption victims found for incoming pod."
                )
                return (
                    found is not None
                    and (found.status, found.reason, found.message)
                    == ("False", "Unschedulable", words)
                    and words in await messages(client, "FailedScheduling")
                )

            await until(told, "condition and event")
            await add_node(client, builders.node("large", cpu="8"))

            async def bound() -> bool:
                return await where(client, "big") == "large"

            await until(bound, "it goes to the new node")
            pod = await client.get(Pod, "big", "shop")
            found = meta.condition(pod.status.conditions, "PodScheduled")
            assert found is not None
            assert found.status == "True"

    asyncio.run(story())


def test_a_pod_of_higher_priority_takes_the_place_of_a_lower_one(tmp_path: Path) -> None:
    """The victim is marked, told and deleted; the pod is nominated, waits, and nobody else gets the room."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("only", cpu="2"))
            await client.create(PriorityClass(metadata=ObjectMeta(name="high"), value=1000))
            await client.create(made("low", requests={"cpu": "2"}))

            async def low_bound() -> bool:
                return await where(client, "low") == "only"

            await until(low_bound, "the first is bound")
            high = made("high", requests={"cpu": "2"})
            spec = dataclasses.replace(high.spec, priority_class_name="high", priority=None)
            await client.create(Pod(metadata=high.metadata, spec=spec))

            async def evicted() -> bool:
                victim = await client.get(Pod, "low", "shop")
                mark = meta.condition(victim.status.conditions, "DisruptionTarget")
                pod = await client.get(Pod, "high", "shop")
                return (
                    bool(victim.metadata.deletion_timestamp)
                    and mark is not None
                    and mark.reason == "PreemptionByScheduler"
                    and pod.status.nominated_node_name == "only"
                )

            await until(evicted, "the victim is to go, the pod is nominated")
            # Somebody without priority comes just before the room is free.
            await client.create(made("late", requests={"cpu": "1"}))
            await client.delete(Pod, "low", "shop", grace_period_seconds=0)

            async def high_bound() -> bool:
                return await where(client, "high") == "only"

            await until(high_bound, "the pod of higher priority has the room")
            assert await where(client, "late") == ""
            uid = (await client.get(Pod, "high", "shop")).metadata.uid
            assert f"Preempted by pod {uid} on node only" in await messages(client, "Preempted")

    asyncio.run(story())


def test_a_pod_waits_for_its_claim(tmp_path: Path) -> None:
    """A claim that is not there, then not bound, then bound; the words are upstream's."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("only"))
            await client.create(made("db", claims=("data",)))

            async def said(words: str) -> bool:
                return any(words in m for m in await messages(client, "FailedScheduling"))

            await until(
                lambda: said('0/1 nodes are available: persistentvolumeclaim "data" not found.'),
                "no claim",
            )
            wanted = VolumeResourceRequirements(requests={"storage": "1Gi"})
            claim = await client.create(
                PersistentVolumeClaim(
                    metadata=ObjectMeta(name="data", namespace="shop"),
                    spec=PersistentVolumeClaimSpec(
                        access_modes=("ReadWriteOnce",), resources=wanted
                    ),
                )
            )
            await until(
                lambda: said("pod has unbound immediate PersistentVolumeClaims."), "unbound"
            )
            source = {"hostPath": {"path": "/data"}}
            volume = PersistentVolumeSpec(
                capacity={"storage": "1Gi"}, access_modes=("ReadWriteOnce",), unknown=source
            )
            await client.create(PersistentVolume(metadata=ObjectMeta(name="pv"), spec=volume))
            change = {"spec": {"volumeName": "pv"}}
            await client.patch(PersistentVolumeClaim, "data", "shop", change)
            bound = {"status": {"phase": "Bound"}}
            await client.patch(PersistentVolumeClaim, "data", "shop", bound, subresource="status")
            assert claim.status.phase == "Pending"

            async def placed() -> bool:
                return await where(client, "db") == "only"

            await until(placed, "the pod is bound")

    asyncio.run(story())


def test_room_of_a_deleted_pod_is_given_again(tmp_path: Path) -> None:
    """The pod that waited gets the place of the one that went."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("only", cpu="2"))
            await client.create(made("first", requests={"cpu": "2"}))

            async def first_bound() -> bool:
                return await where(client, "first") == "only"

            await until(first_bound, "the first is bound")
            await client.create(made("second", requests={"cpu": "2"}))

            async def refused() -> bool:
                return bool(await messages(client, "FailedScheduling"))

            await until(refused, "the second is refused")
            await client.delete(Pod, "first", "shop", grace_period_seconds=0)

            async def second_bound() -> bool:
                return await where(client, "second") == "only"

            await until(second_bound, "the second takes its place")

    asyncio.run(story())


def test_pods_of_another_scheduler_and_gated_ones_are_left_alone(tmp_path: Path) -> None:
    """schedulerName is obeyed; a pod whose last scheduling gate goes is scheduled."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("a"))
            other = made("other")
            await client.create(
                Pod(
                    metadata=other.metadata,
                    spec=dataclasses.replace(other.spec, scheduler_name="mine"),
                )
            )
            gated = made("gated")
            gates = (PodSchedulingGate(name="x.example/y"),)
            spec = dataclasses.replace(gated.spec, scheduling_gates=gates)
            await client.create(Pod(metadata=gated.metadata, spec=spec))
            await client.create(made("ours"))

            async def bound(name: str = "ours") -> bool:
                return bool(await where(client, name))

            await until(bound, "ours is bound")
            assert await where(client, "other") == ""
            assert await where(client, "gated") == ""
            await client.patch(Pod, "gated", "shop", {"spec": {"schedulingGates": None}})
            await until(lambda: bound("gated"), "the freed one is bound")

    asyncio.run(story())


def test_malformed_affinity_never_comes_to_the_scheduler(tmp_path: Path) -> None:
    """The API refuses it, and the next pod is scheduled."""

    async def story() -> None:
        async with cluster(tmp_path) as client:
            await add_node(client, builders.node("a"))
            odd = made("odd")
            broken = {"requiredDuringSchedulingIgnoredDuringExecution": 7}
            spec = dataclasses.replace(odd.spec, affinity=Affinity(node_affinity=broken))
            with pytest.raises(BadRequest, match=r"nodeAffinity.*must be an object"):
                await client.create(Pod(metadata=odd.metadata, spec=spec))
            await client.create(made("fine"))

            async def bound() -> bool:
                return await where(client, "fine") == "a"

            await until(bound, "the other is bound")

    asyncio.run(story())
