"""Carries a preemption out: victims are told why, marked and deleted; weaker nominations are withdrawn.

Source: kubernetes pkg/scheduler/framework/preemption/preemption.go prepareCandidate.
"""

import asyncio
import logging
from collections.abc import Sequence

from netpod.api import codec, meta
from netpod.api.meta import Condition
from netpod.api.pod import Pod
from netpod.client.events import EventRecorder
from netpod.client.rest import Client
from netpod.errors import NetpodError
from netpod.scheduler.model import PodInfo
from netpod.scheduler.preemption import Candidate

log = logging.getLogger(__name__)


class Evictor:
    """Evicts for pods of higher priority.

    Args:
        client: Marks and deletes.
        recorder: For Preempted.
        slots: Writes under way at the same time.
        name: The scheduler's, in the victims' conditions.
    """

    def __init__(
        self, client: Client, recorder: EventRecorder, slots: asyncio.Semaphore, name: str
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._slots = slots
        self._name = name

    async def evict(self, pod: PodInfo, candidate: Candidate, lower: Sequence[PodInfo]) -> None:
        """Make room on a node; what fails is decided again with the pod's next attempt.

        Args:
            pod: For whom.
            candidate: The node, and who goes.
            lower: Pods of lower priority that were to have the node; they have to look again.
        """
        for victim in candidate.victims:
            if victim.pod.metadata.deletion_timestamp:
                continue
            try:
                async with self._slots:
                    await self._end(pod, victim, candidate.node)
            except NetpodError as error:
                log.info("cannot preempt pod %s: %s", victim.key, error)
        for other in lower:
            about = other.pod.metadata
            patch = {"metadata": {"uid": about.uid}, "status": {"nominatedNodeName": None}}
            try:
                async with self._slots:
                    await self._client.patch(
                        Pod, about.name, about.namespace, patch, subresource="status"
                    )
            except NetpodError as error:
                log.debug("nomination of pod %s: %s", other.key, error)

    async def _end(self, pod: PodInfo, victim: PodInfo, node: str) -> None:
        about = victim.pod.metadata
        message = f"{self._name}: preempting to accommodate a higher priority pod"
        mark = Condition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=message,
            last_transition_time=meta.timestamp(meta.now()),
        )
        known = await self._client.get(Pod, about.name, about.namespace)
        others = [c for c in known.status.conditions if c.type != mark.type]
        patch = {
            "metadata": {"uid": about.uid},
            "status": {"conditions": [codec.encode(item) for item in (*others, mark)]},
        }
        await self._client.patch(Pod, about.name, about.namespace, patch, subresource="status")
        await self._client.delete(Pod, about.name, about.namespace, uid=about.uid)
        told = f"Preempted by pod {pod.pod.metadata.uid} on node {node}"
        self._recorder.event(victim.pod, "Normal", "Preempted", told)
