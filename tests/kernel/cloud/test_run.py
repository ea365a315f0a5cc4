"""The cloud as a component: real API server, real edge, real packets."""

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network
from pathlib import Path

from netpod.api.core import Event
from netpod.api.meta import Condition, ObjectMeta
from netpod.api.node import Node, NodeAddress
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.client.rest import Client
from netpod.cloud import run
from netpod.cloud.run import CloudConfig
from netpod.linux import netns
from tests.kernel.cloud.edge_lab import CLIENT_IP, EDGE, NODE3, NODE4, OUTSIDE
from tests.kernel.proxy import control, lab

CONFIG = CloudConfig(edge_netns=EDGE)


def story(folder: Path, body: Callable[[Client], Awaitable[None]]) -> None:
    """Run against a fresh API server that knows both nodes."""

    async def told() -> None:
        async with asyncio.timeout(15), control.serving(folder) as client:
            for name, address in (("worker", "172.18.0.3"), ("worker2", "172.18.0.4")):
                made = await client.create(Node(metadata=ObjectMeta(name=name)))
                addresses = (NodeAddress(type="InternalIP", address=address),)
                status = dataclasses.replace(made.status, addresses=addresses)
                await client.update(dataclasses.replace(made, status=status), subresource="status")
                await set_ready(client, name, "True")
            await body(client)

    asyncio.run(told())


async def set_ready(client: Client, name: str, ready: str) -> None:
    """Set a node's Ready condition."""
    node = await client.get(Node, name)
    conditions = (Condition(type="Ready", status=ready),)
    status = dataclasses.replace(node.status, conditions=conditions)
    await client.update(dataclasses.replace(node, status=status), subresource="status")


async def create(client: Client, name: str, **spec: object) -> Service:
    """A Service of type LoadBalancer; further arguments are fields of its spec."""
    fields = {
        "type": "LoadBalancer",
        "selector": {"app": name},
        "ports": (ServicePort(port=80, protocol="TCP", node_port=31080 if name == "web" else 0),),
        **spec,
    }
    meta = ObjectMeta(name=name, namespace="default")
    return await client.create(Service(metadata=meta, spec=ServiceSpec(**fields)))  # type: ignore[arg-type]


async def vip_of(client: Client, name: str) -> str:
    """The Service's address, or ""."""
    service = await client.get(Service, name, "default")
    return ",".join(entry.ip for entry in service.status.load_balancer.ingress)


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a fact of the API."""
    for _ in range(300):
        if await fact():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the fact did not come true in time")


async def until_vip(client: Client, name: str, vip: str) -> None:
    """Wait until the Service has this address."""

    async def fact() -> bool:
        return await vip_of(client, name) == vip

    await until(fact)


def answers(vip: str, *nodes: str) -> bool:
    """Whether the VIP leads to exactly these nodes, with the client's address."""
    try:
        seen = {lab.ask(OUTSIDE, vip, timeout=0.3) for _ in range(4)}
    except OSError:
        return not nodes
    return seen == {(node, CLIENT_IP) for node in nodes}


def test_a_load_balancer_is_answered(edge_netns: str, tmp_path: Path) -> None:
    """Address in the status, packets at ready nodes, events that say so; gone with the Service."""

    async def body(client: Client) -> None:
        await create(client, "web")
        async with control.running(run.run(client, CONFIG)):
            await control.until(lambda: answers("198.51.100.1", NODE3, NODE4))
            service = await client.get(Service, "web", "default")
            assert service.status.load_balancer.ingress[0].ip_mode == "VIP"
            await set_ready(client, "worker", "False")
            await control.until(lambda: answers("198.51.100.1", NODE4))
            await set_ready(client, "worker2", "Unknown")
            await control.until(lambda: answers("198.51.100.1"))
            await set_ready(client, "worker", "True")
            await control.until(lambda: answers("198.51.100.1", NODE3))

            async def said() -> bool:
                reasons = {event.reason for event in (await client.list(Event)).items}
                return {"EnsuringLoadBalancer", "EnsuredLoadBalancer"} <= reasons

            await until(said)
            await client.delete(Service, "web", "default")
            await control.until(lambda: answers("198.51.100.1"))

    story(tmp_path, body)


def test_another_class_of_load_balancer_is_left_alone(edge_netns: str, tmp_path: Path) -> None:
    """spec.loadBalancerClass names somebody else: no address, and none is taken from the pool."""

    async def body(client: Client) -> None:
        await create(client, "theirs", load_balancer_class="example.com/lb")
        async with control.running(run.run(client, CONFIG)):
            await create(client, "web")
            await control.until(lambda: answers("198.51.100.1", NODE3, NODE4))
            assert await vip_of(client, "theirs") == ""

    story(tmp_path, body)


