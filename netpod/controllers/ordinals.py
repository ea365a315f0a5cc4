"""What a StatefulSet does next, and what it counts (pure).

    pods        NAME-0, NAME-1, ... (from spec.ordinals.start); outside that range they are condemned
    OrderedReady  one pod at a time: the next is made when all before it are available, the last goes first
    Parallel      all at once; updates still go one by one, from the highest ordinal down to the partition

Source: kubernetes pkg/controller/statefulset/stateful_set_control.go, stateful_set_utils.go.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from netpod.api.pod import Pod, PodTemplateSpec, Volume
from netpod.api.workloads import StatefulSet, StatefulSetStatus
from netpod.controllers import history, podcontrol, pods

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Ordinals to make a pod for, pods to delete, and pods whose labels of identity are to be put right."""

    create: tuple[int, ...] = ()
    delete: tuple[Pod, ...] = ()
    mend: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Answers what a pod is, by the clock and the owner's minReadySeconds."""

    min_ready_seconds: int
    now: datetime
    is_leaving: Callable[[Pod], bool]

    def available(self, pod: Pod) -> bool:
        """Tell whether the pod runs, has been ready long enough and stays."""
        return (
            pod.status.phase == "Running"
            and not self.is_leaving(pod)
            and pods.is_available(pod, self.min_ready_seconds, self.now)
        )


def ordinal_of(owner: StatefulSet, pod: Pod) -> int | None:
    """Return the number in a pod's name, None when the name is not one of this StatefulSet's."""
    match = _NAME.fullmatch(pod.metadata.name)
    if match is None or match[1] != owner.metadata.name:
        return None
    return int(match[2]) if str(int(match[2])) == match[2] else None


def ordinals(owner: StatefulSet) -> range:
    """Return the ordinals wanted."""
    start = owner.spec.ordinals.start if owner.spec.ordinals is not None else 0
    replicas = owner.spec.replicas if owner.spec.replicas is not None else 1
    return range(start, start + replicas)


def partition(owner: StatefulSet) -> int:
    """Return the first ordinal that an update touches."""
    rolling = owner.spec.update_strategy.rolling_update
    return rolling.partition or 0 if rolling is not None else 0


def is_ordered(owner: StatefulSet) -> bool:
    """Tell whether pods come and go one after the other."""
    return owner.spec.pod_management_policy != "Parallel"


def step(owner: StatefulSet, there: Mapping[int, Pod], update: str, judge: Judge) -> Step:
    """Return what can be done now.

    Args:
        owner: What is wanted.
        there: Its pods by ordinal, terminating ones too.
        update: Name of the newest revision.
        judge: What a pod is.
    """
    wanted = ordinals(owner)
    one_by_one = is_ordered(owner)
    create: list[int] = []
    delete: list[Pod] = []
    mend = [pod for n, pod in there.items() if n in wanted and not _has_identity(pod, n)]

    def done() -> Step:
        return Step(create=tuple(create), delete=tuple(delete), mend=tuple(mend))

    for number in wanted:
        pod = there.get(number)
        if pod is None:
            create.append(number)
        elif pods.is_finished(pod) and not judge.is_leaving(pod):
            delete.append(pod)
        elif judge.available(pod):
            continue
        if one_by_one:
            return done()
    condemned = sorted((n for n in there if n not in wanted), reverse=True)
    unhealthy = next((n for n in sorted(there) if not judge.available(there[n])), None)
    for number in condemned:
        pod = there[number]
        if not judge.is_leaving(pod):
            waits = not judge.available(pod) and number != unhealthy
            if not (one_by_one and waits):
                delete.append(pod)
        if one_by_one:
            return done()
    if owner.spec.update_strategy.type == "OnDelete" or create or delete:
        return done()
    for number in reversed(wanted):
        pod = there[number]
        if number < partition(owner):
            break
        if revision_of(pod) != update and not judge.is_leaving(pod):
            delete.append(pod)
            break
        if not judge.available(pod):
            break
    return done()


def revision_of(pod: Pod) -> str:
    """Return the name of the revision a pod is of."""
    return pod.metadata.labels.get(history.HASH, "")


def is_updated_now(owner: StatefulSet, number: int) -> bool:
    """Tell whether a pod made now for an ordinal is of the newest template."""
    if owner.spec.update_strategy.type == "OnDelete":
        return True
    return number >= partition(owner)


def _has_identity(pod: Pod, number: int) -> bool:
    labels = pod.metadata.labels
    return labels.get(POD_NAME) == pod.metadata.name and labels.get(POD_INDEX) == str(number)


def identity(owner: StatefulSet, number: int) -> dict[str, str]:
    """Return the labels that say which one of its StatefulSet's pods a pod is."""
    return {POD_NAME: f"{owner.metadata.name}-{number}", POD_INDEX: str(number)}


def new_pod(owner: StatefulSet, template: PodTemplateSpec, revision: str, number: int) -> Pod:
    """Return the pod of an ordinal: its host name is its name, below the headless Service."""
    name = f"{owner.metadata.name}-{number}"
    claims = {claim.metadata.name: claim for claim in owner.spec.volume_claim_templates}
    volumes = [v for v in template.spec.volumes if v.name not in claims]
    volumes += [
        Volume(name=claim, unknown={"persistentVolumeClaim": {"claimName": f"{claim}-{name}"}})
        for claim in claims
    ]
    spec = dataclasses.replace(
        template.spec, hostname=name, subdomain=owner.spec.service_name, volumes=tuple(volumes)
    )
    labels = {**identity(owner, number), history.HASH: revision}
    return podcontrol.from_template(owner, template, name=name, labels=labels, spec=spec)


def status(
    owner: StatefulSet,
    there: Sequence[Pod],
    current: str,
    update: str,
    judge: Judge,
) -> StatefulSetStatus:
    """Count pods; when all are updated and ready the newest revision becomes the current one.

    Args:
        owner: Gives what is wanted.
        there: Its pods, terminating ones too.
        current: Name of the revision from which an update moves.
        update: Name of the newest revision.
        judge: What a pod is.
    """
    staying = [p for p in there if not judge.is_leaving(p)]
    ready = [p for p in there if p.status.phase == "Running" and pods.is_ready(p)]
    updated = sum(revision_of(p) == update for p in staying)
    on_current = sum(revision_of(p) == current for p in staying)
    wanted = len(ordinals(owner))
    if (
        owner.spec.update_strategy.type == "RollingUpdate"
        and (updated, len(ready), len(there)) == (wanted, wanted, wanted)
        and current != update
    ):
        current, on_current = update, updated
    return dataclasses.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        replicas=len(there),
        ready_replicas=len(ready),
        available_replicas=sum(judge.available(p) for p in there),
        current_replicas=on_current,
        updated_replicas=updated,
        current_revision=current,
        update_revision=update,
    )
