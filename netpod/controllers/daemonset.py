"""DaemonSet controller: one pod on every node that fits, replaced node by node when the template changes.

Pods name their node in a required node affinity, and the scheduler binds them like all others.

Source: kubernetes pkg/controller/daemon/daemon_controller.go.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence

from netpod.api import meta, selectors
from netpod.api.meta import Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.workloads import DaemonSet, DaemonSetStatus
from netpod.controllers import (
    adoption,
    controller,
    daemons,
    history,
    podcontrol,
    pods,
    replicas,
)
from netpod.controllers.controller import Context, Controller
from netpod.controllers.daemons import Fit, Step
from netpod.controllers.history import History, Revisions
from netpod.controllers.podcontrol import PodControl
from netpod.errors import NotFound

log = logging.getLogger(__name__)

FAILED_FIRST, FAILED_MAX = 1.0, 900.0
"""Seconds between two deletions of failed pods on one node, doubling. Source: daemon/util NewDaemonSetsController."""


class DaemonSetController:
    """Keeps every DaemonSet's pods on its nodes."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("daemonset-controller")
        self._sets = context.view(DaemonSet)
        self._nodes = context.view(Node)
        self._pods = context.view(Pod)
        self._sets.index("namespace", controller.by_namespace)
        self._pods.index("owner", controller.by_owner)
        self._pods.index("orphans", controller.orphans_by_namespace)
        self._history = History(self._context)
        self._control = PodControl(self._context)
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}
        self._loop: Controller[Key] = context.loop(
            "daemonset",
            self.reconcile,
            after=[self._sets, self._nodes, self._pods, self._history.view],
            again=controller.REFUSED_RETRY,
        )
        self._sets.subscribe(self._set_changed)
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _set_changed(self, old: DaemonSet | None, new: DaemonSet | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if new is None:
            uid = shown.metadata.uid
            self._failures = {k: v for k, v in self._failures.items() if k[0] != uid}
        self._loop.enqueue(meta.key_of(shown))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """What a heartbeat changes is nothing to us."""
        if old is not None and new is not None and _choice(old) == _choice(new):
            return
        for daemon_set in self._sets.values():
            self._loop.enqueue(meta.key_of(daemon_set))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "DaemonSet":
                self._loop.enqueue(Key(pod.metadata.namespace, owner.name))
        if new is not None and not controller.owner_uid(new) and pods.is_active(new):
            for daemon_set in self._sets.by("namespace", new.metadata.namespace):
                query = selectors.from_label_selector(daemon_set.spec.selector)
                if query.matches(new.metadata.labels):
                    self._loop.enqueue(meta.key_of(daemon_set))

    async def reconcile(self, key: Key) -> None:
        """Bring one DaemonSet's pods to its nodes, then write what there is."""
        daemon_set = self._sets.get(key)
        if daemon_set is None:
            return
        selector = daemon_set.spec.selector
        if selector is None or not (selector.match_labels or selector.match_expressions):
            self._context.recorder.event(
                daemon_set,
                "Warning",
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            )
            return
        if daemon_set.metadata.deletion_timestamp:
            return
        try:
            await self._advance(daemon_set, selectors.from_label_selector(selector))
        except NotFound:
            log.debug("daemonset %s: something went away meanwhile", key)

    async def _advance(self, daemon_set: DaemonSet, query: selectors.LabelQuery) -> None:
        found = await self._history.sync(
            daemon_set,
            daemon_set.spec.template,
            query,
            daemon_set.spec.template.metadata.labels,
            daemon_set.status.collision_count,
        )
        digest = history.hash_of(found.update)
        around = self._pods.by("owner", daemon_set.metadata.uid)
        around += [
            pod
            for pod in self._pods.by("orphans", daemon_set.metadata.namespace)
            if pods.is_active(pod)
        ]
        await adoption.claim(self._context.client, self._pods, daemon_set, query, around)
        now = self._context.clock()
        with controller.reading(daemon_set):
            fits = {
                node.metadata.name: daemons.fit(daemon_set, node)
                for node in self._nodes.values()
                if not node.metadata.deletion_timestamp
            }
            step = daemons.place(daemon_set, fits, self._by_node(daemon_set), digest, now)
        try:
            await self._carry_out(daemon_set, self._spared(daemon_set, step), digest)
            if daemon_set.spec.update_strategy.type == "RollingUpdate":
                wanted = sorted(name for name, judged in fits.items() if judged.run)
                by_node = self._by_node(daemon_set)
                with controller.reading(daemon_set):
                    step = daemons.roll(daemon_set, wanted, by_node, digest, now)
                await self._carry_out(daemon_set, step, digest)
            await self._history.truncate(
                found, self._live(daemon_set, found), daemon_set.spec.revision_history_limit
            )
        finally:
            await self._write_status(daemon_set, fits, found)

    def _by_node(self, daemon_set: DaemonSet) -> dict[str, list[Pod]]:
        out: dict[str, list[Pod]] = {}
        for pod in self._pods.by("owner", daemon_set.metadata.uid):
            if pods.is_terminating(pod) or not self._control.is_leaving(pod):
                out.setdefault(daemons.node_of(pod), []).append(pod)
            else:
                # Deleted by us, though the watch does not say so yet.
                about = dataclasses.replace(
                    pod.metadata, deletion_timestamp=meta.timestamp(self._context.clock())
                )
                leaving = dataclasses.replace(pod, metadata=about)
                out.setdefault(daemons.node_of(pod), []).append(leaving)
        return out

    def _spared(self, daemon_set: DaemonSet, step: Step) -> Step:
        """Leave failed pods that come too fast for a while."""
        moment = asyncio.get_running_loop().time()
        kept: set[str] = set()
        for pod in step.failed:
            at = (daemon_set.metadata.uid, daemons.node_of(pod))
            due, pause = self._failures.get(at, (0.0, FAILED_FIRST / 2))
            if moment < due:
                kept.add(pod.metadata.uid)
                self._loop.enqueue_after(meta.key_of(daemon_set), due - moment)
                continue
            fresh = moment > due + 2 * FAILED_MAX
            pause = FAILED_FIRST if fresh and due else min(pause * 2, FAILED_MAX)
            self._failures[at] = (moment + pause, pause)
            how = "failed" if pod.status.phase == "Failed" else "succeeded"
            self._context.recorder.event(
                daemon_set,
                "Warning" if how == "failed" else "Normal",
                f"{how.capitalize()}DaemonPod",
                f"Found {how} daemon pod {meta.key_of(pod)} on node {at[1]}, will try to kill it",
            )
        delete = tuple(pod for pod in step.delete if pod.metadata.uid not in kept)
        return dataclasses.replace(step, delete=delete)

    async def _carry_out(self, daemon_set: DaemonSet, step: Step, digest: str) -> None:
        await self._control.delete(daemon_set, step.delete)
        wanted = [self._new_pod(daemon_set, node, digest) for node in step.create]
        for size in replicas.batches(min(len(wanted), replicas.BURST)):
            await self._control.create(daemon_set, wanted[:size])
            wanted = wanted[size:]

    def _new_pod(self, daemon_set: DaemonSet, node: str, digest: str) -> Pod:
        labels = {history.HASH: digest}
        generation = daemon_set.metadata.annotations.get(daemons.GENERATION)
        labels["pod-template-generation"] = generation or str(daemon_set.metadata.generation or 1)
        return podcontrol.from_template(
            daemon_set,
            daemon_set.spec.template,
            generate_name=f"{daemon_set.metadata.name}-",
            labels=labels,
            spec=daemons.spec_for(daemon_set, node),
        )

    def _live(self, daemon_set: DaemonSet, found: Revisions) -> Sequence[str]:
        """Return the names of the revisions that pods are of."""
        hashes = {
            pod.metadata.labels.get(history.HASH, "")
            for pod in self._pods.by("owner", daemon_set.metadata.uid)
        }
        return [r.metadata.name for r in found.all if history.hash_of(r) in hashes]

    async def _write_status(self, seen: DaemonSet, fits: dict[str, Fit], found: Revisions) -> None:
        key = meta.key_of(seen)
        current = self._sets.get(key)
        if current is None or current.metadata.uid != seen.metadata.uid:
            return
        now = self._context.clock()
        by_node = self._by_node(seen)
        digest = history.hash_of(found.update)
        status: DaemonSetStatus = dataclasses.replace(
            daemons.status(seen, fits, by_node, digest, now),
            collision_count=found.collision_count,
        )
        owned = [pod for there in by_node.values() for pod in there]
        wait = replicas.next_available(owned, seen.spec.min_ready_seconds, now)
        if wait is not None:
            self._loop.enqueue_after(key, wait)
        if status != current.status:
            self._sets.wrote(
                await self._context.client.update(
                    dataclasses.replace(current, status=status), subresource="status"
                )
            )


def _choice(node: Node) -> tuple[object, ...]:
    """Return everything of a node that decides about daemon pods."""
    about = node.metadata
    leaving = bool(about.deletion_timestamp)
    return about.uid, about.labels, node.spec.taints, node.spec.unschedulable, leaving
