"""Node IPAM, node lifecycle and pod garbage collection against the real API server."""

import asyncio
import dataclasses
from pathlib import Path

from netpod.api import meta
from netpod.api.meta import Key, ObjectMeta
from netpod.api.node import Node
from netpod.api.pod import Pod, Toleration
from netpod.client.lease import Heartbeat
from netpod.client.rest import Client
from netpod.controllers import nodelifecycle
from netpod.controllers.run import ControllersConfig
from tests.unit.controllers import builders, plane

QUICK = ControllersConfig(
    nodes=nodelifecycle.Periods(monitor=0.05, grace=0.4, startup_grace=0.4),
    pod_gc_quarantine=0.2,
)


def readiness(node: Node) -> str:
    """Return condition Ready's status."""
    found = meta.condition(node.status.conditions, "Ready")
    return found.status if found is not None else ""


async def put_pod(client: Client, name: str, node: str, seconds: int) -> None:
    """Create a Ready pod on a node that stays `seconds` after the node became unreachable."""
    bare = builders.pod(name)
    toleration = Toleration(
        key="node.kubernetes.io/unreachable",
        operator="Exists",
        effect="NoExecute",
        toleration_seconds=seconds,
    )
    spec = dataclasses.replace(bare.spec, node_name="", tolerations=(toleration,))
    about = ObjectMeta(name=name, namespace="shop")
    made = await client.create(dataclasses.replace(bare, metadata=about, spec=spec))
    await client.bind(Key("shop", name), made.metadata.uid, node)
    bound = await client.get(Pod, name, "shop")
    await client.update(
        dataclasses.replace(bound, status=plane.ready_status("10.244.1.2")), subresource="status"
    )


def test_nodes_get_parts_of_the_pod_network_in_order(tmp_path: Path) -> None:
    """First come, lowest part; a part is free again after its node."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            for name, expected in (("control-plane", 0), ("worker", 1), ("worker2", 2)):
                await plane.register_node(client, name)
                await plane.until(lambda n=name, e=expected: has_cidr(client, n, e), name)  # type: ignore[misc]
            await client.delete(Node, "worker")
            await plane.register_node(client, "worker3")
            await plane.until(lambda: has_cidr(client, "worker3", 1), "the freed part")

    asyncio.run(story())


async def has_cidr(client: Client, name: str, number: int) -> bool:
    """Tell whether a node has the nth part."""
    node = await client.get(Node, name)
    return node.spec.pod_cidr == f"10.244.{number}.0/24" and len(node.spec.pod_cidrs) == 1


def test_silent_node_becomes_unknown_and_its_pods_unready_then_evicted(tmp_path: Path) -> None:
    """Past the grace period: Unknown, tainted, pods not ready; after their toleration they are deleted."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "healthy")
            await plane.register_node(client, "worker")
            await put_pod(client, "stays", "worker", 300)
            await put_pod(client, "goes", "worker", 0)
            beat = Heartbeat(
                client,
                namespace="kube-node-lease",
                name="healthy",
                holder="healthy",
                duration=40,
            )
            async with plane.running(plane.all_controllers(client, QUICK), beat.run(0.05)):

                async def unknown() -> bool:
                    node = await client.get(Node, "worker")
                    effects = {t.effect for t in node.spec.taints if "unreachable" in t.key}
                    return readiness(node) == "Unknown" and effects == {"NoSchedule", "NoExecute"}

                await plane.until(unknown, "the node is unreachable")
                assert readiness(await client.get(Node, "healthy")) == "True"

                async def unready() -> bool:
                    pod = await client.get(Pod, "stays", "shop")
                    found = meta.condition(pod.status.conditions, "Ready")
                    return found is not None and found.status == "False"

                await plane.until(unready, "its pod is not ready")

                async def evicted() -> bool:
                    pod = await client.get(Pod, "goes", "shop")
                    return bool(pod.metadata.deletion_timestamp)

                await plane.until(evicted, "the impatient pod is deleted")
                stays = await client.get(Pod, "stays", "shop")
                assert not stays.metadata.deletion_timestamp
                await plane.post_node(client, "worker")

                async def back() -> bool:
                    node = await client.get(Node, "worker")
                    return readiness(node) == "True" and not node.spec.taints

                await plane.until(back, "one heartbeat brings it back")

    asyncio.run(story())


def test_pods_of_a_deleted_node_are_given_up(tmp_path: Path) -> None:
    """After the quarantine they are gone, although no kubelet says so."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            await put_pod(client, "lost", "worker", 300)
            await client.delete(Node, "worker")
            async with plane.running(plane.all_controllers(client, QUICK)):
                await plane.until(lambda: plane.is_gone(client, Pod, "lost"), "the pod is gone")

    asyncio.run(story())
