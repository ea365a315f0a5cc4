"""What shims and node processes do once they are forked: the place where a node's components are put together."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.apps import dns as dns_app
from netpod.apps import echo as echo_app
from netpod.apps import ingress as ingress_app
from netpod.client import rest
from netpod.client.rest import Client
from netpod.cluster import (
    guard,
    identities,
    keys,
    launch,
    proxymode,
    renewal,
    underlay,
    without,
)
from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.cluster.role import Role
from netpod.cni.flannel import Backend
from netpod.errors import ApiError
from netpod.kubelet import agent
from netpod.kubelet.config import KubeletConfig
from netpod.linux import libc, netns, nft
from netpod.policy import unenforced
from netpod.policy.config import PolicyConfig
from netpod.policy.sync import Policies
from netpod.proxy import sync as proxy
from netpod.proxy.config import Variant
from netpod.shim import server as shim
from netpod.shim.server import ShimConfig

log = logging.getLogger(__name__)
_READY_SECONDS = 30.0
_TURN_SECONDS = 0.5


def main(config: ClusterConfig, role: Role) -> None:
    """Run a role of a node in this process until it is ended. Never comes back but by an error."""
    node = next(item for item in config.nodes if item.name == role.node)
    if role.kind == "shim":
        _shim(config, node)
        return
    launch.wait_made(config)
    underlay.ensure_node(config, node)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _enter(config.paths.netns_node(node.name))
    _run(_node(config, node, home))


def _run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def _enter(name: str) -> None:
    """Move this process, which has one thread, into a network namespace for good."""
    fd = netns.open_fd(name)
    try:
        libc.setns(fd, libc.CLONE_NEWNET)
    finally:
        os.close(fd)


def _shim(config: ClusterConfig, node: NodeConfig) -> None:
    folder = config.paths.node(node.name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shim.run(
        ShimConfig(
            cluster=config.name,
            node=node.name,
            socket=config.paths.shim_socket(node.name),
            state=folder,
            stand_in=echo_app.main,
            apps={"netpod.dev/dns": dns_app.main, "netpod.dev/ingress": ingress_app.main},
        )
    )


async def _wait_turn(client: Client, config: ClusterConfig, node: NodeConfig) -> None:
    """Let the nodes register in their order, so that the same node gets the same pod network in every cluster.

    A node whose predecessor does not come registers all the same.
    """
    before = config.running[: config.running.index(node)][-1:]
    deadline = asyncio.get_running_loop().time() + _TURN_SECONDS
    while before and asyncio.get_running_loop().time() < deadline:
        try:
            if (await client.get(Node, before[0].name)).spec.pod_cidr:
                return
        except ApiError:
            pass
        await asyncio.sleep(0.005)


async def _node(config: ClusterConfig, node: NodeConfig, home: int) -> None:
    """Kubelet and proxy of one node; this process is in the node's root network namespace.

    `home` is the machine's, for what guards the supervisor.
    """
    paths = config.paths
    names = identities.kubelet(node.name), without.KUBE_PROXY, identities.NETWORK_POLICY
    clients = [Client.unix(paths.socket_of(name)) for name in names]
    client, proxying, isolating = clients
    contexts = renewal.Contexts(paths.pki)
    enforced = config.variant is Variant.NFT or nft.supported("", config.families)
    policies = [
        Policies(isolating, PolicyConfig(node_name=node.name, family=it))
        for it in (config.families if enforced else ())
    ]

    async def isolate(pod: Pod, pod_ips: tuple[str, ...]) -> None:
        for each in policies:
            await each.isolate(pod, pod_ips)

    kubelet = KubeletConfig(
        cluster=config.name,
        node=node.name,
        node_ips=node.node_ips,
        paths=paths,
        shim_socket=paths.shim_socket(node.name),
        cluster_dns=config.dns_ips,
        control_plane=node.control_plane,
        dedicated=config.workers > 0,
        # Four heartbeats to a lease, and a lease well within the grace.
        lease_seconds=max(
            1, min(40, int(config.node_monitor_grace_seconds * config.patience * 0.8))
        ),
        stand_in=config.stand_in,
        allow_host_path=tuple(Path(it) for it in config.allow_host_path.split(":") if it),
        pod_cidrs=config.pod_networks,
        max_pods=config.max_pods,
        backend=Backend(config.pod_network),
        tls=lambda: contexts.keep(keys.kubelet_context(config, node.name), keys.kubelet(node.name)),
        iptables_legacy=config.variant is Variant.LEGACY,
        isolate=isolate,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            # Before the API server is there: with supervisor and control plane dead it would never be.
            turn = config.running.index(node) + 1
            tasks.create_task(guard.run(config, turn=turn, home=home), name="guard")
            await rest.wait_ready(client, _READY_SECONDS)
            await _wait_turn(client, config, node)
            tasks.create_task(agent.run(client, kubelet), name="kubelet")
            if without.KUBE_PROXY not in without.parse(config.without):
                settings = proxymode.proxy_config(config, node)
                tasks.create_task(proxy.run(proxying, settings), name="proxy")
            if not enforced:
                tasks.create_task(unenforced.run(isolating, node.name), name="policy")
            for each in policies:
                tasks.create_task(each.run(), name="policy")
            tasks.create_task(contexts.run(), name="certificates")
    finally:
        for one in clients:
            await one.close()
