"""Making and deleting the pods of a workload, so that a pass over a stale cache does neither twice.

What was created is in the view as soon as the API server has answered; what was deleted is `leaving` until the watch
says so.

Source: kubernetes pkg/controller/controller_utils.go RealPodControl.
"""

from collections.abc import Iterable, Sequence

from netpod.api.meta import Object, ObjectMeta
from netpod.api.pod import Pod, PodSpec, PodTemplateSpec
from netpod.controllers import controller, pods
from netpod.controllers.controller import Context
from netpod.errors import ApiError, Conflict, NetpodError, NotFound


class PodControl:
    """Writes pods on behalf of owners, and says so in events about the owner."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = context.view(Pod)
        self._leaving: set[str] = set()
        self._pods.subscribe(self._pod_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.deletion_timestamp):
            self._leaving.discard(old.metadata.uid)

    def is_leaving(self, pod: Pod) -> bool:
        """Tell whether the pod is on its way out, though the cache may not say so yet."""
        return pods.is_terminating(pod) or pod.metadata.uid in self._leaving

    def active(self, owned: Iterable[Pod]) -> list[Pod]:
        """Return the pods that count as replicas."""
        return [p for p in owned if pods.is_active(p) and p.metadata.uid not in self._leaving]

    async def create(self, owner: Object, wanted: Sequence[Pod]) -> list[Pod]:
        """Create pods side by side; returns those that were.

        Raises:
            NetpodError: the first failure, after an event.
        """
        made: list[Pod] = []

        async def one(pod: Pod) -> None:
            try:
                created = self._pods.wrote(await self._context.client.create(pod))
            except NotFound:
                raise
            except NetpodError as error:
                if namespace_ends(error):
                    raise NotFound(str(error)) from error
                self._say(owner, "Warning", "FailedCreate", f"Error creating: {error}")
                raise
            made.append(created)
            self._say(owner, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")

        await controller.all_of(one(pod) for pod in wanted)
        return made

    async def delete(self, owner: Object, doomed: Iterable[Pod]) -> None:
        """Delete pods side by side; one that is gone already, or is another by now, is fine.

        Raises:
            NetpodError: the first failure, after an event.
        """

        async def one(pod: Pod) -> None:
            about = pod.metadata
            self._leaving.add(about.uid)
            try:
                await self._context.client.delete(Pod, about.name, about.namespace, uid=about.uid)
            except (NotFound, Conflict):
                self._pods.removed(pod)
                self._leaving.discard(about.uid)
            except NetpodError as error:
                self._leaving.discard(about.uid)
                self._say(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
                raise
            else:
                self._say(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {about.name}")

        await controller.all_of(one(pod) for pod in doomed)

    def _say(self, owner: Object, type_: str, reason: str, message: str) -> None:
        self._context.recorder.event(owner, type_, reason, message)


def namespace_ends(error: NetpodError) -> bool:
    """Tell whether something could not be created because its namespace is on its way out."""
    if not isinstance(error, ApiError):
        return False
    causes = error.details.get("causes")
    return isinstance(causes, list) and any(
        cause.get("reason") == "NamespaceTerminating" for cause in causes
    )


def from_template(
    owner: Object,
    template: PodTemplateSpec,
    *,
    name: str = "",
    generate_name: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    finalizers: tuple[str, ...] = (),
    spec: PodSpec | None = None,
) -> Pod:
    """Return the pod a template describes, owned by `owner`; labels and annotations are added."""
    about = template.metadata
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generate_name=generate_name,
            namespace=owner.metadata.namespace,
            labels={**about.labels, **(labels or {})},
            annotations={**about.annotations, **(annotations or {})},
            finalizers=(*about.finalizers, *finalizers),
            owner_references=(controller.controller_reference(owner),),
        ),
        spec=spec if spec is not None else template.spec,
    )
