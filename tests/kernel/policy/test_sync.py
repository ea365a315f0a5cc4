"""The policy agent as a component: real API server, real kernel, real packets."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from netpod.api.core import Namespace
from netpod.api.networkpolicy import NetworkPolicy
from netpod.api.pod import Pod
from netpod.client.rest import Client
from netpod.linux import nft, nftread, process
from netpod.policy import compile
from netpod.policy.config import PolicyConfig
from netpod.policy.sync import Policies
from tests.kernel.policy import lab
from tests.kernel.proxy import control
from tests.unit.policy import builders

HERE = "node1"
DENY = builders.policy("deny", policyTypes=["Ingress"])
FROM_Y = builders.policy(
    "from-y", ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}]
)


def config() -> PolicyConfig:
    """The node whose pods are isolated."""
    return PolicyConfig(node_name=HERE, netns=lab.node_netns(HERE))


def story(folder: Path, body: Callable[[Client], Awaitable[None]]) -> None:
    """Run against a fresh API server that knows the nine pods."""

    async def told() -> None:
        async with asyncio.timeout(15), control.serving(folder) as client:
            for name in builders.NAMESPACES:
                await client.create(builders.namespace(name))
            for name in builders.ALL:
                await create(client, builders.pod(name))
            await body(client)

    asyncio.run(told())


async def create(client: Client, pod: Pod) -> Pod:
    """Make a pod that runs."""
    made = await client.create(strip(pod))
    made = dataclasses.replace(made, status=pod.status)
    return await client.update(made, subresource="status")


def strip(pod: Pod) -> Pod:
    """The pod as its author writes it."""
    containers = tuple(
        dataclasses.replace(container, image="netpod.dev/echo") for container in pod.spec.containers
    )
    meta = dataclasses.replace(pod.metadata, uid="")
    spec = dataclasses.replace(pod.spec, containers=containers)
    return dataclasses.replace(pod, metadata=meta, spec=spec)


def reaches(source: str, target: str, port: int = 80) -> bool:
    """Whether a TCP connection comes about; a refusal takes 0.1 s."""
    question = (source, target, "TCP", port)
    return bool(lab.ask([question], {question}, patience=0.1))


def table() -> bool:
    """Whether the node has our table."""
    return nftread.exists(lab.node_netns(HERE), compile.TABLE)


async def blocked(source: str, target: str) -> None:
    """Wait until a connection does not come about any more."""
    await control.until(lambda: not reaches(source, target))


async def open_(source: str, target: str) -> None:
    """Wait until a connection comes about."""
    await control.until(lambda: reaches(source, target))


def test_policies_come_and_go(nodes: Any, tmp_path: Path) -> None:
    """No policy, no table; the first one isolates at once; when the last is deleted, all is as before."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            assert not table()
            await client.create(DENY)
            await blocked("y/b", "x/a")
            await client.create(builders.policy("allow", ingress=[{}]))
            await open_("y/b", "x/a")
            await client.delete(NetworkPolicy, "allow", "x")
            await blocked("y/b", "x/a")
            await client.delete(NetworkPolicy, "deny", "x")
            await open_("y/b", "x/a")
            await control.until(lambda: not table())

    story(tmp_path, body)


def test_labels_of_namespaces_and_pods_count_at_once(nodes: Any, tmp_path: Path) -> None:
    """A namespace that gets the label its pods are chosen by lets them in; one that loses it shuts them out."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            await client.create(FROM_Y)
            await blocked("y/b", "x/a")
            await client.patch(Namespace, "y", "", {"metadata": {"labels": {"team": "y"}}})
            await open_("y/b", "x/a")
            await client.patch(Namespace, "y", "", {"metadata": {"labels": {"team": None}}})
            await blocked("y/b", "x/a")
            chosen = {"podSelector": {"matchLabels": {"team": "x"}}}
            await client.create(builders.policy("from-x", ingress=[{"from": [chosen]}]))
            await client.patch(Pod, "b", "x", {"metadata": {"labels": {"team": "x"}}})
            await open_("x/b", "x/a")

    story(tmp_path, body)


def test_an_agent_that_restarts_leaves_no_gap(nodes: Any, tmp_path: Path) -> None:
    """The table stands while nobody is there and is replaced in one transaction by the next agent."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            await client.create(DENY)
            await blocked("y/b", "x/a")
        assert not reaches("y/b", "x/a")
        await client.create(builders.policy("allow", ingress=[{"ports": [{"port": 81}]}]))
        async with control.running(Policies(client, config()).run()):
            await control.until(lambda: reaches("y/b", "x/a", 81))
            assert not reaches("y/b", "x/a")

    story(tmp_path, body)


