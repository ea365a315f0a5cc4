"""The proxy as a component: real API server, real kernel, real packets."""

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable, Collection
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netpod.api.discovery import EndpointSlice
from netpod.api.meta import ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.client.rest import Client
from netpod.linux import iptables, process, sysctl
from netpod.proxy import sync
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.proxier import IptablesProxier
from tests.kernel.proxy import control, lab
from tests.unit.proxy.builders import endpoint_slice, entry

CONFIG = ProxyConfig(
    cluster="test",
    node_name="worker",
    node_ip=IPv4Address(lab.NODE_IP),
    cluster_cidr=IPv4Network("10.244.0.0/16"),
    netns=lab.NODE,
    iptables_variant=lab.RULES,
)
WEB = Service(
    metadata=ObjectMeta(name="web", namespace="default"),
    spec=ServiceSpec(cluster_ip="10.96.45.12", ports=(ServicePort(port=80, protocol="TCP"),)),
)


def pods(*addresses: str) -> EndpointSlice:
    """The slice of default/web with these ready endpoints."""
    return endpoint_slice([entry(ip) for ip in addresses], "web", "default")


class Recorder(IptablesProxier):
    """Iptables mode that remembers which syncs handed something over."""

    def __init__(self, config: ProxyConfig) -> None:
        super().__init__(config)
        self.syncs: list[tuple[str, bool]] = []

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """A full sync, noted."""
        done = await super().full_sync(model, zone=zone)
        self.syncs.append(("full", done))
        return done

    async def sync(
        self, model: Model, changed: Collection[ServicePortName], *, zone: str = ""
    ) -> bool:
        """A sync, noted."""
        done = await super().sync(model, changed, zone=zone)
        self.syncs.append(("partial", done))
        return done


def story(folder: Path, body: Callable[[Client], Awaitable[None]]) -> None:
    """Run against a fresh API server that knows default/web with both pods."""

    async def told() -> None:
        async with asyncio.timeout(5 * control.SECONDS), control.serving(folder) as client:
            await client.create(WEB)
            await client.create(pods("10.244.1.5", "10.244.1.6"))
            await body(client)

    asyncio.run(told())


def answers(*expected: str) -> bool:
    """Whether the cluster IP leads to exactly these pods."""
    try:
        return {lab.ask(lab.POD1, "10.96.45.12")[0] for _ in range(8)} == set(expected)
    except OSError:
        return not expected


def test_rules_follow_the_api(node: str, tmp_path: Path) -> None:
    """Endpoints that come and go are in the kernel at once; a deleted Service leaves no chain."""

    async def body(client: Client) -> None:
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            piece = await client.get(EndpointSlice, "web-a", "default")
            one = dataclasses.replace(piece, endpoints=(entry("10.244.1.6"),))
            await client.update(one)
            await control.until(lambda: answers(lab.POD2))
            await client.delete(Service, "web", "default")
            await control.until(lambda: "default/web" not in iptables.save(node))
            assert "default/kubernetes:https" in iptables.save(node)
            assert sysctl.read(node, "net.ipv4.conf.all.route_localnet") == "1"

    story(tmp_path, body)


def test_restart_changes_nothing(node: str, tmp_path: Path) -> None:
    """While no proxy runs the rules go on; the next one adopts them without a hand-over."""

    async def body(client: Client) -> None:
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
        assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
        proxier = Recorder(CONFIG)
        async with control.running(sync.Sync(client, CONFIG, proxier).run()):
            await control.until(lambda: bool(proxier.syncs))
            piece = await client.get(EndpointSlice, "web-a", "default")
            labels = {**piece.metadata.labels, "a": "b"}
            meta = dataclasses.replace(piece.metadata, labels=labels)
            await client.update(dataclasses.replace(piece, metadata=meta))
            await asyncio.sleep(0.1)
        assert proxier.syncs == [("full", False)]

    story(tmp_path, body)


