"""Samples what the node uses, every 15 seconds, and tells the API server, which serves the metrics API from it.

Upstream's metrics-server asks every kubelet instead; here the kubelet pushes, so that an idle cluster needs no TLS
connection to each node. /stats/summary and the metrics of server.py show the last sample.

Source: kubernetes pkg/kubelet/server/stats/summary.go; metrics-server pkg/scraper (its default resolution).
"""

import asyncio
import logging
import os
from typing import Any

import orjson

from netpod.api import meta, registry
from netpod.api.cri import ContainerStats, SandboxConfig, State
from netpod.api.meta import Key
from netpod.client.rest import Client
from netpod.cni.network import PodNetwork
from netpod.errors import ApiError, NetpodError
from netpod.kubelet import summary
from netpod.kubelet.config import KubeletConfig
from netpod.kubelet.runtime import Runtime
from netpod.kubelet.summary import RunningContainer, RunningPod, Sample
from netpod.linux import usage

log = logging.getLogger(__name__)
PERIOD = 15.0
FIRST = 2.0
"""Seconds after the start of the first sample, and how old one may be that somebody asks for."""


class Sampler:
    """What the node uses, as last sampled.

    Args:
        config: The node.
        client: Whom to tell.
        runtime: What runs.
    """

    def __init__(self, config: KubeletConfig, client: Client, runtime: Runtime) -> None:
        self._config = config
        self._client = client
        self._runtime = runtime
        self._last: Sample | None = None
        self._shares = usage.Shares()
        self._summary: dict[str, Any] = {}
        self._path = registry.NODE_STATS.path(name=config.node)

    async def run(self) -> None:
        """Sample and tell until cancelled; what the API server does not take is told again with the next."""
        await asyncio.sleep(FIRST)
        while True:
            try:
                told = {"metadata": {"name": self._config.node}, **await self.sample()}
                await self._client.raw("PUT", self._path, orjson.dumps(told), "application/json")
            except (ApiError, NetpodError) as error:
                log.debug("cannot tell what the node uses: %s", error)
            await asyncio.sleep(PERIOD)

    async def read(self) -> dict[str, Any]:
        """The Summary, at most FIRST seconds old.

        Raises:
            NetpodError: the shim does not answer.
        """
        last = self._last
        if last is None or (meta.now() - last.at).total_seconds() > FIRST:
            return await self.sample()
        return self._summary

    async def sample(self) -> dict[str, Any]:
        """Sample now, and return the Summary.

        Raises:
            NetpodError: the shim does not answer.
        """
        containers = await self._runtime.stats()
        own = usage.observe_process(os.getpid())
        now = Sample(
            at=meta.now(),
            containers=containers,
            kubelet=ContainerStats(
                cpu=own.cpu if own else 0,
                memory=self._shares.of(os.getpid(), own.resident) if own else 0,
                resident=own.resident if own else 0,
                processes=1,
            ),
            traffic=usage.observe_traffic(),
        )
        self._summary = summary.compile(
            self._config.node, self._last, now, self._pods(), usage.observe_available()
        )
        self._last = now
        return self._summary

    def _pods(self) -> list[RunningPod]:
        inside: dict[str, list[RunningContainer]] = {}
        for seen in self._runtime.containers.values():
            if seen.state == State.RUNNING:
                config = seen.config
                inside.setdefault(config.sandbox_id, []).append(
                    RunningContainer(
                        name=config.name,
                        id=config.id,
                        image=config.image,
                        started_at=seen.started_at,
                    )
                )
        return [
            RunningPod(
                namespace=sandbox.config.namespace,
                name=sandbox.config.name,
                uid=sandbox.config.uid,
                started_at=sandbox.created_at,
                link=_link(sandbox.config),
                containers=sorted(inside.get(sandbox.config.id, ()), key=lambda item: item.name),
            )
            for sandbox in self._runtime.sandboxes.values()
            if sandbox.state == State.RUNNING
        ]


def _link(config: SandboxConfig) -> str:
    """The node's end of a pod's link, "" with the node's own network."""
    if config.host_network:
        return ""
    key = Key(config.namespace, config.name)
    return PodNetwork(key=key, uid=config.uid, netns=config.netns).link
