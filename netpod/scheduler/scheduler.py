"""The loop: a pod without a node > filters > scores > bind.

Deciding is synchronous, one pod at a time, against a cache that already counts the decisions before it; bindings and
status writes run side by side, so a burst of pods is spread rightly without waiting for any echo.

Source: kubernetes pkg/scheduler/schedule_one.go, eventhandlers.go.
"""

import asyncio
import logging

from netpod.api import codec, meta
from netpod.api.core import Namespace
from netpod.api.meta import Condition, Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.policy import PodDisruptionBudget
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.errors import BadRequest, NetpodError, NotFound
from netpod.scheduler import filters, model, preemption, scores
from netpod.scheduler.cache import Cache
from netpod.scheduler.evictor import Evictor
from netpod.scheduler.filters import Outcome
from netpod.scheduler.metrics import ERROR, SCHEDULED, UNSCHEDULABLE, Metrics
from netpod.scheduler.model import NodeInfo, PodInfo
from netpod.scheduler.queue import SchedulingQueue
from netpod.scheduler.watched import Watched, WatchedLikeness

log = logging.getLogger(__name__)

NAME = "default-scheduler"
BINDERS = 32
"""Bindings and status writes under way at the same time."""


class Scheduler:
    """Schedules the pods whose schedulerName is ours.

    Args:
        client: For bindings and conditions.
        informers: For pods, nodes and namespaces.
        recorder: For Scheduled and FailedScheduling.
        counted: What there is to tell of it.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorder: EventRecorder,
        counted: Metrics | None = None,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = informers.of(Pod)
        self._nodes = informers.of(Node)
        self._namespaces = informers.of(Namespace)
        self._budgets = informers.of(PodDisruptionBudget)
        self._cache = Cache()
        self._clock = asyncio.get_running_loop().time
        self._counted = counted or Metrics(NAME)
        self._queue = SchedulingQueue(self._clock, self._counted)
        self._counted.pending, self._counted.cached = self._queue.pending, self._cache.sizes
        self._slots = asyncio.Semaphore(BINDERS)
        self._namespaces.subscribe(self._namespace_changed)
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        self._evictor = Evictor(client, recorder, self._slots, NAME)
        self._storage = Watched(informers, self._cache.volumes, self._queue.move)
        self._likeness = WatchedLikeness(informers, self._cache.likeness)

    async def run(self) -> None:
        """Schedule until cancelled."""
        for informer in (self._namespaces, self._nodes, self._pods, self._budgets):
            await informer.wait_synced()
        await self._storage.wait_synced()
        await self._likeness.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._move_leftovers(), name="scheduler leftovers")
            while True:
                key = await self._queue.pop()
                self._schedule(key, tasks)
                # Let watches and bindings have their turn between two decisions.
                await asyncio.sleep(0)

    async def _move_leftovers(self) -> None:
        while True:
            await asyncio.sleep(30.0)
            self._queue.move_leftovers()

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self._cache.namespaces[new.metadata.name] = new.metadata.labels
        elif old is not None:
            self._cache.namespaces.pop(old.metadata.name, None)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._cache.set_node(shown.metadata.name, new)
        if new is not None and (old is None or _offer(old) != _offer(new)):
            self._queue.move()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        key = meta.key_of(shown)
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._cache.remove_pod(key)
            self._cache.nominated.pop(key, None)
            self._queue.forget(key)
            self._counted.forget(key)
            if shown.spec.node_name:
                self._queue.move()
        elif new.spec.node_name:
            self._queue.forget(key)
            if old is not None and old.spec.node_name and _demand(old) == _demand(new):
                return
            try:
                info = model.pod_info(new)
            except BadRequest:
                info = model.bare(new)
            self._cache.set_pod(info, new.spec.node_name)
            self._queue.move()
        elif self._is_ours(new) and not self._cache.is_assumed(key, new.metadata.uid):
            self._nominate(new)
            if old is None or old.metadata.uid != new.metadata.uid or _demand(old) != _demand(new):
                self._queue.add(key, new.spec.priority or 0)
        elif new.metadata.deletion_timestamp:
            self._cache.nominated.pop(key, None)
            self._queue.forget(key)

    def _nominate(self, pod: Pod) -> None:
        """Count a pod as coming to the node its status names, or no more."""
        key, node = meta.key_of(pod), pod.status.nominated_node_name
        known = self._cache.nominated.pop(key, None)
        if node:
            try:
                self._cache.nominated[key] = (model.pod_info(pod), node)
            except BadRequest:
                return
        elif known is not None:
            self._queue.move()

    def _is_ours(self, pod: Pod) -> bool:
        name = pod.spec.scheduler_name or NAME
        held = pod.metadata.deletion_timestamp or pod.spec.scheduling_gates
        return name == NAME and not held

    def _schedule(self, key: Key, tasks: asyncio.TaskGroup) -> None:
        """Decide about one pod; what has to be written is left to a task."""
        pod = self._pods.get(key.namespace, key.name)
        if pod is None or pod.spec.node_name or not self._is_ours(pod):
            self._counted.forget(key)
            return
        began = self._clock()
        try:
            info = model.pod_info(pod)
        except BadRequest as error:
            self._refuse(pod, str(error), tasks)
            self._counted.ended(ERROR, self._clock() - began)
            return
        nodes = self._cache.candidates()
        outcome = filters.feasible(info, nodes, self._cache)
        if not outcome.fits:
            self._counted.decided(self._clock() - began)
            self._make_room(info, nodes, outcome, tasks)
            self._counted.ended(UNSCHEDULABLE, self._clock() - began)
            return
        wanted = next((n for n in outcome.fits if n.name == pod.status.nominated_node_name), None)
        chosen = wanted or scores.best(info, outcome.fits, outcome.state)
        self._counted.decided(self._clock() - began)
        self._cache.assume(info, chosen.name)
        tasks.create_task(
            self._bind(info, chosen.name, outcome.state.volumes.unbound, began), name=f"bind {key}"
        )

    def _make_room(
        self, info: PodInfo, nodes: list[NodeInfo], outcome: Outcome, tasks: asyncio.TaskGroup
    ) -> None:
        """Evict pods of lower priority if that helps; the pod waits in either case."""
        message = outcome.message()
        node = info.pod.status.nominated_node_name
        if nodes:
            why = preemption.objection(info, self._cache)
            if not why:
                candidate, why = preemption.find(
                    info, nodes, outcome, self._cache, self._budgets.values()
                )
                node = candidate.node if candidate is not None else ""
                self._counted.preempted(len(candidate.victims) if candidate is not None else 0)
                if candidate is not None:
                    self._cache.nominated[info.key] = (info, node)
                    lower = [
                        other
                        for other, home in self._cache.nominated.values()
                        if home == node and other.priority < info.priority
                    ]
                    tasks.create_task(
                        self._evictor.evict(info, candidate, lower), name=f"evict for {info.key}"
                    )
            if why:
                message = f"{message} preemption: {why}"
        self._refuse(info.pod, message, tasks, node)

    def _refuse(self, pod: Pod, message: str, tasks: asyncio.TaskGroup, node: str = "") -> None:
        """Keep a pod until something changes, and say why and which node is being cleared for it."""
        key = meta.key_of(pod)
        self._queue.park(key, pod.spec.priority or 0)
        self._recorder.event(pod, "Warning", "FailedScheduling", message)
        tasks.create_task(self._say_unschedulable(pod, message, node), name=f"condition of {key}")

    async def _bind(self, info: PodInfo, node: str, unbound: tuple[Key, ...], began: float) -> None:
        """Write a decision; when that fails, take it back and try the pod again."""
        key, pod = info.key, info.pod
        try:
            async with self._slots:
                for claim in unbound:
                    await self._storage.select(self._client, claim, node)
                await self._client.bind(key, pod.metadata.uid, node)
        except NotFound:
            self._cache.forget(key)
            self._queue.move()
        except NetpodError as error:
            log.debug("bind %s to %s: %s", key, node, error)
            self._cache.forget(key)
            self._queue.retry(key, pod.spec.priority or 0)
            self._counted.ended(ERROR, self._clock() - began)
        else:
            now = self._clock()
            self._counted.ended(SCHEDULED, now - began)
            self._counted.bound(key, now)
            self._recorder.event(
                pod, "Normal", "Scheduled", f"Successfully assigned {key} to {node}"
            )

    async def _say_unschedulable(self, pod: Pod, message: str, node: str) -> None:
        """Write condition PodScheduled=False and the nominated node, unless the pod says so already."""
        known = meta.condition(pod.status.conditions, "PodScheduled")
        told = known is not None and (known.status, known.message) == ("False", message)
        if told and pod.status.nominated_node_name == node:
            return
        stamp = meta.timestamp(meta.now())
        same = known is not None and known.status == "False"
        new = Condition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message=message,
            last_transition_time=known.last_transition_time if known and same else stamp,
        )
        others = tuple(c for c in pod.status.conditions if c.type != "PodScheduled")
        change = {
            "conditions": [codec.encode(condition) for condition in (*others, new)],
            "nominatedNodeName": node or None,
        }
        about = pod.metadata
        patch = {"metadata": {"uid": about.uid}, "status": change}
        try:
            async with self._slots:
                await self._client.patch(
                    Pod, about.name, about.namespace, patch, subresource="status"
                )
        except NetpodError as error:
            # Told again with the next attempt.
            log.debug("condition of pod %s: %s", meta.key_of(pod), error)


def _offer(node: Node) -> tuple[object, ...]:
    """Return what of a node decides whether a pod may run there."""
    return (
        node.status.allocatable,
        node.metadata.labels,
        node.spec.unschedulable,
        model.effective_taints(node),
    )


def _demand(pod: Pod) -> tuple[object, ...]:
    """Return what of a pod matters to scheduling."""
    return (
        pod.metadata.uid,
        pod.metadata.labels,
        bool(pod.metadata.deletion_timestamp),
        pod.spec,
    )


async def run(
    client: Client, informers: Informers | None = None, counted: Metrics | None = None
) -> None:
    """Schedule pods until cancelled.

    Args:
        client: As the scheduler's user.
        informers: Somebody else's, who also runs them; None to have our own.
        counted: What the scheduler counts, for somebody who asks.
    """
    async with asyncio.TaskGroup() as tasks:
        shared = informers if informers is not None else Informers(client)
        recorder = EventRecorder(client, NAME)
        tasks.create_task(Scheduler(client, shared, recorder, counted).run(), name="scheduler")
        tasks.create_task(recorder.run(), name="scheduler's events")
        if informers is None:
            tasks.create_task(shared.run(), name="scheduler's informers")
