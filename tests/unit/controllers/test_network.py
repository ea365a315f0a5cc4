"""EndpointSlices and Endpoints against the real API server."""

import asyncio
import dataclasses
from pathlib import Path

from netpod.api.core import Endpoints
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key, ObjectMeta
from netpod.api.pod import Pod
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.client.rest import Client
from tests.unit.controllers import builders, plane


def web() -> Service:
    """Return Service shop/web as an author writes it."""
    ports = (ServicePort(name="http", port=80, target_port=8080, protocol="TCP"),)
    return Service(
        metadata=ObjectMeta(name="web", namespace="shop"),
        spec=ServiceSpec(ports=ports, selector=builders.APP),
    )


async def make_pod(client: Client, name: str, address: str) -> Pod:
    """Create a pod that runs on `worker` and is Ready."""
    bare = builders.pod(name)
    about = ObjectMeta(name=name, namespace="shop", labels=builders.APP)
    made = await client.create(
        dataclasses.replace(bare, metadata=about, spec=dataclasses.replace(bare.spec, node_name=""))
    )
    await client.bind(Key("shop", name), made.metadata.uid, "worker")
    bound = await client.get(Pod, name, "shop")
    return await client.update(
        dataclasses.replace(bound, status=plane.ready_status(address)), subresource="status"
    )


async def slices(client: Client) -> list[EndpointSlice]:
    """Return the Service's slices."""
    found = await client.list(
        EndpointSlice, "shop", label_selector="kubernetes.io/service-name=web"
    )
    return list(found.items)


async def addresses(client: Client, *, ready: bool) -> list[str]:
    """Return the addresses in the slices whose `ready` is that."""
    return sorted(
        e.addresses[0]
        for item in await slices(client)
        for e in item.endpoints
        if e.conditions.ready is ready
    )


def test_service_follows_its_pods(tmp_path: Path) -> None:
    """Placeholder, ready, not ready, terminating, gone: slices and Endpoints say so, each in its way."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            await client.create(web())

            async def placeholder() -> bool:
                found = await slices(client)
                return len(found) == 1 and not found[0].endpoints

            await plane.until(placeholder, "one empty slice")
            name = (await slices(client))[0].metadata.name
            first = await make_pod(client, "a", "10.244.1.2")
            second = await make_pod(client, "b", "10.244.1.3")

            async def both() -> bool:
                return await addresses(client, ready=True) == ["10.244.1.2", "10.244.1.3"]

            await plane.until(both, "two ready endpoints")
            assert [s.metadata.name for s in await slices(client)] == [name]
            await plane.set_ready(client, first, ready=False)

            async def one_not_ready() -> bool:
                legacy = (await client.get(Endpoints, "web", "shop")).subsets
                return await addresses(client, ready=False) == ["10.244.1.2"] and [
                    a.ip for a in legacy[0].not_ready_addresses
                ] == ["10.244.1.2"]

            await plane.until(one_not_ready, "the first is not ready")
            await client.delete(Pod, second.metadata.name, "shop")

            async def terminating() -> bool:
                states = {
                    e.addresses[0]: e.conditions
                    for item in await slices(client)
                    for e in item.endpoints
                }
                legacy = (await client.get(Endpoints, "web", "shop")).subsets
                found = states["10.244.1.3"]
                return (
                    found.terminating is True
                    and found.serving is True
                    and found.ready is False
                    and not legacy[0].addresses
                )

            await plane.until(terminating, "the second terminates: kept here, left out there")
            await client.delete(Pod, second.metadata.name, "shop", grace_period_seconds=0)

            async def left() -> bool:
                found = [a for s in await slices(client) for e in s.endpoints for a in e.addresses]
                return found == ["10.244.1.2"]

            await plane.until(left, "it is gone, and so is its endpoint")
            await client.delete(Service, "web", "shop")
            await plane.until(lambda: nothing_left(client), "slices and Endpoints go")

    asyncio.run(story())


async def nothing_left(client: Client) -> bool:
    """Tell whether slices and Endpoints of the Service are gone."""
    return not await slices(client) and await plane.is_gone(client, Endpoints, "web")


def test_restart_rewrites_nothing(tmp_path: Path) -> None:
    """Equal slices and Endpoints keep their resourceVersion across a restart of the controllers."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            await client.create(web())
            await make_pod(client, "a", "10.244.1.2")
            async with plane.running(plane.all_controllers(client)):

                async def ready() -> bool:
                    return await addresses(client, ready=True) == ["10.244.1.2"] and not (
                        await plane.is_gone(client, Endpoints, "web")
                    )

                await plane.until(ready, "one endpoint")
            before = [s.metadata.resource_version for s in await slices(client)]
            legacy = await client.get(Endpoints, "web", "shop")
            async with plane.running(plane.all_controllers(client)):
                await asyncio.sleep(0.3)
            assert [s.metadata.resource_version for s in await slices(client)] == before
            again = await client.get(Endpoints, "web", "shop")
            assert again.metadata.resource_version == legacy.metadata.resource_version

    asyncio.run(story())


def test_kubernetes_service_and_custom_endpoints_are_left_alone(tmp_path: Path) -> None:
    """A Service without a selector keeps what its owner wrote."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            before = await client.get(Endpoints, "kubernetes", "default")
            async with plane.running(plane.all_controllers(client)):
                await plane.make_namespace(client)
                await asyncio.sleep(0.3)
            after = await client.get(Endpoints, "kubernetes", "default")
            assert after == before

    asyncio.run(story())


def test_slice_that_somebody_deleted_comes_back(tmp_path: Path) -> None:
    """The controller puts right what another hand did."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            await plane.register_node(client, "worker")
            await client.create(web())
            await make_pod(client, "a", "10.244.1.2")

            async def ready() -> bool:
                return await addresses(client, ready=True) == ["10.244.1.2"]

            await plane.until(ready, "one endpoint")
            (item,) = await slices(client)
            await client.delete(EndpointSlice, item.metadata.name, "shop")
            await plane.until(ready, "it is back")
            (again,) = await slices(client)
            assert again.metadata.uid != item.metadata.uid

    asyncio.run(story())
