"""Which mode a proxy works in, and how it changes: real API server, real kernel, real packets."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from netpod.api.core import ConfigMap
from netpod.api.meta import ObjectMeta
from netpod.client.rest import Client
from netpod.linux import ipset, iptables, link, nft, sysctl
from netpod.proxy import configmap, ipvs, sync
from netpod.proxy.config import Mode, Variant
from netpod.proxy.ipvs_config import IpvsConfig
from tests.kernel.proxy import control, lab
from tests.kernel.proxy.test_sync import CONFIG, answers, story
from tests.support.guest import needs

# Without IP in nf_tables there are two modes only.
WAYS_TO_GO = [
    pytest.param(old, new, marks=[needs("ip_vs")] if Mode.IPVS in (old, new) else [])
    for old, new in itertools.permutations(Mode, 2)
    if lab.RULES is Variant.NFT or Mode.NFTABLES not in (old, new)
]


def config_map(mode: str, **nodes: str) -> ConfigMap:
    """kube-system/kube-proxy with this mode, and others for some nodes."""
    data = {configmap.KEY: text(mode)} | {configmap.node_key(n): text(m) for n, m in nodes.items()}
    return ConfigMap(
        metadata=ObjectMeta(name=configmap.NAME, namespace=configmap.NAMESPACE), data=data
    )


def text(mode: str) -> str:
    """A KubeProxyConfiguration."""
    return f"apiVersion: {configmap.API_VERSION}\nkind: {configmap.KIND}\nmode: {mode}\n"


def present(node: str) -> set[Mode]:
    """The modes of which anything is in the kernel."""
    found = set()
    saved = iptables.save(node, legacy=lab.RULES is Variant.LEGACY)
    if "KUBE-PROXY-CANARY" in saved:
        found.add(Mode.IPTABLES)
    if lab.RULES is Variant.NFT and "kube-proxy" in nft.list_text(node, "tables"):
        found.add(Mode.NFTABLES)
    if link.observe_link(node, ipvs.DUMMY) or "KUBE-LOAD-BALANCER" in saved:
        found.add(Mode.IPVS)
    assert found or "KUBE-" not in saved
    return found


async def put(client: Client, wanted: ConfigMap) -> None:
    """Change the ConfigMap."""
    old = await client.get(ConfigMap, configmap.NAME, configmap.NAMESPACE)
    await client.update(dataclasses.replace(old, data=wanted.data))


def test_rules_follow_the_api_in_every_mode(node: str, mode: Mode, tmp_path: Path) -> None:
    """The mode a proxy starts in is the ConfigMap's."""

    async def body(client: Client) -> None:
        await client.create(config_map(mode))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            assert await asyncio.to_thread(present, node) == {mode}

    story(tmp_path, body)


def test_switch_keeps_connections_and_leaves_nothing(node: str, tmp_path: Path) -> None:
    """There and back: new connections are answered all the time, an old one goes on, the old rules are gone."""

    async def body(client: Client) -> None:
        await client.create(config_map("iptables"))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            async with _old_connection() as still_there:
                for mode in (Mode.NFTABLES, Mode.IPTABLES):
                    await put(client, config_map(mode))
                    while await asyncio.to_thread(present, node) != {mode}:
                        assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
                    await still_there()
                    assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
                    local = sysctl.read(node, "net.ipv4.conf.all.route_localnet")
                    assert local == ("1" if mode is Mode.IPTABLES else "0")

    story(tmp_path, body)


@needs("ip_vs")
def test_switch_to_ipvs_and_back(node: str, tmp_path: Path) -> None:
    """A connection of before goes on in IPVS mode; one made there holds its virtual server until it has ended."""
    config = dataclasses.replace(CONFIG, ipvs=IpvsConfig(drain_period=0.1))

    async def body(client: Client) -> None:
        await client.create(config_map("iptables"))
        async with control.running(sync.run(client, config)):
            await control.until(lambda: answers(lab.POD1, lab.POD2), 20)
            async with _old_connection() as old:
                await put(client, config_map("ipvs"))
                while await asyncio.to_thread(present, node) != {Mode.IPVS}:
                    assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
                await old()
                assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
            async with _old_connection() as held:
                await put(client, config_map("iptables"))
                while Mode.IPTABLES not in await asyncio.to_thread(present, node):
                    assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
                for _ in range(5):
                    await asyncio.sleep(0.1)
                    await held()
                    assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
                assert await asyncio.to_thread(present, node) == {Mode.IPTABLES, Mode.IPVS}
            await control.until(lambda: present(node) == {Mode.IPTABLES}, 20)
            assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)
            assert not await asyncio.to_thread(ipset.observe, node)

    story(tmp_path, body)


@contextlib.asynccontextmanager
async def _old_connection() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A connection from outside; awaiting what is yielded sends a line and sees it come back."""
    sock = await asyncio.to_thread(lab.connect, lab.CLIENT, "10.96.45.12", 80)
    with sock, sock.makefile("rw") as lines:
        first = await asyncio.to_thread(lines.readline)
        assert first.split()[1] == "10.244.1.1"

        async def goes_on() -> None:
            lines.write("still here\n")
            lines.flush()
            assert await asyncio.to_thread(lines.readline) == "still here\n"

        yield goes_on


def test_unknown_mode_changes_nothing(node: str, tmp_path: Path) -> None:
    """A typing error in the ConfigMap leaves the rules as they are, and the proxy following the API."""

    async def body(client: Client) -> None:
        await client.create(config_map("nftables"))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            await put(client, config_map("nftbales"))
            await asyncio.sleep(0.1)
            assert await asyncio.to_thread(present, node) == {Mode.NFTABLES}
            await put(client, config_map("iptables"))
            await control.until(lambda: present(node) == {Mode.IPTABLES})

    story(tmp_path, body)


def test_node_override(node: str, tmp_path: Path) -> None:
    """A configuration for this node counts before the cluster's; one for another node does not."""

    async def body(client: Client) -> None:
        await client.create(config_map("iptables", worker="nftables", worker2="iptables"))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: present(node) == {Mode.NFTABLES})
            await control.until(lambda: answers(lab.POD1, lab.POD2))

    story(tmp_path, body)


@pytest.mark.parametrize(("other", "start"), WAYS_TO_GO)
def test_leftovers_of_another_mode_are_removed_at_start(
    node: str, other: Mode, start: Mode, tmp_path: Path
) -> None:
    """A proxy that was killed in one mode and starts in the other finishes the change."""

    async def body(client: Client) -> None:
        for mode in (other, start):
            config = dataclasses.replace(CONFIG, mode=mode)
            async with control.running(sync.run(client, config)):
                await control.until(lambda mode=mode: present(node) == {mode})  # type: ignore[misc]
                await control.until(lambda: answers(lab.POD1, lab.POD2))

    story(tmp_path, body)
