"""The claims of a StatefulSet's pods: made before the pod, and who takes them along.

By persistentVolumeClaimRetentionPolicy a claim outlives everything (Retain), goes with its StatefulSet (whenDeleted),
or with its pod when that is scaled away (whenScaled).

Source: kubernetes pkg/controller/statefulset/stateful_set_utils.go, KEP-1847.
"""

import dataclasses
from collections.abc import Mapping

from netpod.api.meta import Key, Object, ObjectMeta, OwnerReference
from netpod.api.pod import Pod
from netpod.api.storage import PersistentVolumeClaim
from netpod.api.workloads import StatefulSet
from netpod.controllers import ordinals
from netpod.controllers.controller import Context
from netpod.errors import AlreadyExists, Conflict, NetpodError, NotFound


class SetClaims:
    """Writes claims on behalf of StatefulSets, and says so in events about them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.view = context.view(PersistentVolumeClaim)

    async def ensure(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        """Make the claims of a pod that is about to be made.

        Raises:
            Conflict: one is on its way out; the pod waits.
            NetpodError: one could not be made, after an event.
        """
        for claim in wanted(owner, number):
            about = claim.metadata
            known = self.view.get(Key(about.namespace, about.name))
            if known is not None and known.metadata.deletion_timestamp:
                raise Conflict(f"pvc {about.name} is being deleted")
            if known is not None:
                continue
            text = f"create Claim {about.name} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
            say = self._context.recorder.event
            try:
                self.view.wrote(await self._context.client.create(claim))
            except AlreadyExists as error:
                raise Conflict(str(error)) from error
            except NetpodError as error:
                say(owner, "Warning", "FailedCreate", f"{text} failed error: {error}")
                raise
            say(owner, "Normal", "SuccessfulCreate", f"{text} success")

    async def follow_policy(self, owner: StatefulSet, there: Mapping[int, Pod]) -> None:
        """Give the claims of existing pods the owners that the retention policy asks for."""
        if not owner.spec.volume_claim_templates:
            return
        range_ = ordinals.ordinals(owner)
        for number, pod in there.items():
            for template in owner.spec.volume_claim_templates:
                key = Key(owner.metadata.namespace, name_of(owner, template, number))
                claim = self.view.get(key)
                if claim is None or claim.metadata.deletion_timestamp:
                    continue
                references = owners(owner, claim, pod, condemned=number not in range_)
                if references == claim.metadata.owner_references:
                    continue
                about = dataclasses.replace(claim.metadata, owner_references=references)
                changed = dataclasses.replace(claim, metadata=about)
                try:
                    self.view.wrote(await self._context.client.update(changed))
                except NotFound:
                    continue


def name_of(owner: StatefulSet, template: PersistentVolumeClaim, number: int) -> str:
    """Return the name of an ordinal's claim: TEMPLATE-SET-NUMBER."""
    return f"{template.metadata.name}-{owner.metadata.name}-{number}"


def wanted(owner: StatefulSet, number: int) -> list[PersistentVolumeClaim]:
    """Return the claims of an ordinal, as they are made."""
    selector = owner.spec.selector
    labels = selector.match_labels if selector is not None else {}
    return [
        dataclasses.replace(
            template,
            metadata=ObjectMeta(
                name=name_of(owner, template, number),
                namespace=owner.metadata.namespace,
                labels={**template.metadata.labels, **labels},
                annotations=template.metadata.annotations,
            ),
            status=PersistentVolumeClaim().status,
        )
        for template in owner.spec.volume_claim_templates
    ]


def owners(
    owner: StatefulSet, claim: PersistentVolumeClaim, pod: Pod | None, *, condemned: bool
) -> tuple[OwnerReference, ...]:
    """Return the owner references a claim should have; those of strangers stay.

    Args:
        owner: Its policy decides.
        claim: As it is.
        pod: The ordinal's pod, if there is one.
        condemned: The ordinal is outside the range that is wanted.
    """
    policy = owner.spec.persistent_volume_claim_retention_policy
    on_delete = policy is not None and policy.when_deleted == "Delete"
    on_scale = policy is not None and policy.when_scaled == "Delete"
    kept = tuple(
        reference
        for reference in claim.metadata.owner_references
        if reference.uid != owner.metadata.uid
        and not (
            reference.kind == "Pod" and pod is not None and reference.name == pod.metadata.name
        )
    )
    if on_scale and condemned:
        return (
            (*kept, _reference(pod, "Pod")) if pod is not None else claim.metadata.owner_references
        )
    return (*kept, _reference(owner, "StatefulSet")) if on_delete else kept


def _reference(obj: Object, kind: str) -> OwnerReference:
    about = obj.metadata
    return OwnerReference(api_version=obj.api_version, kind=kind, name=about.name, uid=about.uid)
