"""Pod garbage collector: pods of vanished nodes, pods nobody will run, and too many finished ones.

Source: kubernetes pkg/controller/podgc/gc_controller.go.
"""

import asyncio
import dataclasses
import logging

from netpod.api import meta
from netpod.api.meta import Condition, Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.controllers import controller, membership, pods
from netpod.controllers.controller import Context
from netpod.errors import Conflict, NetpodError, NotFound

log = logging.getLogger(__name__)

PERIOD = 20.0
"""Seconds between two looks."""

TERMINATED_THRESHOLD = 12500
"""Finished pods that may stay. Source: --terminated-pod-gc-threshold."""


class PodGarbageCollector:
    """Sweeps up pods that no kubelet and no controller will ever finish.

    Args:
        context: Of the process.
        quarantine: Seconds a Node object must have been missing before its pods are given up.
    """

    def __init__(self, context: Context, quarantine: float = 40.0) -> None:
        self._context = context
        self._quarantine = quarantine
        self._nodes = context.view(Node)
        self._pods = context.view(Pod)
        self._pods.index("node", membership.by_node)
        self._missing: dict[str, float] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._nodes.wait_synced()
        await self._pods.wait_synced()
        while True:
            try:
                await self.sync()
            except NetpodError as error:
                log.warning("podgc: %s; retrying", error)
            await asyncio.sleep(min(PERIOD, max(0.05, self._quarantine / 2)))

    async def sync(self) -> None:
        """Look at all pods once."""
        moment = asyncio.get_running_loop().time()
        bound = {pod.spec.node_name for pod in self._pods.values() if pod.spec.node_name}
        absent = {name for name in bound if self._nodes.get(Key("", name)) is None}
        self._missing = {name: self._missing.get(name, moment) for name in absent}
        for name, since in self._missing.items():
            if moment - since >= self._quarantine and await self._is_gone(name):
                await controller.all_of(
                    self._give_up(pod, "Pod node is gone") for pod in self._pods.by("node", name)
                )
        await controller.all_of(
            self._delete(pod)
            for pod in self._pods.values()
            if pods.is_terminating(pod) and not pod.spec.node_name
        )
        finished = sorted(
            (pod for pod in self._pods.values() if pods.is_finished(pod)),
            key=lambda pod: pod.metadata.creation_timestamp,
        )
        surplus = finished[: max(0, len(finished) - TERMINATED_THRESHOLD)]
        await controller.all_of(self._delete(pod) for pod in surplus)

    async def _is_gone(self, node: str) -> bool:
        """Ask the API server itself, for the cache may be behind."""
        try:
            await self._context.client.get(Node, node)
        except NotFound:
            return True
        return False

    async def _give_up(self, pod: Pod, message: str) -> None:
        """Mark a pod Failed, so that its last word is true, and delete it without grace."""
        if not pods.is_finished(pod):
            reason = Condition(
                type="DisruptionTarget",
                status="True",
                reason="DeletionByPodGC",
                message=f"PodGC: {message}",
                last_transition_time=meta.timestamp(self._context.clock()),
            )
            status = dataclasses.replace(
                pod.status,
                phase="Failed",
                conditions=pods.set_condition(pod.status.conditions, reason),
            )
            try:
                await self._context.client.update(
                    dataclasses.replace(pod, status=status), subresource="status"
                )
            except NotFound:
                return
        await self._delete(pod)

    async def _delete(self, pod: Pod) -> None:
        about = pod.metadata
        try:
            await self._context.client.delete(
                Pod, about.name, about.namespace, grace_period_seconds=0, uid=about.uid
            )
        except (NotFound, Conflict):
            log.debug("pod %s is gone already", about.name)
