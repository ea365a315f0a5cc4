"""Real resolvers ask over real UDP and TCP."""

import asyncio
import socket

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import orjson
import pytest

from netpod.dns import forward
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.server import CannotListen, Server
from tests.unit.dns import builders


def _handler() -> Handler:
    view = builders.cluster()
    many = [(f"10.244.3.{n}", None, True) for n in range(1, 200)]
    view.set_slice(None, builders.piece("db", *many, suffix="many"))
    handler = Handler(Zone(view))
    handler.synced = True
    return handler


def _resolver(port: int) -> dns.asyncresolver.Resolver:
    """As in a pod of the namespace default: the search list and ndots:5."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = port
    resolver.ndots = 5
    domains = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    resolver.search = [dns.name.from_text(domain) for domain in domains]
    resolver.lifetime = 2
    return resolver


def test_queries_are_logged_on_request(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One line each, over UDP and TCP: who asked for what, and what came of it. Without the setting, none."""

    async def check() -> None:
        handler = _handler()
        async with Server(handler, ["127.0.0.1"], 0) as server:
            for log in ("false", "true"):
                handler.rules = forward.rules({"log": log}, None)
                for tcp in (False, True):
                    await _resolver(server.port).resolve("web.default", "A", search=True, tcp=tcp)

    asyncio.run(check())
    lines = [orjson.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    answered = [line for line in lines if line["rcode"] == "NOERROR"]
    assert [line["proto"] for line in answered] == ["udp", "tcp"]
    assert answered[0]["name"] == "web.default.svc.cluster.local"
    assert (answered[0]["type"], answered[0]["answers"]) == ("A", 1)
    assert answered[0]["client"].startswith("127.0.0.1:")
    assert {line["rcode"] for line in lines} == {"NOERROR", "NXDOMAIN"}


@pytest.mark.parametrize(
    "name", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local."]
)
def test_service_resolves_by_every_form_of_its_name(name: str) -> None:
    """The search list of a pod completes short names."""

    async def check() -> None:
        async with Server(_handler(), ["127.0.0.1"], 0) as server:
            answer = await _resolver(server.port).resolve(name, "A", search=True)
            assert [record.to_text() for record in answer] == ["10.96.0.20"]
            with pytest.raises(dns.resolver.NoAnswer):
                await _resolver(server.port).resolve(name, "AAAA", search=True)

    asyncio.run(check())


def test_truncated_answer_is_asked_again_over_tcp() -> None:
    """A resolver falls back to TCP by itself and gets all 201 addresses."""

    async def check() -> None:
        async with Server(_handler(), ["127.0.0.1"], 0) as server:
            answer = await _resolver(server.port).resolve("db.default.svc.cluster.local.", "A")
            assert len(list(answer)) == 201

    asyncio.run(check())


def test_several_queries_on_one_tcp_connection() -> None:
    """RFC 7766: a connection serves query after query, however the bytes arrive."""

    async def check() -> None:
        async with Server(_handler(), ["127.0.0.1"], 0) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            query = dns.message.make_query("web.default.svc.cluster.local.", "A").to_wire()
            framed = (len(query).to_bytes(2, "big") + query) * 2
            writer.write(framed[:5])
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(framed[5:])
            for _ in range(2):
                size = int.from_bytes(await reader.readexactly(2), "big")
                response = dns.message.from_wire(await reader.readexactly(size))
                assert response.answer[0][0].to_text() == "10.96.0.20"
            writer.close()

    asyncio.run(check())


def test_port_53_answers_with_recursion_available() -> None:
    """RA is set, so that no resolver takes an empty answer for a referral."""

    async def check() -> None:
        async with Server(_handler(), ["127.0.0.53"], 53):
            query = dns.message.make_query("web.default.svc.cluster.local.", "A")
            response = await dns.asyncquery.udp(query, "127.0.0.53", timeout=2)
            assert response.rcode() == dns.rcode.NOERROR
            assert response.flags & dns.flags.RA

    asyncio.run(check())


def test_taken_port_is_said_in_one_line() -> None:
    """Somebody else's socket on the port is an error with the address in it."""

    async def check() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: "):
                await Server(_handler(), ["127.0.0.1"], port).__aenter__()

    asyncio.run(check())
