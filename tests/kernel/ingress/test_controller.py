"""The loop from objects in the API to answers from HAProxy, with the real API server."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netpod.api import meta
from netpod.api.core import Event, Namespace
from netpod.api.networking import Ingress
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.client.rest import Client
from netpod.errors import AlreadyExists
from netpod.ingress.controller import Controller
from netpod.linux import process
from tests.kernel.ingress.api import serving_api
from tests.unit.ingress.builders import make_class, make_ingress, make_slice

Start = Callable[..., Any]
POD_IP = "10.244.9.5"


@pytest.fixture
def pod_ip() -> Iterator[str]:
    """An address that may stand in an EndpointSlice, which a loopback one may not."""
    process.run(["ip", "address", "add", f"{POD_IP}/32", "dev", "lo"])
    yield POD_IP
    process.run(["ip", "address", "del", f"{POD_IP}/32", "dev", "lo"])


async def until(fact: Callable[[], Any]) -> Any:
    """Wait for a fact and return it."""
    async with asyncio.timeout(5):
        while not (found := await fact()):
            await asyncio.sleep(0.01)
    return found


async def _entry(client: Client, address: str) -> None:
    """Make the Service in front of the controller, with a load balancer's address."""
    try:
        await client.create(Namespace(metadata=meta.ObjectMeta(name="kube-system")))
    except AlreadyExists:
        pass
    entry = await client.create(
        Service(
            metadata=meta.ObjectMeta(name="ingress", namespace="kube-system"),
            spec=ServiceSpec(type="LoadBalancer", ports=(ServicePort(name="http", port=80),)),
        )
    )
    patch = {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}}
    await client.patch(Service, entry.metadata.name, "kube-system", patch, subresource="status")


def test_objects_become_answers_status_and_events(
    proxy: Start, http_server: Start, pod_ip: str, tmp_path: Path
) -> None:
    """Applied objects are served in milliseconds; the Ingress gets its address, and an event for what is wrong."""

    async def check() -> None:
        ready = asyncio.Event()
        async with (
            http_server("web", pod_ip) as server,
            proxy() as running,
            serving_api(tmp_path) as client,
            asyncio.TaskGroup() as tasks,
        ):
            controller = Controller(client, running.haproxy, ready=ready.set)
            task = tasks.create_task(controller.run())
            async with asyncio.timeout(5):
                await ready.wait()
            assert (await running.get("a.com", "/")).status == 404
            await client.create(make_class())
            # Names no Service yet: 503, and an event.
            await client.create(make_ingress(("a.com", "Prefix", "/", "web"), port=server.port))

            async def status() -> int:
                answer = await running.get("a.com", "/")
                return 0 if answer.status == 404 else answer.status

            assert await until(status) == 503

            async def events() -> list[Event]:
                listing = await client.list(Event, "default")
                return [e for e in listing.items if e.reason == "BackendNotFound"]

            (event,) = await until(events)
            assert event.type == "Warning"
            assert event.involved_object.kind == "Ingress"
            assert event.message == "Service default/web does not exist"

            # A headless Service, so that the test needs no kube-proxy; its endpoint is the server.
            await client.create(
                Service(
                    metadata=meta.ObjectMeta(name="web", namespace="default"),
                    spec=ServiceSpec(cluster_ip="None", ports=(ServicePort(port=server.port),)),
                )
            )
            await client.create(make_slice("web", pod_ip, port=server.port))

            async def ok() -> bool:
                return (await running.get("a.com", "/")).status == 200

            await until(ok)

            await _entry(client, "198.51.100.10")

            async def address() -> str:
                ingress = await client.get(Ingress, "site", "default")
                places = ingress.status.load_balancer.ingress
                return places[0].ip if places else ""

            assert await until(address) == "198.51.100.10"

            await client.delete(Ingress, "site", "default")

            async def gone() -> bool:
                return (await running.get("a.com", "/")).status == 404

            await until(gone)
            task.cancel()

    asyncio.run(check())
