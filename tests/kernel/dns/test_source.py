"""The loop from objects in the API to answers, with the real API server."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode

from netpod.api.meta import ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.dns import source
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.server import Server
from netpod.dns.view import View
from tests.kernel.ingress.api import serving_api


async def _until(fact: Callable[[], Any]) -> Any:
    async with asyncio.timeout(5):
        while not (found := await fact()):
            await asyncio.sleep(0.01)
    return found


def test_created_service_resolves_until_it_is_deleted(tmp_path: Path) -> None:
    """A Service's record comes and goes with the object; before the first sync there is no wrong answer."""

    async def check() -> None:
        view = View()
        handler = Handler(Zone(view))
        async with (
            serving_api(tmp_path) as client,
            Server(handler, ["127.0.0.1"], 0) as server,
            asyncio.TaskGroup() as tasks,
        ):

            async def ask(name: str) -> dns.message.Message:
                query = dns.message.make_query(f"{name}.svc.cluster.local.", "A")
                return await dns.asyncquery.udp(query, "127.0.0.1", port=server.port, timeout=2)

            assert (await ask("kubernetes.default")).rcode() == dns.rcode.SERVFAIL
            synced = asyncio.Event()
            task = tasks.create_task(source.run(client, view, handler, synced))
            async with asyncio.timeout(5):
                await synced.wait()
            kubernetes = await ask("kubernetes.default")
            assert kubernetes.answer[0][0].to_text() == "10.96.0.1"
            assert (await ask("web.default")).rcode() == dns.rcode.NXDOMAIN
            made = await client.create(
                Service(
                    metadata=ObjectMeta(name="web", namespace="default"),
                    spec=ServiceSpec(ports=(ServicePort(port=80),)),
                )
            )

            async def address() -> str:
                answer = (await ask("web.default")).answer
                return str(answer[0][0].to_text()) if answer else ""

            assert await _until(address) == made.spec.cluster_ip
            await client.delete(Service, "web", "default")

            async def gone() -> bool:
                return (await ask("web.default")).rcode() == dns.rcode.NXDOMAIN

            await _until(gone)
            task.cancel()

    asyncio.run(check())
