"""What a running proxy tells about itself, and whom it tells when it cannot do what it should."""

import asyncio
import dataclasses
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netpod.api.core import Event
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import ObjectMeta
from netpod.api.node import Node
from netpod.client.rest import Client
from netpod.ip import Family
from netpod.linux import iptables, netns, process
from netpod.proxy import sync
from tests.kernel.proxy import control, lab
from tests.kernel.proxy.test_modes import config_map, put
from tests.kernel.proxy.test_sync import CONFIG, answers, story
from tests.unit.proxy import families
from tests.unit.proxy.builders import entry


def fetch(namespace: str, address: str, port: int, path: str) -> tuple[str, str]:
    """Status line and body; ("", "") while nobody listens."""
    try:
        with netns.socket_in(namespace, socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            sock.connect((address, port))
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while more := sock.recv(65536):
                answer += more
    except OSError:
        return "", ""
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.split(" ", 1)[1].split("\r\n")[0], body


def values(node: str) -> dict[str, float]:
    """Sample by name and table, of 127.0.0.1:10249/metrics."""
    status, body = fetch(node, "127.0.0.1", 10249, "/metrics")
    assert status == "200 OK"
    return {
        f"{sample.name} {sample.labels.get('table', '')}".strip(): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_metrics_mode_and_health_are_served(node: str, tmp_path: Path) -> None:
    """Upstream's ports and paths in the node's namespace; metrics on 127.0.0.1 alone."""

    async def body(client: Client) -> None:
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            await control.until(
                lambda: fetch(node, "127.0.0.1", 10249, "/proxyMode") == ("200 OK", "iptables")
            )
            closed = await asyncio.to_thread(fetch, lab.CLIENT, lab.NODE_IP, 10249, "/metrics")
            assert closed == ("", "")
            status, said = await asyncio.to_thread(
                fetch, lab.CLIENT, lab.NODE_IP, 10256, "/healthz"
            )
            assert status == "200 OK"
            assert all(key in said for key in ("lastUpdated", "currentTime", "nodeEligible"))
            before = await asyncio.to_thread(values, node)
            rules = [r for r in iptables.list_counters(node) if "KUBE-" in r.chain + r.rule]
            for table in ("nat", "filter", "mangle"):
                have = len([rule for rule in rules if rule.table == table])
                assert before[f"kubeproxy_sync_proxy_rules_iptables_total {table}"] == have
            assert before["kubeproxy_proxy_healthz_total"] == 1
            piece = await client.get(EndpointSlice, "web-a", "default")
            await client.update(dataclasses.replace(piece, endpoints=(entry("10.244.1.6"),)))
            await control.until(lambda: answers(lab.POD2))
            name = "kubeproxy_sync_partial_proxy_rules_duration_seconds_count"
            await control.until(lambda: values(node)[name] > before[name])

    story(tmp_path, body)


def test_both_families_answer_in_one_place(node: str, tmp_path: Path) -> None:
    """A node with two families has one /metrics that tells of both, and nothing fights for its port."""
    with families.speaking(Family.IPV6):
        config = dataclasses.replace(CONFIG, secondary=families.told_config(CONFIG))

    def synced() -> bool:
        _, body = fetch(node, "127.0.0.1", 10249, "/metrics")
        name = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
        return all(f'{name}{{ip_family="{family}"}} 1.0' in body for family in Family)

    async def body(client: Client) -> None:
        async with control.running(sync.run(client, config)):
            await control.until(synced)

    story(tmp_path, body)


def test_an_unknown_mode_is_an_event_of_the_node(node: str, tmp_path: Path) -> None:
    """A typing error in the ConfigMap is told where people look, with what is allowed."""

    async def body(client: Client) -> None:
        await client.create(Node(metadata=ObjectMeta(name="worker")))
        await client.create(config_map("iptables"))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            await put(client, config_map("iptabels"))
            await control.come(lambda: _told(client, "iptabels"))
            assert await asyncio.to_thread(answers, lab.POD1, lab.POD2)

    story(tmp_path, body)


def test_a_mode_this_machine_cannot_do_keeps_the_old_rules(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without nft(8) the proxy says so in an event and goes on in iptables mode, following the API."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("iptables", "iptables-save", "iptables-restore"):
        (programs / name).symlink_to(process.find(name))

    async def body(client: Client) -> None:
        await client.create(Node(metadata=ObjectMeta(name="worker")))
        await client.create(config_map("iptables"))
        async with control.running(sync.run(client, CONFIG)):
            await control.until(lambda: answers(lab.POD1, lab.POD2))
            monkeypatch.setenv("PATH", str(programs))
            monkeypatch.setattr(process, "SBIN", str(programs))
            await put(client, config_map("nftables"))
            await control.come(lambda: _told(client, "cannot run nft"))
            piece = await client.get(EndpointSlice, "web-a", "default")
            await client.update(dataclasses.replace(piece, endpoints=(entry("10.244.1.6"),)))
            await control.until(lambda: answers(lab.POD2))
            said = await asyncio.to_thread(fetch, node, "127.0.0.1", 10249, "/proxyMode")
            assert said[1] == "iptables"

    story(tmp_path, body)


async def _told(client: Client, word: str) -> bool:
    events = (await client.list(Event)).items
    return any(
        word in event.message
        and event.involved_object.name == "worker"
        and "iptables" in event.message
        for event in events
    )
