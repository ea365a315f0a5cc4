"""gRPC through the ingress with a real client: HTTP/2 over TLS to HAProxy, and without TLS behind it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.kernel.ingress.test_tls import CLASS, DEFAULT, Start
from tests.unit.ingress.builders import make_ingress, make_service
from tests.unit.ingress.certificates import make_pair, make_secret
from tests.unit.ingress.test_tls import secure

NAME = "echo.Echo"


async def _unary(request: bytes, context: Any) -> bytes:
    if request == b"refuse":
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100 %")
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("saw-proto", metadata["x-forwarded-proto"]),))
    return request[::-1]


async def _stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request[::-1]


async def _serve() -> tuple[Any, int]:
    server = grpc.aio.server()
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Stream": grpc.stream_stream_rpc_method_handler(_stream),
    }
    handler = grpc.method_handlers_generic_handler(NAME, methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


def test_grpc_calls(proxy: Start) -> None:
    """A call, its trailers, its failure and a conversation pass; without endpoints the client sees UNAVAILABLE."""

    async def check() -> None:
        server, port = await _serve()
        service = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
        h2c = replace(service.spec.ports[0], app_protocol="kubernetes.io/h2c")
        service = replace(service, spec=replace(service.spec, ports=(h2c,)))
        pair = make_pair("a.com")
        site = secure(make_ingress(("a.com", "Prefix", f"/{NAME}", "web"), port=port), "a", "a.com")
        try:
            async with proxy(certificate=DEFAULT) as running:
                await running.serve([site], CLASS, [service], [], [make_secret("a", *pair)])
                trusted = grpc.ssl_channel_credentials(pair[0].encode())
                options = [
                    ("grpc.ssl_target_name_override", "a.com"),
                    ("grpc.enable_http_proxy", 0),
                ]
                place = f"127.0.0.1:{running.haproxy.tls_port}"
                async with grpc.aio.secure_channel(place, trusted, options) as channel:
                    call = channel.unary_unary(f"/{NAME}/Unary")(b"abc", timeout=30)
                    assert await call == b"cba"
                    assert await call.code() is grpc.StatusCode.OK
                    assert dict(await call.trailing_metadata())["saw-proto"] == "https"
                    with pytest.raises(grpc.aio.AioRpcError) as failed:
                        await channel.unary_unary(f"/{NAME}/Unary")(b"refuse", timeout=30)
                    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                    assert failed.value.details() == "as asked: 100 %"
                    talk = channel.stream_stream(f"/{NAME}/Stream")(timeout=30)
                    for said in (b"one", b"two"):
                        await talk.write(said)
                        assert await talk.read() == said[::-1]
                    await talk.done_writing()
                    assert await talk.read() is grpc.aio.EOF
                # A connection that is there stays with the process that took it.
                await running.serve([site], CLASS, [], [], [make_secret("a", *pair)])
                options.append(("grpc.use_local_subchannel_pool", 1))
                async with grpc.aio.secure_channel(place, trusted, options) as channel:
                    with pytest.raises(grpc.aio.AioRpcError) as failed:
                        await channel.unary_unary(f"/{NAME}/Unary")(b"abc", timeout=30)
                    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        finally:
            await server.stop(None)

    asyncio.run(check())
