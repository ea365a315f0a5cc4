"""The states a DaemonSet's or StatefulSet's template has been in: ControllerRevisions.

A revision's data is a strategic merge patch that puts the template back, which is what `kubectl rollout undo` sends.

Source: kubernetes pkg/controller/history/controller_history.go.
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from netpod.api import codec
from netpod.api.meta import Json, Object, ObjectMeta
from netpod.api.pod import PodTemplateSpec
from netpod.api.selectors import LabelQuery
from netpod.api.workloads import ControllerRevision
from netpod.controllers import adoption, controller, revisions
from netpod.controllers.controller import Context
from netpod.errors import AlreadyExists, Conflict, NotFound

log = logging.getLogger(__name__)

HASH = "controller-revision-hash"
"""Label of a pod (and of a DaemonSet's revision) that says which revision it is of."""

REVISION_HASH = "controller.kubernetes.io/hash"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """All revisions of an owner, oldest first, and the one of its present template."""

    all: tuple[ControllerRevision, ...]
    update: ControllerRevision
    collision_count: int | None


class History:
    """Keeps ControllerRevisions for one kind of owner."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.view = context.view(ControllerRevision)
        self.view.index("owner", controller.by_owner)
        self.view.index("orphans", controller.orphans_by_namespace)

    async def sync(
        self,
        owner: Object,
        template: PodTemplateSpec,
        query: LabelQuery,
        labels: Mapping[str, str],
        collision_count: int | None,
    ) -> Revisions:
        """Make sure that the present template is the newest revision.

        Args:
            owner: DaemonSet or StatefulSet.
            template: Its present template.
            query: Its selector; orphaned revisions it matches are adopted.
            labels: For a new revision.
            collision_count: How often a name was taken already.
        """
        around = self.view.by("owner", owner.metadata.uid)
        around += self.view.by("orphans", owner.metadata.namespace)
        owned = await adoption.claim(self._context.client, self.view, owner, query, around)
        known = sorted(owned, key=age)
        newest = known[-1].revision if known else 0
        wanted = data_of(template)
        # Whoever wrote them, in whatever form: what counts is the template.
        equal = [r for r in known if data_of(template_of(r)) == wanted]
        if equal and equal[-1].revision == newest:
            return Revisions(all=tuple(known), update=equal[-1], collision_count=collision_count)
        if equal:
            again = dataclasses.replace(equal[-1], revision=newest + 1)
            update = self.view.wrote(await self._context.client.update(again))
        else:
            update, collision_count = await self._create(
                owner, template, labels, newest + 1, collision_count
            )
        kept = [r for r in known if r.metadata.uid != update.metadata.uid]
        return Revisions(all=(*kept, update), update=update, collision_count=collision_count)

    async def _create(
        self,
        owner: Object,
        template: PodTemplateSpec,
        labels: Mapping[str, str],
        number: int,
        collision_count: int | None,
    ) -> tuple[ControllerRevision, int | None]:
        for _ in range(_ATTEMPTS):
            wanted = new_revision(owner, template, labels, number, collision_count)
            try:
                return self.view.wrote(await self._context.client.create(wanted)), collision_count
            except AlreadyExists:
                about = wanted.metadata
                try:
                    there = await self._context.client.get(
                        ControllerRevision, about.name, about.namespace
                    )
                except NotFound:
                    continue
                if controller.owner_uid(there) == owner.metadata.uid and there.data == wanted.data:
                    return self.view.wrote(there), collision_count
                collision_count = (collision_count or 0) + 1
        raise Conflict(
            f"cannot create controllerrevision of {owner.metadata.name}: names are taken"
        )

    async def truncate(self, found: Revisions, live: Iterable[str], limit: int | None) -> None:
        """Delete the oldest revisions beyond `limit` that no pod in `live` (names) is of."""
        for revision in surplus(found, set(live), limit):
            about = revision.metadata
            try:
                await self._context.client.delete(
                    ControllerRevision, about.name, about.namespace, uid=about.uid
                )
            except NotFound:
                log.debug("controllerrevision %s is gone already", about.name)
            self.view.removed(revision)


def surplus(found: Revisions, live: set[str], limit: int | None) -> Sequence[ControllerRevision]:
    """Return the revisions that may go, oldest first."""
    dead = [
        r
        for r in found.all
        if r.metadata.name not in live and r.metadata.uid != found.update.metadata.uid
    ]
    over = len(dead) - (limit if limit is not None else 10)
    return dead[: max(0, over)]


def age(revision: ControllerRevision) -> tuple[int, str, str]:
    """Sort key: older revisions first."""
    about = revision.metadata
    return revision.revision, about.creation_timestamp, about.name


def data_of(template: PodTemplateSpec) -> Json:
    """Return the patch that puts a template back, byte by byte as Go writes it: clients compare it with theirs."""
    made = codec.encode(template)
    made["metadata"] = {"creationTimestamp": None, **made.get("metadata", {})}
    patch = {"spec": {"template": {**made, "$patch": "replace"}}}
    return orjson.loads(orjson.dumps(patch, option=orjson.OPT_SORT_KEYS))


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """Return the template of a revision."""
    data = dict(revision.data["spec"]["template"])
    data.pop("$patch", None)
    return codec.decode(PodTemplateSpec, data)


def hash_of(revision: ControllerRevision) -> str:
    """Return the hash in a revision's name."""
    return revision.metadata.labels.get(REVISION_HASH, "")


def new_revision(
    owner: Object,
    template: PodTemplateSpec,
    labels: Mapping[str, str],
    number: int,
    collision_count: int | None,
) -> ControllerRevision:
    """Return the revision of a template; its name follows from the template."""
    digest = revisions.template_hash(template, collision_count)
    return ControllerRevision(
        metadata=ObjectMeta(
            name=f"{owner.metadata.name[:223]}-{digest}",
            namespace=owner.metadata.namespace,
            labels={**labels, REVISION_HASH: digest, HASH: digest},
            annotations={
                name: value
                for name, value in owner.metadata.annotations.items()
                if name == "kubernetes.io/change-cause"
            },
            owner_references=(controller.controller_reference(owner),),
        ),
        data=data_of(template),
        revision=number,
    )
