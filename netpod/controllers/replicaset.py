"""ReplicaSet controller: so many pods of one template, no more and no fewer. It runs ReplicationControllers as well.

Creations are in the view as soon as the API server has answered, deletions in `_leaving`, so a pass over a stale
cache neither creates nor deletes twice.

Source: kubernetes pkg/controller/replicaset/replica_set.go.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from netpod.api import meta, selectors
from netpod.api.apps import ReplicaSet
from netpod.api.meta import Key, LabelSelector, ObjectMeta
from netpod.api.pod import Pod, PodTemplateSpec
from netpod.api.workloads import ReplicationController
from netpod.controllers import adoption, controller, pods, replicas
from netpod.controllers.controller import Context, Controller
from netpod.controllers.view import View
from netpod.errors import Conflict, NetpodError, NotFound

S = TypeVar("S", ReplicaSet, ReplicationController)
log = logging.getLogger(__name__)

STATUS_INTERVAL = 0.1
"""Seconds between two status writes of one ReplicaSet while its pods are still on their way."""


class ReplicaSetController(Generic[S]):
    """Keeps every object of one kind at its number of pods.

    Args:
        context: Of the process.
        cls: ReplicaSet or ReplicationController; they differ in how they select.
    """

    def __init__(self, context: Context, cls: type[S]) -> None:
        name = cls.__name__.lower()
        component = (
            "replication-controller" if name.startswith("replication") else f"{name}-controller"
        )
        self._kind = cls.__name__
        self._context = context.named(component)
        self._sets: View[S] = context.view(cls)
        self._pods = context.view(Pod)
        self._sets.index("owner", controller.by_owner)
        self._sets.index("namespace", controller.by_namespace)
        self._pods.index("owner", controller.by_owner)
        self._pods.index("orphans", controller.orphans_by_namespace)
        self._leaving: set[str] = set()
        self._status_due: dict[str, float] = {}
        self._loop: Controller[Key] = context.loop(
            name, self.reconcile, after=[self._sets, self._pods]
        )
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _set_changed(self, old: S | None, new: S | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if new is None:
            self._status_due.pop(shown.metadata.uid, None)
        self._loop.enqueue(meta.key_of(shown))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.deletion_timestamp):
            self._leaving.discard(old.metadata.uid)
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner.kind == self._kind:
                self._loop.enqueue(Key(pod.metadata.namespace, owner.name))
        if new is not None and not controller.owner_uid(new) and pods.is_active(new):
            for replica_set in self._sets.by("namespace", new.metadata.namespace):
                if _query(replica_set).matches(new.metadata.labels):
                    self._loop.enqueue(meta.key_of(replica_set))

    async def reconcile(self, key: Key) -> None:
        """Bring one ReplicaSet's pods to their number, then write what there is."""
        replica_set = self._sets.get(key)
        if replica_set is None or not replica_set.spec.selector:
            return
        around = self._pods.by("owner", replica_set.metadata.uid)
        around += [pod for pod in self._pods.by("orphans", key.namespace) if pods.is_active(pod)]
        owned = await adoption.claim(
            self._context.client, self._pods, replica_set, _query(replica_set), around
        )
        error: NetpodError | None = None
        if not replica_set.metadata.deletion_timestamp:
            error = await self._manage(replica_set, self._active(owned))
            owned = self._pods.by("owner", replica_set.metadata.uid)
        try:
            await self._write_status(key, replica_set, self._active(owned), error)
        except NotFound:
            self._status_due.pop(replica_set.metadata.uid, None)
        if error is None:
            return
        if error.retryable:
            raise error
        if not isinstance(error, NotFound):
            self._loop.enqueue_after(key, controller.REFUSED_RETRY)

    def _active(self, owned: Sequence[Pod]) -> list[Pod]:
        """Return the owned pods that count."""
        return [p for p in owned if pods.is_active(p) and p.metadata.uid not in self._leaving]

    async def _manage(self, replica_set: S, active: Sequence[Pod]) -> NetpodError | None:
        """Create or delete the difference; return the first failure."""
        wanted = replica_set.spec.replicas if replica_set.spec.replicas is not None else 1
        missing = wanted - len(active)
        if missing > 0:
            return await self._create(replica_set, min(missing, replicas.BURST))
        if missing < 0:
            order = replicas.deletion_order(
                active, self._related(replica_set), self._context.clock()
            )
            return await self._delete(replica_set, order[: min(-missing, replicas.BURST)])
        return None

    def _related(self, replica_set: S) -> list[Pod]:
        """Return the active pods of all ReplicaSets that share this one's owner."""
        owner = controller.owner_uid(replica_set)
        siblings = self._sets.by("owner", owner) if owner else [replica_set]
        return self._active(
            [pod for sibling in siblings for pod in self._pods.by("owner", sibling.metadata.uid)]
        )

    async def _create(self, replica_set: S, count: int) -> NetpodError | None:
        wanted = _new_pod(replica_set)
        failures: list[NetpodError] = []

        async def create_one() -> None:
            try:
                pod = self._pods.wrote(await self._context.client.create(wanted))
            except NetpodError as error:
                failures.append(error)
                if not isinstance(error, NotFound):
                    self._context.recorder.event(
                        replica_set, "Warning", "FailedCreate", f"Error creating: {error}"
                    )
            else:
                self._context.recorder.event(
                    replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}"
                )

        for size in replicas.batches(count):
            await controller.all_of(create_one() for _ in range(size))
            if failures:
                return failures[0]
        return None

    async def _delete(self, replica_set: S, doomed: Sequence[Pod]) -> NetpodError | None:
        failures: list[NetpodError] = []
        self._leaving.update(pod.metadata.uid for pod in doomed)

        async def delete_one(pod: Pod) -> None:
            uid = pod.metadata.uid
            try:
                await self._context.client.delete(
                    Pod, pod.metadata.name, pod.metadata.namespace, uid=uid
                )
            except (NotFound, Conflict):
                self._pods.removed(pod)
                self._leaving.discard(uid)
            except NetpodError as error:
                self._leaving.discard(uid)
                failures.append(error)
                self._context.recorder.event(
                    replica_set, "Warning", "FailedDelete", f"Error deleting: {error}"
                )
            else:
                self._context.recorder.event(
                    replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}"
                )

        await controller.all_of(delete_one(pod) for pod in doomed)
        return failures[0] if failures else None

    async def _write_status(
        self, key: Key, seen: S, active: Sequence[Pod], error: NetpodError | None
    ) -> None:
        """Write the counts if they changed; while pods are on their way, not more than ten times a second."""
        current = self._sets.get(key)
        if current is None or current.metadata.uid != seen.metadata.uid:
            return
        now = self._context.clock()
        seconds = current.spec.min_ready_seconds
        wait = replicas.next_available(active, seconds, now)
        if wait is not None:
            self._loop.enqueue_after(key, wait)
        failure = "" if error is None or error.retryable else str(error)
        status = replicas.status(seen, active, failure, now)
        if status == current.status:
            return
        uid, moment = current.metadata.uid, asyncio.get_running_loop().time()
        due = self._status_due.get(uid, 0.0)
        settled = status.available_replicas == status.replicas == current.spec.replicas
        if moment < due and not settled:
            self._loop.enqueue_after(key, due - moment)
            return
        self._status_due[uid] = moment + STATUS_INTERVAL
        self._sets.wrote(
            await self._context.client.update(
                dataclasses.replace(current, status=status), subresource="status"
            )
        )


def _query(replica_set: ReplicaSet | ReplicationController) -> selectors.LabelQuery:
    selector = replica_set.spec.selector
    if isinstance(selector, Mapping):
        selector = LabelSelector(match_labels=selector)
    return selectors.from_label_selector(selector)


def _new_pod(replica_set: ReplicaSet | ReplicationController) -> Pod:
    """Return the pod the template describes, owned by its ReplicaSet."""
    template = replica_set.spec.template or PodTemplateSpec()
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{replica_set.metadata.name}-",
            namespace=replica_set.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(controller.controller_reference(replica_set),),
        ),
        spec=template.spec,
    )
