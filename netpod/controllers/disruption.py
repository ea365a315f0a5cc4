"""Disruption controller: keeps the status of PodDisruptionBudgets, which evictions are judged by.

Source: kubernetes pkg/controller/disruption/disruption.go.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from netpod.api import meta, selectors
from netpod.api.apps import Deployment, ReplicaSet
from netpod.api.meta import Key, Object
from netpod.api.pod import Pod
from netpod.api.policy import PodDisruptionBudget
from netpod.api.workloads import ReplicationController, StatefulSet
from netpod.controllers import budgets, controller, pods
from netpod.controllers.controller import Context, Controller
from netpod.controllers.view import View
from netpod.errors import NotFound

log = logging.getLogger(__name__)


class DisruptionController:
    """Counts, for every budget, the pods it has and should have."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("controllermanager")
        self._budgets = context.view(PodDisruptionBudget)
        self._pods = context.view(Pod)
        self._budgets.index("namespace", controller.by_namespace)
        self._pods.index("namespace", controller.by_namespace)
        self._owners: dict[str, View[Any]] = {
            "Deployment": context.view(Deployment),
            "ReplicaSet": context.view(ReplicaSet),
            "ReplicationController": context.view(ReplicationController),
            "StatefulSet": context.view(StatefulSet),
        }
        self._loop: Controller[Key] = context.loop(
            "disruption",
            self.reconcile,
            after=[self._budgets, self._pods, *self._owners.values()],
        )
        self._budgets.subscribe(self._budget_changed)
        self._pods.subscribe(self._pod_changed)
        for view in self._owners.values():
            view.subscribe(self._owner_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _budget_changed(
        self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None
    ) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if not self._budgets.count("namespace", shown.metadata.namespace):
            return
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        for budget in self._budgets.by("namespace", shown.metadata.namespace):
            if any(_query(budget).matches(p.metadata.labels) for p in (old, new) if p is not None):
                self._loop.enqueue(meta.key_of(budget))

    def _owner_changed(self, old: Any, new: Any) -> None:
        """Another number of replicas may change every budget of the namespace."""
        if old is not None and new is not None and old.spec.replicas == new.spec.replicas:
            return
        shown = new or old
        for budget in self._budgets.by("namespace", shown.metadata.namespace):
            if budgets.needs_scale(budget):
                self._loop.enqueue(meta.key_of(budget))

    async def reconcile(self, key: Key) -> None:
        """Bring one budget's status up to date."""
        budget = self._budgets.get(key)
        if budget is None:
            return
        query = _query(budget)
        there = [
            p for p in self._pods.by("namespace", key.namespace) if query.matches(p.metadata.labels)
        ]
        now = self._context.clock()
        waited, wait = budgets.disrupted(budget, there, now)
        if wait is not None:
            self._loop.enqueue_after(key, wait)
        expected, why = self._expected(budget, there)
        if why:
            self._context.recorder.event(
                budget,
                "Warning",
                "CalculateExpectedPodCountFailed",
                f"Failed to calculate the number of expected pods: {why}",
            )
            status = budgets.failed(budget, why, now)
        else:
            with controller.reading(budget):
                status = budgets.status(budget, there, expected, waited, now)
        if not there:
            self._context.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        if status == budget.status:
            return
        try:
            self._budgets.wrote(
                await self._context.client.update(
                    dataclasses.replace(budget, status=status), subresource="status"
                )
            )
        except NotFound:
            log.debug("poddisruptionbudget %s went away meanwhile", key)

    def _expected(self, budget: PodDisruptionBudget, there: Sequence[Pod]) -> tuple[int, str]:
        """Return how many pods there should be, or why nobody knows. Pods without an owner do not count."""
        if not budgets.needs_scale(budget):
            return len(there), ""
        scales: dict[str, int] = {}
        for pod in there:
            reference = meta.controller_of(pod)
            if reference is None:
                continue
            owner: Any = self._find(pod, reference.kind, reference.name)
            if owner is None and reference.kind not in self._owners:
                return 0, f"{reference.kind.lower()}s does not implement the scale subresource"
            if owner is None:
                continue
            above = meta.controller_of(owner)
            if above is not None and above.kind == "Deployment":
                owner = self._find(pod, above.kind, above.name) or owner
            wanted = owner.spec.replicas
            scales[owner.metadata.uid] = 1 if wanted is None else wanted
        return sum(scales.values()), ""

    def _find(self, pod: Pod, kind: str, name: str) -> Object | None:
        view = self._owners.get(kind)
        found: Object | None = view.get(Key(pod.metadata.namespace, name)) if view else None
        return found


def _query(budget: PodDisruptionBudget) -> selectors.LabelQuery:
    """An empty selector selects every pod of the namespace, none at all no pod."""
    if budget.spec.selector is None:
        return selectors.NOTHING
    return selectors.from_label_selector(budget.spec.selector)


def _facts(pod: Pod) -> tuple[object, ...]:
    about = pod.metadata
    return about.uid, about.labels, bool(about.deletion_timestamp), pods.is_ready(pod)