def test_an_agent_without_policies_removes_what_an_earlier_one_left(
    nodes: Any, tmp_path: Path
) -> None:
    """A table for policies that were deleted meanwhile isolates nobody for long."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            await client.create(DENY)
            await control.until(table)
        await client.delete(NetworkPolicy, "deny", "x")
        async with control.running(Policies(client, config()).run()):
            await control.until(lambda: not table())

    story(tmp_path, body)


def test_a_pod_is_isolated_before_it_starts(nodes: Any, tmp_path: Path) -> None:
    """`isolate` comes back when the address holds, before the API server has heard of it."""

    async def body(client: Client) -> None:
        await client.delete(Pod, "a", "x", grace_period_seconds=0)
        agent = Policies(client, config())
        async with control.running(agent.run()):
            await client.create(DENY)
            await control.until(table)
            assert reaches("y/b", "x/a")
            made = await client.create(strip(builders.pod("x/a")))
            await agent.isolate(made, [builders.address_of("x/a")])
            assert not reaches("y/b", "x/a")
            # What the API server says, still without an address, does not take it back.
            await client.patch(Pod, "a", "x", {"metadata": {"labels": {"seen": "yes"}}})
            await asyncio.sleep(0.1)
            assert not reaches("y/b", "x/a")

    story(tmp_path, body)


def test_starting_a_pod_costs_nothing_without_policies(nodes: Any, tmp_path: Path) -> None:
    """Nobody waits for rules that nobody asked for."""

    async def body(client: Client) -> None:
        agent = Policies(client, config())
        async with control.running(agent.run()):
            await agent.isolate(await client.get(Pod, "a", "x"), [builders.address_of("x/a")])
            start = asyncio.get_running_loop().time()
            for _ in range(100):
                await agent.isolate(await client.get(Pod, "a", "x"), [builders.address_of("x/a")])
            assert asyncio.get_running_loop().time() - start < 1
            assert not table()

    story(tmp_path, body)


def test_an_accept_of_kube_proxy_does_not_bypass(nodes: Any, tmp_path: Path) -> None:
    """KUBE-FORWARD accepts marked packets at the top of FORWARD; a later drop stands all the same."""

    async def body(client: Client) -> None:
        netns = lab.node_netns(HERE)
        process.run(["iptables", "-I", "FORWARD", "-j", "ACCEPT"], netns=netns)
        try:
            async with control.running(Policies(client, config()).run()):
                await client.create(DENY)
                await blocked("y/b", "x/a")
        finally:
            process.run(["iptables", "-D", "FORWARD", "-j", "ACCEPT"], netns=netns)

    story(tmp_path, body)


def test_the_node_reaches_its_own_pods(nodes: Any, tmp_path: Path) -> None:
    """The kubelet's probes pass; another node's do not; a pod that may send nothing still answers."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            await client.create(builders.policy("deny", policyTypes=["Ingress", "Egress"]))
            await blocked("y/b", "x/a")
            address = builders.address_of("x/a")
            assert await asyncio.to_thread(lab.connects, lab.node_netns(HERE), address, 80)
            assert not await asyncio.to_thread(lab.connects, lab.node_netns("node2"), address, 80)
            node_ip = lab.NODE_IPS[HERE]
            assert not await asyncio.to_thread(lab.refused, lab.pod_netns("x/a"), node_ip, 9)
            assert await asyncio.to_thread(lab.refused, lab.pod_netns("y/a"), node_ip, 9)

    story(tmp_path, body)


def test_a_failed_sync_is_made_good(nodes: Any, tmp_path: Path) -> None:
    """When somebody took our table away, the next change writes all of it again."""

    async def body(client: Client) -> None:
        async with control.running(Policies(client, config()).run()):
            await client.create(DENY)
            await blocked("y/b", "x/a")
            nft.apply(lab.node_netns(HERE), f"delete table ip {compile.TABLE}\n")
            await client.create(FROM_Y)
            await blocked("y/b", "x/a")

    story(tmp_path, body)