def test_every_port_and_protocol_is_balanced(edge_netns: str, tmp_path: Path) -> None:
    """Two TCP ports and a UDP port of one Service lead to their own node ports."""

    async def body(client: Client) -> None:
        ports = (
            ServicePort(name="a", port=80, protocol="TCP", node_port=31080),
            ServicePort(name="b", port=81, protocol="TCP", node_port=31080 + 1),
            ServicePort(name="dns", port=53, protocol="UDP", node_port=31053),
        )
        await create(client, "many", ports=ports)
        with (
            lab.tcp_server(NODE3, 31081),
            lab.tcp_server(NODE4, 31081),
            lab.udp_server(NODE3, 31053),
            lab.udp_server(NODE4, 31053),
            netns.socket_in(OUTSIDE, socket.AF_INET, socket.SOCK_DGRAM) as sock,
        ):
            sock.settimeout(0.3)

            def datagram() -> bool:
                try:
                    sock.sendto(b"?", ("198.51.100.1", 53))
                    return sock.recv(100).decode() in (NODE3, NODE4)
                except OSError:
                    return False

            async with control.running(run.run(client, CONFIG)):
                await control.until(lambda: answers("198.51.100.1", NODE3, NODE4))
                second = await asyncio.to_thread(lab.ask, OUTSIDE, "198.51.100.1", 81)
                assert second[0] in (NODE3, NODE4)
                await control.until(datagram)

    story(tmp_path, body)


def test_addresses_survive_a_restart(edge_netns: str, tmp_path: Path) -> None:
    """A second cloud adopts what the API shows and gives away only what is free."""

    async def body(client: Client) -> None:
        async with control.running(run.run(client, CONFIG)):
            for number, name in enumerate(("a", "b", "c"), 1):
                await create(client, name)
                await until_vip(client, name, f"198.51.100.{number}")
        await client.delete(Service, "a", "default")
        await create(client, "d")
        async with control.running(run.run(client, CONFIG)):
            await until_vip(client, "d", "198.51.100.1")
        assert await vip_of(client, "b") == "198.51.100.2"
        assert await vip_of(client, "c") == "198.51.100.3"

    story(tmp_path, body)


def test_address_is_released_when_the_type_changes(edge_netns: str, tmp_path: Path) -> None:
    """The status is emptied and the next Service may have the address."""

    async def body(client: Client) -> None:
        async with control.running(run.run(client, CONFIG)):
            await create(client, "a")
            await until_vip(client, "a", "198.51.100.1")
            await client.patch(Service, "a", "default", {"spec": {"type": "ClusterIP"}})
            await until_vip(client, "a", "")
            await create(client, "b")
            await until_vip(client, "b", "198.51.100.1")

    story(tmp_path, body)


def test_requested_address_is_honoured(edge_netns: str, tmp_path: Path) -> None:
    """spec.loadBalancerIP; of two that want the same, the second waits until it is free."""

    async def body(client: Client) -> None:
        async with control.running(run.run(client, CONFIG)):
            await create(client, "a", load_balancer_ip="198.51.100.77")
            await until_vip(client, "a", "198.51.100.77")
            await create(client, "b", load_balancer_ip="198.51.100.77")
            await create(client, "c", load_balancer_ip="192.0.2.1")

            async def refused() -> bool:
                failures = [
                    event.message
                    for event in (await client.list(Event)).items
                    if event.reason == "SyncLoadBalancerFailed"
                ]
                return any("default/a" in said for said in failures) and any(
                    "192.0.2.1" in said for said in failures
                )

            await until(refused)
            assert await vip_of(client, "b") == ""
            await client.delete(Service, "a", "default")
            await until_vip(client, "b", "198.51.100.77")

    story(tmp_path, body)


def test_exhausted_pool_serves_the_next_in_line(edge_netns: str, tmp_path: Path) -> None:
    """With two addresses the third Service waits for one that is given back."""
    config = dataclasses.replace(CONFIG, vip_cidrs=(IPv4Network("198.51.100.0/30"),))

    async def body(client: Client) -> None:
        async with control.running(run.run(client, config)):
            for name in ("a", "b"):
                await create(client, name)
            await until_vip(client, "b", "198.51.100.2")
            await create(client, "c")
            await asyncio.sleep(0.1)
            assert await vip_of(client, "c") == ""
            await client.delete(Service, "a", "default")
            await until_vip(client, "c", "198.51.100.1")

    story(tmp_path, body)


def test_policy_local_sends_only_where_endpoints_are(edge_netns: str, tmp_path: Path) -> None:
    """The edge asks each node's healthCheckNodePort and leaves out those that say no."""

    async def body(client: Client) -> None:
        made = await create(client, "web", external_traffic_policy="Local")
        number = made.spec.health_check_node_port
        assert number
        with lab.http_server(NODE4, number, 200), lab.http_server(NODE3, number, 503):
            async with control.running(run.run(client, CONFIG)):
                await control.until(lambda: answers("198.51.100.1", NODE4))

    story(tmp_path, body)
