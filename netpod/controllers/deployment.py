"""Deployment controller: ReplicaSets by template, moved from old to new within maxSurge and maxUnavailable.

One pass makes at most one kind of step and writes the status; what it changed brings it back for the next.

Source: kubernetes pkg/controller/deployment/deployment_controller.go, sync.go, rolling.go, recreate.go.
"""

import dataclasses
import logging
from collections.abc import Sequence

from netpod.api import meta, selectors
from netpod.api.apps import Deployment, DeploymentStatus, ReplicaSet
from netpod.api.meta import Condition, Key
from netpod.api.pod import Pod
from netpod.controllers import adoption, controller, pods, progress, revisions, rollout
from netpod.controllers.controller import Context, Controller
from netpod.controllers.rollout import Scaling
from netpod.errors import AlreadyExists, NetpodError, NotFound

log = logging.getLogger(__name__)


class DeploymentController:
    """Keeps every Deployment's ReplicaSets as it wants them."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("deployment-controller")
        self._deployments = context.view(Deployment)
        self._sets = context.view(ReplicaSet)
        self._pods = context.view(Pod)
        self._deployments.index("namespace", controller.by_namespace)
        self._sets.index("owner", controller.by_owner)
        self._sets.index("orphans", controller.orphans_by_namespace)
        self._pods.index("owner", controller.by_owner)
        self._loop: Controller[Key] = context.loop(
            "deployment", self.reconcile, after=[self._deployments, self._sets, self._pods]
        )
        self._deployments.subscribe(self._deployment_changed)
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _deployment_changed(self, old: Deployment | None, new: Deployment | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        self._loop.enqueue(meta.key_of(shown))

    def _set_changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for replica_set in (old, new):
            owner = meta.controller_of(replica_set) if replica_set is not None else None
            if replica_set is not None and owner is not None and owner.kind == "Deployment":
                self._loop.enqueue(Key(replica_set.metadata.namespace, owner.name))
        if new is not None and not controller.owner_uid(new):
            for deployment in self._deployments.by("namespace", new.metadata.namespace):
                query = _query(deployment)
                if query is not None and query.matches(new.metadata.labels):
                    self._loop.enqueue(meta.key_of(deployment))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Recreate waits for the last old pod to be gone; nothing else here looks at pods."""
        if old is None or (new is not None and not pods.is_finished(new)):
            return
        owner = meta.controller_of(old)
        if owner is None or owner.kind != "ReplicaSet":
            return
        replica_set = self._sets.get(Key(old.metadata.namespace, owner.name))
        above = meta.controller_of(replica_set) if replica_set is not None else None
        if above is None or above.kind != "Deployment":
            return
        key = Key(old.metadata.namespace, above.name)
        deployment = self._deployments.get(key)
        if deployment is not None and deployment.spec.strategy.type == "Recreate":
            self._loop.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        """Make one Deployment's next step."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return
        query = _query(deployment)
        if query is None:
            self._context.recorder.event(
                deployment,
                "Warning",
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return
        around = self._sets.by("owner", deployment.metadata.uid)
        around += self._sets.by("orphans", key.namespace)
        sets = await adoption.claim(self._context.client, self._sets, deployment, query, around)
        try:
            await self._advance(deployment, sets)
        except NotFound:
            # Deleted under our hands; the watch will say what is left to do.
            log.debug("deployment %s: something went away meanwhile", key)

    async def _advance(self, deployment: Deployment, sets: Sequence[ReplicaSet]) -> None:
        new = revisions.find_new(deployment, sets)
        old = _without(sets, new)
        if deployment.metadata.deletion_timestamp:
            await self._write_status(
                deployment, progress.counts(deployment, new, sets, self._context.clock())
            )
            return
        pause = progress.pause_condition(deployment)
        if pause is not None:
            deployment = await self._write_conditions(deployment, pause)
        if deployment.spec.paused or rollout.is_scaling(deployment, sets):
            if new is not None:
                deployment, new = await self._refresh_new(deployment, new, old)
            current = await self._resize(deployment, sets, rollout.scale(deployment, new, old))
            if deployment.spec.paused:
                current = await self._clean_up(deployment, current, _without(current, new))
            await self._write_status(
                deployment,
                progress.counts(deployment, _again(current, new), current, self._context.clock()),
            )
            return
        if deployment.spec.strategy.type == "Recreate":
            await self._recreate(deployment, new, old)
        else:
            await self._roll(deployment, new, old)

    async def _roll(
        self, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
    ) -> None:
        deployment, new = await self._ensure_new(deployment, new, old)
        sets = [*old, new]
        sets = await self._resize(deployment, sets, rollout.step(deployment, new, old))
        await self._finish(deployment, new, sets)

    async def _recreate(
        self, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
    ) -> None:
        """Old pods go first; only when none is left does the new ReplicaSet get any."""
        down = [Scaling(replica_set=rs, size=0) for rs in old if rollout.replicas_of(rs) > 0]
        everything = [*old, *([new] if new is not None else [])]
        if down:
            sets = await self._resize(deployment, everything, down)
            await self._finish(deployment, new, sets)
        elif self._old_pods_left(old):
            await self._finish(deployment, new, everything)
        else:
            deployment, new = await self._ensure_new(deployment, new, old)
            up = [Scaling(replica_set=new, size=rollout.replicas_of(deployment))]
            sets = await self._resize(deployment, [*old, new], up)
            await self._finish(deployment, new, sets)

    def _old_pods_left(self, old: Sequence[ReplicaSet]) -> bool:
        return any(
            not pods.is_finished(pod)
            for rs in old
            for pod in self._pods.by("owner", rs.metadata.uid)
        )

    async def _ensure_new(
        self, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
    ) -> tuple[Deployment, ReplicaSet]:
        """Return the ReplicaSet of the present template, made if it is missing."""
        if new is not None:
            return await self._refresh_new(deployment, new, old)
        revision = max(map(rollout.revision_of, old), default=0) + 1
        everything = sum(map(rollout.replicas_of, old))
        size = rollout.size_of_new(deployment, None, everything)
        wanted = revisions.new_replica_set(deployment, size, revision)
        try:
            new = self._sets.wrote(await self._context.client.create(wanted))
        except AlreadyExists:
            new = await self._resolve_collision(deployment, wanted)
        except NetpodError as error:
            failed = progress.progressing(
                "False",
                "ReplicaSetCreateError",
                f'Failed to create new replica set "{wanted.metadata.name}": {error}',
            )
            await self._write_conditions(deployment, failed)
            raise
        else:
            self._say_scaled(deployment, new, 0, size)
        created = progress.progressing(
            "True", "NewReplicaSetCreated", f'Created new replica set "{new.metadata.name}"'
        )
        deployment = await self._write_conditions(deployment, created)
        return await self._write_revision(deployment, revision), new

    async def _resolve_collision(self, deployment: Deployment, wanted: ReplicaSet) -> ReplicaSet:
        """Take the ReplicaSet if it is ours after all, else count a collision for another hash."""
        there = await self._context.client.get(
            ReplicaSet, wanted.metadata.name, wanted.metadata.namespace
        )
        ours = controller.owner_uid(there) == deployment.metadata.uid
        if ours and revisions.same_template(there.spec.template, wanted.spec.template):
            return self._sets.wrote(there)
        status = dataclasses.replace(
            deployment.status, collision_count=(deployment.status.collision_count or 0) + 1
        )
        deployment = await self._write_status(deployment, status)
        again = revisions.new_replica_set(
            deployment, rollout.replicas_of(wanted), rollout.revision_of(wanted)
        )
        return self._sets.wrote(await self._context.client.create(again))

    async def _refresh_new(
        self, deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]
    ) -> tuple[Deployment, ReplicaSet]:
        """Bring annotations, minReadySeconds and revision of the new ReplicaSet up to date."""
        revision = max(map(rollout.revision_of, old), default=0) + 1
        annotations = revisions.new_annotations(deployment, new.metadata.annotations, revision)
        seconds = deployment.spec.min_ready_seconds
        if annotations != new.metadata.annotations or seconds != new.spec.min_ready_seconds:
            about = dataclasses.replace(new.metadata, annotations=annotations)
            spec = dataclasses.replace(new.spec, min_ready_seconds=seconds)
            new = self._sets.wrote(
                await self._context.client.update(
                    dataclasses.replace(new, metadata=about, spec=spec)
                )
            )
        known = meta.condition(deployment.status.conditions, "Progressing")
        if progress.has_deadline(deployment) and known is None:
            found = progress.progressing(
                "True", "FoundNewReplicaSet", f'Found new replica set "{new.metadata.name}"'
            )
            deployment = await self._write_conditions(deployment, found)
        return await self._write_revision(deployment, rollout.revision_of(new)), new

    async def _resize(
        self, deployment: Deployment, sets: Sequence[ReplicaSet], sizes: Sequence[Scaling]
    ) -> list[ReplicaSet]:
        """Carry out sizes; return all ReplicaSets as they are now."""
        current = {rs.metadata.uid: rs for rs in sets}
        marks = revisions.size_annotations(deployment)
        # All ReplicaSets with pods carry the number they were sized for, else it looks like a change.
        wanted = {rs.metadata.uid: rollout.replicas_of(rs) for rs in sets}
        wanted.update({s.replica_set.metadata.uid: s.size for s in sizes})
        for uid, size in wanted.items():
            rs = current[uid]
            before = rollout.replicas_of(rs)
            marked = all(rs.metadata.annotations.get(k) == v for k, v in marks.items())
            if size == before and (marked or size == 0):
                continue
            about = dataclasses.replace(
                rs.metadata, annotations={**rs.metadata.annotations, **marks}
            )
            resized = dataclasses.replace(
                rs, metadata=about, spec=dataclasses.replace(rs.spec, replicas=size)
            )
            current[uid] = self._sets.wrote(await self._context.client.update(resized))
            if size != before:
                self._say_scaled(deployment, rs, before, size)
        return list(current.values())

    def _say_scaled(self, about: Deployment, rs: ReplicaSet, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        self._context.recorder.event(
            about,
            "Normal",
            "ScalingReplicaSet",
            f"Scaled {way} replica set {rs.metadata.name} from {before} to {after}",
        )

    async def _finish(
        self, deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet]
    ) -> None:
        """Clean up once complete, write the status, and come back when the deadline is due."""
        new = _again(sets, new)
        if progress.is_complete(deployment, deployment.status):
            sets = await self._clean_up(deployment, sets, _without(sets, new))
        now = self._context.clock()
        status = progress.rollout_status(deployment, new, sets, now)
        deployment = await self._write_status(deployment, status)
        limit = progress.deadline(deployment, deployment.status.conditions)
        if limit is not None and not progress.is_complete(deployment, deployment.status):
            wait = max(0.0, (limit - now).total_seconds()) + 1.0
            self._loop.enqueue_after(meta.key_of(deployment), wait)

    async def _clean_up(
        self, deployment: Deployment, sets: Sequence[ReplicaSet], old: Sequence[ReplicaSet]
    ) -> list[ReplicaSet]:
        """Delete old ReplicaSets beyond revisionHistoryLimit; return what is left."""
        gone = set()
        for rs in revisions.surplus(deployment, old):
            about = rs.metadata
            try:
                await self._context.client.delete(
                    ReplicaSet, about.name, about.namespace, uid=about.uid
                )
            except NotFound:
                log.debug("replica set %s is gone already", about.name)
            gone.add(about.uid)
        return [rs for rs in sets if rs.metadata.uid not in gone]

    async def _write_conditions(self, deployment: Deployment, new: Condition) -> Deployment:
        if new.type == "Progressing" and not progress.has_deadline(deployment):
            return deployment
        conditions = progress.set_condition(
            deployment.status.conditions, new, self._context.clock()
        )
        status = dataclasses.replace(deployment.status, conditions=conditions)
        return await self._write_status(deployment, status)

    async def _write_status(self, deployment: Deployment, status: DeploymentStatus) -> Deployment:
        if status == deployment.status:
            return deployment
        return self._deployments.wrote(
            await self._context.client.update(
                dataclasses.replace(deployment, status=status), subresource="status"
            )
        )

    async def _write_revision(self, deployment: Deployment, revision: int) -> Deployment:
        if rollout.revision_of(deployment) == revision:
            return deployment
        patch = {"metadata": {"annotations": {rollout.REVISION: str(revision)}}}
        about = deployment.metadata
        return self._deployments.wrote(
            await self._context.client.patch(Deployment, about.name, about.namespace, patch)
        )


def _query(deployment: Deployment) -> selectors.LabelQuery | None:
    """Return the selector, None when it would select everything."""
    selector = deployment.spec.selector
    if selector is None or not (selector.match_labels or selector.match_expressions):
        return None
    return selectors.from_label_selector(selector)


def _without(sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> list[ReplicaSet]:
    return [rs for rs in sets if new is None or rs.metadata.uid != new.metadata.uid]


def _again(sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> ReplicaSet | None:
    """Return the latest version of `new` among `sets`."""
    uid = new.metadata.uid if new is not None else ""
    return next((rs for rs in sets if rs.metadata.uid == uid), new)
