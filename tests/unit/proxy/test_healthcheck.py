"""What load balancers are told."""

import asyncio
import json
import socket

from netpod.api.discovery import Endpoint
from netpod.api.meta import Key
from netpod.proxy import healthcheck, model
from netpod.proxy.healthcheck import HealthServers, ServiceHealth
from tests.unit.proxy.builders import endpoint_slice, entry, port, service

LOCAL = service(
    type="LoadBalancer",
    external_traffic_policy="Local",
    health_check_node_port=32000,
    ports=(port(80, "http"), port(443, "https")),
)
PORTS = (("http", 8080, "TCP"), ("https", 8443, "TCP"))


def answer(*entries: Endpoint) -> ServiceHealth:
    """What port 32000 tells with these endpoints."""
    piece = endpoint_slice(entries, ports=PORTS)
    return healthcheck.observe(model.build((LOCAL,), (piece,), "worker"))[32000]


def test_distinct_ready_local_addresses_count() -> None:
    """Two ports of one pod are one endpoint; other nodes' and terminating ones are none."""
    found = answer(
        entry("10.0.0.1"),
        entry("10.0.0.2", "worker2"),
        entry("10.0.0.3", ready=False, serving=True, terminating=True),
    )
    assert found == ServiceHealth(service=Key("shop", "web"), local_endpoints=1)


def test_services_without_a_health_check_have_no_port() -> None:
    """Policy Cluster needs none, whatever the spec still says."""
    cluster = service(type="LoadBalancer", health_check_node_port=32000)
    assert healthcheck.observe(model.build((cluster,), (), "worker")) == {}


async def get(number: int, path: str = "/") -> tuple[int, dict[str, object]]:
    """Status and body of one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    head, _, body = text.partition("\r\n\r\n")
    assert "X-Content-Type-Options: nosniff" in head
    return int(head.split()[1]), json.loads(body)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_answers_follow_the_endpoints() -> None:
    """200 with ready local endpoints and a proxy that keeps up, else 503; no Service, no listener."""

    async def story() -> None:
        number = free_port()
        healthy = True
        servers = HealthServers("", lambda: healthy)
        full = answer(entry("10.0.0.1"))
        await servers.update({number: full})
        assert await get(number) == (
            200,
            {
                "service": {"namespace": "shop", "name": "web"},
                "localEndpoints": 1,
                "serviceProxyHealthy": True,
            },
        )
        await servers.update({number: answer()})
        assert (await get(number))[0] == 503
        await servers.update({number: full})
        healthy = False
        assert (await get(number))[0] == 503
        await servers.update({})
        try:
            await get(number)
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("still listening")

    asyncio.run(story())


def test_a_port_that_closes_ends_its_connections() -> None:
    """A balancer that keeps its connection alive is told, and nothing leaks."""

    async def story() -> None:
        number = free_port()
        servers = HealthServers("", lambda: True)
        await servers.update({number: answer(entry("10.0.0.1"))})
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        await servers.close()
        async with asyncio.timeout(2):
            await reader.read()
        writer.close()

    asyncio.run(story())


def test_a_node_that_leaves_is_not_eligible() -> None:
    """/healthz turns 503 so that balancers go elsewhere; /livez stays 200."""

    async def story() -> None:
        number = free_port()
        servers = HealthServers("", lambda: True, lambda: False)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(servers.serve_healthz(number))
            async with asyncio.timeout(2):
                while True:
                    try:
                        status, body = await get(number, "/healthz")
                        break
                    except ConnectionRefusedError:
                        await asyncio.sleep(0.005)
            assert (status, body["nodeEligible"]) == (503, False)
            assert (await get(number, "/livez"))[0] == 200
            serving.cancel()

    asyncio.run(story())
