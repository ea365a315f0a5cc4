"""Which nodes a DaemonSet's pods belong on, which of them go, and what it counts (pure).

Source: kubernetes pkg/controller/daemon/daemon_controller.go, update.go, util/daemonset_util.go.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from netpod.api.meta import IntOrString
from netpod.api.node import Node
from netpod.api.pod import Affinity, Pod, PodSpec, Toleration
from netpod.api.workloads import DaemonSet, DaemonSetStatus
from netpod.controllers import history, placement, pods

_STAYS = ("not-ready", "unreachable")
_COMES = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
GENERATION = "deprecated.daemonset.template.generation"

PodsByNode = Mapping[str, Sequence[Pod]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a node should get a pod, and whether one that is there may stay."""

    run: bool
    stay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Nodes to make a pod for, pods to delete, and those of the latter that had failed."""

    create: tuple[str, ...] = ()
    delete: tuple[Pod, ...] = ()
    failed: tuple[Pod, ...] = ()


def spec_for(daemon_set: DaemonSet, node: str) -> PodSpec:
    """Return the pod spec that the scheduler can place on one node only, and that stays through its troubles."""
    spec = daemon_set.spec.template.spec
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = spec.affinity or Affinity()
    kept = affinity.node_affinity if isinstance(affinity.node_affinity, Mapping) else {}
    chosen = {**kept, _REQUIRED: {"nodeSelectorTerms": [term]}}
    return dataclasses.replace(
        spec,
        affinity=dataclasses.replace(affinity, node_affinity=chosen),
        tolerations=_tolerations(spec),
    )


def _tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    wanted = [("NoExecute", name) for name in _STAYS] + [("NoSchedule", name) for name in _COMES]
    if spec.host_network:
        wanted.append(("NoSchedule", "network-unavailable"))
    added = [
        Toleration(key=f"node.kubernetes.io/{name}", operator="Exists", effect=effect)
        for effect, name in wanted
    ]
    return (*spec.tolerations, *(t for t in added if t not in spec.tolerations))


def fit(daemon_set: DaemonSet, node: Node) -> Fit:
    """Judge one node."""
    spec = daemon_set.spec.template.spec
    if spec.node_name and spec.node_name != node.metadata.name:
        return Fit(run=False, stay=False)
    if not placement.fits_choice(spec, node):
        return Fit(run=False, stay=False)
    known = _tolerations(spec)
    if placement.untolerated(known, node, ("NoSchedule", "NoExecute")):
        return Fit(run=False, stay=not placement.untolerated(known, node, ("NoExecute",)))
    return Fit(run=True, stay=True)


def node_of(pod: Pod) -> str:
    """Return the node a pod is on or, while it is not scheduled, meant for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    for term in ((affinity or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and len(field.get("values") or ()) == 1:
                return str(field["values"][0])
    return ""


def place(
    daemon_set: DaemonSet,
    fits: Mapping[str, Fit],
    by_node: PodsByNode,
    update_hash: str,
    now: datetime,
) -> Step:
    """Make one pod where one should be, delete what should not be, failed pods among them."""
    create, delete, failed = [], [], []
    for name in sorted({*fits, *by_node}):
        judged = fits.get(name)
        there = by_node.get(name, ())
        if judged is None:
            # Its node is gone; the garbage collector of pods decides, for the node may come back.
            continue
        if judged.run and not there:
            create.append(name)
        elif judged.stay:
            alive = [p for p in there if not pods.is_terminating(p)]
            ended = [p for p in alive if pods.is_finished(p)]
            delete += ended
            failed += ended
            delete += _surplus(
                daemon_set, [p for p in alive if not pods.is_finished(p)], update_hash, now
            )
        else:
            delete += [p for p in there if not pods.is_terminating(p)]
    return Step(create=tuple(create), delete=tuple(delete), failed=tuple(failed))


def _surplus(
    daemon_set: DaemonSet, running: Sequence[Pod], update_hash: str, now: datetime
) -> list[Pod]:
    """Return the pods beyond one; a surge may have an old one beside a new one that is not available yet."""
    oldest_first = sorted(running, key=lambda p: (p.metadata.creation_timestamp, p.metadata.name))
    if surge(daemon_set, 1) == 0:
        return oldest_first[1:]
    old = [p for p in oldest_first if not is_updated(p, update_hash)]
    new = [p for p in oldest_first if is_updated(p, update_hash)]
    available = [p for p in new if pods.is_available(p, daemon_set.spec.min_ready_seconds, now)]
    return [*old[1:], *new[1:], *(old[:1] if available else [])]


def roll(
    daemon_set: DaemonSet,
    wanted: Sequence[str],
    by_node: PodsByNode,
    update_hash: str,
    now: datetime,
) -> Step:
    """Take the next step of a rolling update over the nodes in `wanted`."""
    ahead, behind = surge(daemon_set, len(wanted)), unavailable(daemon_set, len(wanted))
    at_once: list[Pod] = []
    in_turn: list[Pod] = []
    create_at_once: list[str] = []
    create_in_turn: list[str] = []
    missing = surging = 0
    for name in wanted:
        alive = [p for p in by_node.get(name, ()) if not pods.is_terminating(p)]
        new = [p for p in alive if is_updated(p, update_hash)]
        old = [p for p in alive if not is_updated(p, update_hash)]

        def serves(found: Sequence[Pod]) -> bool:
            seconds = daemon_set.spec.min_ready_seconds
            return any(pods.is_available(p, seconds, now) for p in found)

        if ahead:
            if new and old:
                if serves(new):
                    at_once += old
                else:
                    surging += 1
            elif old and not serves(old):
                create_at_once.append(name)
            elif old:
                create_in_turn.append(name)
        elif new or not old:
            missing += not serves(new)
        elif serves(old):
            in_turn += old
        else:
            at_once += old
            missing += 1
    return Step(
        create=(*create_at_once, *create_in_turn[: max(0, ahead - surging)]),
        delete=(*at_once, *in_turn[: max(0, behind - missing)]),
    )


def is_updated(pod: Pod, update_hash: str) -> bool:
    """Tell whether a pod is of the present template."""
    return pod.metadata.labels.get(history.HASH) == update_hash


def surge(daemon_set: DaemonSet, nodes: int) -> int:
    """Return how many nodes may have a new pod beside the old one."""
    bounds = daemon_set.spec.update_strategy.rolling_update
    return _resolve(bounds.max_surge, nodes) if bounds and bounds.max_surge else 0


def unavailable(daemon_set: DaemonSet, nodes: int) -> int:
    """Return how many nodes may be without an available pod during an update; 1 at least without a surge."""
    bounds = daemon_set.spec.update_strategy.rolling_update
    given = bounds.max_unavailable if bounds and bounds.max_unavailable is not None else 1
    return max(_resolve(given, nodes), 0 if surge(daemon_set, nodes) else 1)


def _resolve(value: IntOrString, total: int) -> int:
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%")) * total / 100)


def status(
    daemon_set: DaemonSet,
    fits: Mapping[str, Fit],
    by_node: PodsByNode,
    update_hash: str,
    now: datetime,
) -> DaemonSetStatus:
    """Count nodes."""
    current = misscheduled = ready = available = updated = desired = 0
    for name, judged in fits.items():
        there = by_node.get(name, ())
        if not judged.run:
            misscheduled += bool(there)
            continue
        desired += 1
        current += bool(there)
        alive = _first_choice(there)
        if alive is None:
            continue
        ready += pods.is_ready(alive)
        available += pods.is_available(alive, daemon_set.spec.min_ready_seconds, now)
        updated += any(is_updated(p, update_hash) for p in there)
    return dataclasses.replace(
        daemon_set.status,
        observed_generation=daemon_set.metadata.generation,
        desired_number_scheduled=desired,
        current_number_scheduled=current,
        number_misscheduled=misscheduled,
        number_ready=ready,
        number_available=available,
        number_unavailable=desired - available,
        updated_number_scheduled=updated,
    )


def _first_choice(there: Iterable[Pod]) -> Pod | None:
    """Return the pod of a node that counts: a ready one, else the oldest."""
    return min(
        there, key=lambda p: (not pods.is_ready(p), p.metadata.creation_timestamp), default=None
    )
