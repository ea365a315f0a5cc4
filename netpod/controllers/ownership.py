"""What the garbage collector does with an object, given what became of its owners (pure).

Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go attemptToDeleteItem.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from netpod.api.meta import Object, OwnerReference

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


class OwnerState(StrEnum):
    """What became of one owner."""

    SOLID = "solid"
    ABSENT = "absent"
    WAITING = "waiting"
    """It is being deleted in the foreground and waits for this dependent."""


class Action(StrEnum):
    """What to do with a dependent."""

    KEEP = "keep"
    DROP_REFERENCES = "drop references"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An action, and what it is done with.

    `keep` are the references that remain (for DROP_REFERENCES); `policy` is the propagationPolicy (for DELETE).
    """

    action: Action
    keep: tuple[OwnerReference, ...] = ()
    policy: str = ""


def is_foreground(obj: Object) -> bool:
    """Tell whether the object is being deleted and waits for its dependents."""
    return bool(obj.metadata.deletion_timestamp) and FOREGROUND in obj.metadata.finalizers


def is_orphaning(obj: Object) -> bool:
    """Tell whether the object is being deleted and is to leave its dependents behind."""
    return bool(obj.metadata.deletion_timestamp) and ORPHAN in obj.metadata.finalizers


def judge(obj: Object, owners: Mapping[str, OwnerState], has_dependents: bool) -> Verdict:
    """Decide about an object that names owners.

    Args:
        obj: The dependent.
        owners: State of each owner by uid.
        has_dependents: Whether other objects name it as their owner in turn.

    One solid owner keeps it. Without any, it goes: in the foreground when an owner waits for it and it has
    dependents itself, else as its own finalizers say, else in the background.
    """
    references = obj.metadata.owner_references
    if not references or obj.metadata.deletion_timestamp:
        return Verdict(action=Action.KEEP)
    states = [owners[reference.uid] for reference in references]
    if OwnerState.SOLID in states:
        keep = tuple(r for r in references if owners[r.uid] is OwnerState.SOLID)
        if len(keep) == len(references):
            return Verdict(action=Action.KEEP)
        return Verdict(action=Action.DROP_REFERENCES, keep=keep)
    if OwnerState.WAITING in states and has_dependents:
        return Verdict(action=Action.DELETE, policy="Foreground")
    if ORPHAN in obj.metadata.finalizers:
        return Verdict(action=Action.DELETE, policy="Orphan")
    if FOREGROUND in obj.metadata.finalizers:
        return Verdict(action=Action.DELETE, policy="Foreground")
    return Verdict(action=Action.DELETE, policy="Background")


def blocks(dependent: Object, owner_uid: str) -> bool:
    """Tell whether an owner's foreground deletion waits for this dependent."""
    return any(
        r.uid == owner_uid and bool(r.block_owner_deletion)
        for r in dependent.metadata.owner_references
    )


def unblocked(old: Object, new: Object) -> list[str]:
    """Return the uids of owners whose foreground deletion waited for a dependent and no longer does."""
    return [
        r.uid
        for r in old.metadata.owner_references
        if r.block_owner_deletion and not blocks(new, r.uid)
    ]
