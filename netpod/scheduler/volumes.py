"""What a pod's PersistentVolumeClaims say about where it may run (pure).

Source: kubernetes pkg/scheduler/framework/plugins/volumebinding/volume_binding.go, binder.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netpod.api.meta import Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.scheduler import terms
from netpod.scheduler.terms import NodeTerm

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
CONFLICT = "node(s) had volume node affinity conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """The claims of one pod.

    Attributes:
        problem: Why it can run nowhere now, "" when nothing speaks against it.
        places: For each volume that is not everywhere, the node terms of which one must hold.
        unbound: Claims that wait for their first consumer's node.
    """

    problem: str = ""
    places: tuple[tuple[NodeTerm, ...], ...] = ()
    unbound: tuple[Key, ...] = ()

    def reach(self, node: Node) -> bool:
        """Tell whether every volume can be mounted on a node."""
        return all(any(term.holds(node) for term in place) for place in self.places)


NONE = Volumes()


@dataclass(slots=True)
class Storage:
    """Claims, volumes and classes as the watch showed them."""

    claims: dict[Key, PersistentVolumeClaim] = field(default_factory=dict)
    volumes: dict[str, PersistentVolume] = field(default_factory=dict)
    classes: dict[str, StorageClass] = field(default_factory=dict)

    def of(self, namespace: str, names: Sequence[str]) -> Volumes:
        """Return what a pod's claims say."""
        if not names:
            return NONE
        places: list[tuple[NodeTerm, ...]] = []
        unbound: list[Key] = []
        for name in names:
            claim = self.claims.get(Key(namespace, name))
            if claim is None:
                return Volumes(problem=f'persistentvolumeclaim "{name}" not found')
            if claim.metadata.deletion_timestamp:
                return Volumes(problem=f'persistentvolumeclaim "{name}" is being deleted')
            if claim.status.phase == "Lost":
                missing = claim.spec.volume_name
                return Volumes(
                    problem=f'persistentvolumeclaim "{name}" bound to non-existent '
                    f'persistentvolume "{missing}"'
                )
            volume = self.volumes.get(claim.spec.volume_name)
            if claim.status.phase == "Bound" and volume is not None:
                places.extend(_place(volume))
            elif self._waits(claim):
                unbound.append(Key(namespace, name))
            else:
                return Volumes(problem=UNBOUND)
        return Volumes(places=tuple(places), unbound=tuple(unbound))

    def _waits(self, claim: PersistentVolumeClaim) -> bool:
        found = self.classes.get(claim.spec.storage_class_name or "")
        return (
            not claim.spec.volume_name
            and found is not None
            and found.volume_binding_mode == "WaitForFirstConsumer"
        )


def claims_of(pod: Pod) -> tuple[str, ...]:
    """Return the names of the claims a pod mounts, those made for it (ephemeral volumes) too."""
    found = []
    for volume in pod.spec.volumes:
        claim, own = volume.unknown.get("persistentVolumeClaim"), volume.unknown.get("ephemeral")
        if isinstance(claim, Mapping):
            found.append(str(claim.get("claimName", "")))
        elif own is not None:
            found.append(f"{pod.metadata.name}-{volume.name}")
    return tuple(found)


def _place(volume: PersistentVolume) -> list[tuple[NodeTerm, ...]]:
    required = (volume.spec.node_affinity or {}).get("required")
    if not isinstance(required, Mapping):
        return []
    try:
        return [tuple(map(terms.node_term, required.get("nodeSelectorTerms") or ()))]
    except (TypeError, AttributeError):
        # Somebody wrote what is no term: no node can be said to meet it.
        return [()]
