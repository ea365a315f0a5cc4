"""WebSocket and HTTP/2 without TLS (gRPC's transport) through the proxy, with real clients."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from netpod.linux import process
from tests.unit.ingress.builders import make_class, make_ingress, make_service, make_slice
from tests.unit.ingress.certificates import make_pair

Start = Callable[..., Any]
CLASS = [make_class()]
DEFAULT = "".join(make_pair("default.example"))
RULE = ("a.com", "Prefix", "/", "web")


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.headers['X-Forwarded-Proto']} {message.data}")
    return socket


def test_websocket(proxy: Start) -> None:
    """A connection is upgraded over HTTP and over TLS, and carries messages both ways."""

    async def check() -> None:
        app = web.Application()
        app.router.add_get("/chat", _echo)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        service = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
        try:
            async with proxy(certificate=DEFAULT) as running, aiohttp.ClientSession() as session:
                await running.serve(
                    [make_ingress(RULE, port=port)],
                    CLASS,
                    [service],
                    [make_slice("web", "127.0.0.1", port=port)],
                )
                haproxy = running.haproxy
                for scheme, number in (("http", haproxy.port), ("https", haproxy.tls_port)):
                    url = f"{scheme}://127.0.0.1:{number}/chat"
                    said = {"Host": "a.com"}
                    async with session.ws_connect(url, headers=said, ssl=False) as socket:
                        await socket.send_str("hello")
                        assert await socket.receive_str() == f"{scheme} hello"
        finally:
            await runner.cleanup()

    asyncio.run(check())


SLICES = [make_slice("web", "127.0.0.9", port=18080)]
_H2_SERVER = """
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend h2
    bind 127.0.0.9:18080 proto h2
    http-request return status 200 content-type application/grpc lf-string "%HV %[req.hdr(content-type)]"
"""


def test_app_protocol_h2c_reaches_the_server_as_http2(proxy: Start, tmp_path: Path) -> None:
    """appProtocol kubernetes.io/h2c makes the proxy speak HTTP/2 to a server that understands nothing else."""

    async def check() -> None:
        config = tmp_path / "h2.cfg"
        config.write_text(_H2_SERVER)
        pid = process.spawn(["haproxy", "-db", "-f", str(config)], stdin=0)
        service = make_service("web", cluster_ip="127.0.0.9", ports=(("", 18080),))
        port = replace(service.spec.ports[0], app_protocol="kubernetes.io/h2c")
        h2c = replace(service, spec=replace(service.spec, ports=(port,)))
        site = make_ingress(RULE, port=18080)
        try:
            async with proxy(certificate=DEFAULT) as running:
                await running.serve([site], CLASS, [h2c], SLICES)
                argv = ["curl", "-sk", "--retry", "5", "-H", "content-type: application/grpc"]
                argv += ["-H", "te: trailers", "-w", " %{http_version}"]
                clear = ["--http2-prior-knowledge", f"http://a.com:{running.haproxy.port}/"]
                tls = ["--http2", f"https://a.com:{running.haproxy.tls_port}/"]
                for way in (clear, tls):
                    where = ["--connect-to", "a.com::127.0.0.1:"]
                    said = (await process.arun([*argv, *where, *way])).stdout.decode()
                    assert said == "HTTP/2.0 application/grpc 2"
                await running.serve([site], CLASS, [service], SLICES)
                # The process before the reload may still answer what it accepted.
                async with asyncio.timeout(2):
                    while (await running.get("a.com", "/")).status != 502:
                        await asyncio.sleep(0.01)
        finally:
            handle = process.pidfd_open(pid)
            process.send_signal(handle, 9)
            await process.await_exit(handle, 5)
            process.reap(pid)

    asyncio.run(check())
