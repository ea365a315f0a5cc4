"""A Gateway with routes on a real HAProxy, in front of servers that say who they are."""

import asyncio
import json
from typing import Any

from netpod.ingress import haproxy as compiler
from netpod.ingress.gateway.plan import Plan
from netpod.ingress.model import Routing
from tests.kernel.ingress.conftest import Answer, get
from tests.kernel.ingress.test_tls import Start
from tests.unit.ingress.builders import make_service, make_slice
from tests.unit.ingress.gateways import GATEWAY, planned

RULE = "{matches: [%s], backendRefs: [{name: %s, port: %d}]}"


class Gateway:
    """Routes of Gateway gw in front of servers that say who they are."""

    def __init__(self, running: Any, port: int) -> None:
        self._running = running
        self._port = port
        self.plan = Plan()

    async def serve(self, *texts: str, gateway: str = GATEWAY) -> None:
        """Serve manifests; each Service's name is also the name its server goes by."""
        names = ("a", "b", "c", "d")
        services = [
            make_service(name, cluster_ip=f"127.0.1.{n}", ports=(("", self._port),))
            for n, name in enumerate(names, 1)
        ]
        services.append(make_service("empty", cluster_ip="127.0.1.9", ports=(("", 1),)))
        slices = [make_slice(name, "127.0.0.1", port=self._port) for name in names]
        self.plan = planned(gateway, *texts, services=services, slices=slices)
        config = compiler.compile(Routing(), self.plan.frontends, self.plan.backends)
        await self._running.apply(config)

    async def get(self, host: str, path: str, port: int = 80, **headers: str) -> Answer:
        """Send one request."""
        bind = next(b for (_, number), b in self.plan.binds.items() if number == port)
        return await get(bind, host, path, **headers)

    async def who(self, host: str, path: str, **headers: str) -> str:
        """Which Service answers, or the status."""
        answer = await self.get(host, path, **headers)
        if answer.status != 200:
            return str(answer.status)
        return "abcd"[int(answer.seen["local"].rpartition(".")[2]) - 1]


def run(proxy: Start, check: Any) -> None:
    """Run a check in front of one server that listens on all the Services' addresses."""

    async def all_of_it() -> None:
        server = await asyncio.start_server(_answer, "0.0.0.0", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with proxy() as running:
                await check(Gateway(running, port), port, running)
        finally:
            server.close()

    asyncio.run(all_of_it())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = [line.split(": ", 1) for line in head[1:] if line]
        said = {
            "local": writer.get_extra_info("sockname")[0],
            "path": head[0].split(" ")[1],
            "headers": [[name.lower(), value] for name, value in headers],
        }
        body = json.dumps(said).encode()
        extra = b"X-Server: here\r\nConnection: close\r\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)
        )
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()