def test_flushed_rules_come_back(node: str, tmp_path: Path) -> None:
    """Somebody runs iptables -F and -X; the canary tells, and a full sync repairs."""

    async def body(client: Client) -> None:
        config = dataclasses.replace(CONFIG, sync_period=0.1)
        async with control.running(sync.run(client, config)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            for action in ("-F", "-X"):
                process.run(["iptables", "-t", "nat", action], netns=node)
            await control.until(lambda: answers(lab.POD1, lab.POD2))

    story(tmp_path, body)


def test_a_full_sync_comes_by_itself(node: str, tmp_path: Path) -> None:
    """A rule that somebody deletes while the canaries stay is back after the full sync's period."""

    async def body(client: Client) -> None:
        config = dataclasses.replace(CONFIG, sync_period=0.1, full_sync_period=0.2)
        async with control.running(sync.run(client, config)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            process.run(["iptables", "-t", "nat", "-F", "KUBE-SERVICES"], netns=node)
            await control.until(lambda: answers(lab.POD1, lab.POD2))

    story(tmp_path, body)


def test_nothing_is_written_before_everything_was_listed(node: str, tmp_path: Path) -> None:
    """A proxy whose API server does not answer leaves the rules of its predecessor as they are."""

    async def body(client: Client) -> None:
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
        before = await asyncio.to_thread(iptables.save, node)
        silent = socket.socket(socket.AF_UNIX)
        silent.bind(str(tmp_path / "silent"))
        silent.listen(16)
        with silent:
            lonely = Client.unix(tmp_path / "silent")
            proxier = Recorder(CONFIG)
            async with control.running(sync.Sync(lonely, CONFIG, proxier).run()):
                await asyncio.sleep(0.3)
            await lonely.close()
        assert proxier.syncs == []
        assert _rules(await asyncio.to_thread(iptables.save, node)) == _rules(before)
        assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)

    story(tmp_path, body)


def _rules(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A ")]


def test_refused_rules_are_retried(node: str, tmp_path: Path) -> None:
    """A sync the kernel refuses is repeated until it succeeds."""

    async def body(client: Client) -> None:
        # A chain of another program stands where ours is jumped to, so deleting ours fails for a while.
        commands = ["-N KUBE-SVC-AAAAAAAAAAAAAAAA", "-A OUTPUT -j KUBE-SVC-AAAAAAAAAAAAAAAA"]
        for command in commands:
            process.run(["iptables", "-t", "nat", *command.split()], netns=node)
        async with control.running(sync.run(client, CONFIG)):
            await asyncio.sleep(0.2)
            remove = "-D OUTPUT -j KUBE-SVC-AAAAAAAAAAAAAAAA"
            process.run(["iptables", "-t", "nat", *remove.split()], netns=node)
            await control.until(lambda: answers(lab.POD1, lab.POD2))

    story(tmp_path, body)


def test_health_check_node_port_is_served(node: str, tmp_path: Path) -> None:
    """Policy Local opens the port on the node's address; 503 when the last local endpoint goes."""

    async def body(client: Client) -> None:
        local = dataclasses.replace(
            WEB.spec, type="LoadBalancer", external_traffic_policy="Local", cluster_ip="10.96.45.13"
        )
        meta = ObjectMeta(name="local", namespace="default")
        made = await client.create(dataclasses.replace(WEB, metadata=meta, spec=local))
        number = made.spec.health_check_node_port
        assert number
        await client.create(endpoint_slice([entry("10.244.1.5")], "local", "default"))

        def status() -> str:
            try:
                with lab.connect(lab.CLIENT, lab.NODE_IP, number) as sock:
                    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    return sock.recv(100).decode().split()[1]
            except OSError:
                return ""

        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: status() == "200")
            piece = await client.get(EndpointSlice, "local-a", "default")
            await client.update(dataclasses.replace(piece, endpoints=(entry("10.244.2.9", "w2"),)))
            await control.until(lambda: status() == "503")
            await client.delete(Service, "local", "default")
            await control.until(lambda: status() == "")

    story(tmp_path, body)
