"""StatefulSet controller: numbered pods with names that stay, made, ended and updated in order.

Two pods of one ordinal cannot be: the ordinal is in the name, and a name comes free only when its pod is gone.

Source: kubernetes pkg/controller/statefulset/stateful_set.go, stateful_set_control.go, stateful_pod_control.go.
"""

import dataclasses
import logging
from collections.abc import Iterable

from netpod.api import meta, selectors
from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.api.workloads import StatefulSet
from netpod.controllers import adoption, controller, history, ordinals, podcontrol, pods, replicas
from netpod.controllers.controller import Context, Controller
from netpod.controllers.history import History, Revisions
from netpod.controllers.ordinals import Judge, Step
from netpod.controllers.setclaims import SetClaims
from netpod.errors import AlreadyExists, Conflict, NetpodError, NotFound

log = logging.getLogger(__name__)


class StatefulSetController:
    """Keeps every StatefulSet's pods."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("statefulset-controller")
        self._sets = context.view(StatefulSet)
        self._pods = context.view(Pod)
        self._sets.index("namespace", controller.by_namespace)
        self._pods.index("owner", controller.by_owner)
        self._claims = SetClaims(self._context)
        self._pods.index("orphans", controller.orphans_by_namespace)
        self._history = History(self._context)
        self._leaving: set[str] = set()
        self._loop: Controller[Key] = context.loop(
            "statefulset",
            self.reconcile,
            after=[self._sets, self._pods, self._history.view, self._claims.view],
            again=controller.REFUSED_RETRY,
        )
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _set_changed(self, old: StatefulSet | None, new: StatefulSet | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.deletion_timestamp):
            self._leaving.discard(old.metadata.uid)
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "StatefulSet":
                self._loop.enqueue(Key(pod.metadata.namespace, owner.name))
        if new is not None and not controller.owner_uid(new):
            for owner_set in self._sets.by("namespace", new.metadata.namespace):
                query = selectors.from_label_selector(owner_set.spec.selector)
                if query.matches(new.metadata.labels):
                    self._loop.enqueue(meta.key_of(owner_set))

    async def reconcile(self, key: Key) -> None:
        """Make one StatefulSet's next step, then write what there is."""
        owner = self._sets.get(key)
        if owner is None or owner.spec.selector is None:
            return
        query = selectors.from_label_selector(owner.spec.selector)
        orphans = (
            pod
            for pod in self._pods.by("orphans", key.namespace)
            if ordinals.ordinal_of(owner, pod) is not None
        )
        around = [*self._pods.by("owner", owner.metadata.uid), *orphans]
        await adoption.claim(self._context.client, self._pods, owner, query, around)
        try:
            found = await self._history.sync(
                owner,
                owner.spec.template,
                query,
                owner.spec.selector.match_labels,
                owner.status.collision_count,
            )
            try:
                if not owner.metadata.deletion_timestamp:
                    await self._advance(owner, found)
            finally:
                await self._write_status(owner, found)
        except NotFound:
            log.debug("statefulset %s: something went away meanwhile", key)

    def _judge(self, owner: StatefulSet) -> Judge:
        return Judge(
            min_ready_seconds=owner.spec.min_ready_seconds,
            now=self._context.clock(),
            is_leaving=lambda p: pods.is_terminating(p) or p.metadata.uid in self._leaving,
        )

    def _owned(self, owner: StatefulSet) -> dict[int, Pod]:
        found = {}
        for pod in self._pods.by("owner", owner.metadata.uid):
            number = ordinals.ordinal_of(owner, pod)
            if number is not None:
                found[number] = pod
        return found

    async def _advance(self, owner: StatefulSet, found: Revisions) -> None:
        there = self._owned(owner)
        await self._claims.follow_policy(owner, there)
        step = ordinals.step(owner, there, found.update.metadata.name, self._judge(owner))
        await self._carry_out(owner, found, step)
        live = {ordinals.revision_of(pod) for pod in self._owned(owner).values()}
        live |= {owner.status.current_revision, found.update.metadata.name}
        await self._history.truncate(found, live, owner.spec.revision_history_limit)

    async def _carry_out(self, owner: StatefulSet, found: Revisions, step: Step) -> None:
        for pod in step.mend:
            await self._mend(owner, pod)
        for pod in step.delete:
            if pods.is_finished(pod):
                self._context.recorder.event(
                    owner,
                    "Warning",
                    "RecreatingFailedPod"
                    if pod.status.phase == "Failed"
                    else "RecreatingTerminatedPod",
                    f"StatefulSet {meta.key_of(owner)} is recreating {pod.status.phase.lower()} "
                    f"Pod {pod.metadata.name}",
                )
        await controller.all_of(self._delete(owner, pod) for pod in step.delete)
        await controller.all_of(
            self._create(owner, found, number) for number in step.create[: replicas.BURST]
        )

    async def _create(self, owner: StatefulSet, found: Revisions, number: int) -> None:
        revision, template = found.update, owner.spec.template
        if not ordinals.is_updated_now(owner, number):
            name = owner.status.current_revision
            known = next((r for r in found.all if r.metadata.name == name), None)
            if known is not None:
                with controller.reading(known):
                    revision, template = known, history.template_of(known)
        wanted = ordinals.new_pod(owner, template, revision.metadata.name, number)
        await self._claims.ensure(owner, wanted, number)
        try:
            self._pods.wrote(await self._context.client.create(wanted))
        except AlreadyExists as error:
            if self._pods.get(meta.key_of(wanted)) is not None:
                # Somebody else's pod has the name: wait until it is gone.
                self._say(owner, "create", wanted, error)
                self._loop.enqueue_after(meta.key_of(owner), 1.0)
                return
            raise Conflict(str(error)) from error
        except NotFound:
            raise
        except NetpodError as error:
            if podcontrol.namespace_ends(error):
                raise NotFound(str(error)) from error
            self._say(owner, "create", wanted, error)
            raise
        self._say(owner, "create", wanted, None)

    async def _delete(self, owner: StatefulSet, pod: Pod) -> None:
        about = pod.metadata
        self._leaving.add(about.uid)
        try:
            await self._context.client.delete(Pod, about.name, about.namespace, uid=about.uid)
        except (NotFound, Conflict):
            self._pods.removed(pod)
            self._leaving.discard(about.uid)
            self._loop.enqueue(meta.key_of(owner))
        except NetpodError as error:
            self._leaving.discard(about.uid)
            self._say(owner, "delete", pod, error)
            raise
        else:
            self._say(owner, "delete", pod, None)

    async def _mend(self, owner: StatefulSet, pod: Pod) -> None:
        """Put the labels of identity back on a pod."""
        number = ordinals.ordinal_of(owner, pod)
        assert number is not None, "only pods with an ordinal are mended"
        patch = {"metadata": {"labels": ordinals.identity(owner, number)}}
        about = pod.metadata
        self._pods.wrote(await self._context.client.patch(Pod, about.name, about.namespace, patch))

    def _say(self, owner: StatefulSet, verb: str, pod: Pod, error: NetpodError | None) -> None:
        text = f"{verb} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
        if error is None:
            reason = f"Successful{verb.capitalize()}"
            self._context.recorder.event(owner, "Normal", reason, f"{text} successful")
        else:
            reason = f"Failed{verb.capitalize()}"
            self._context.recorder.event(owner, "Warning", reason, f"{text} failed error: {error}")

    async def _write_status(self, seen: StatefulSet, found: Revisions) -> None:
        key = meta.key_of(seen)
        current = self._sets.get(key)
        if current is None or current.metadata.uid != seen.metadata.uid:
            return
        judge = self._judge(seen)
        owned = list(self._owned(seen).values())
        name = current.status.current_revision
        if not any(r.metadata.name == name for r in found.all):
            name = found.update.metadata.name
        status = dataclasses.replace(
            ordinals.status(seen, owned, name, found.update.metadata.name, judge),
            collision_count=found.collision_count,
        )
        self._wait_for_availability(key, owned, judge)
        if status != current.status:
            self._sets.wrote(
                await self._context.client.update(
                    dataclasses.replace(current, status=status), subresource="status"
                )
            )

    def _wait_for_availability(self, key: Key, owned: Iterable[Pod], judge: Judge) -> None:
        wait = replicas.next_available(owned, judge.min_ready_seconds, judge.now)
        if wait is not None:
            self._loop.enqueue_after(key, wait)
