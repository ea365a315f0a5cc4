"""What the garbage collector decides."""

import dataclasses

import pytest

from netpod.api.meta import OwnerReference
from netpod.controllers import ownership
from netpod.controllers.ownership import Action, OwnerState
from tests.unit.controllers import builders

SOLID, ABSENT, WAITING = OwnerState.SOLID, OwnerState.ABSENT, OwnerState.WAITING


@pytest.mark.parametrize(
    ("states", "dependents", "expected"),
    [
        ([SOLID], False, (Action.KEEP, "")),
        ([ABSENT], False, (Action.DELETE, "Background")),
        ([SOLID, ABSENT], False, (Action.DROP_REFERENCES, "")),
        ([SOLID, WAITING], False, (Action.DROP_REFERENCES, "")),
        ([ABSENT, ABSENT], False, (Action.DELETE, "Background")),
        ([WAITING], False, (Action.DELETE, "Background")),
        ([WAITING, ABSENT], True, (Action.DELETE, "Foreground")),
        ([], False, (Action.KEEP, "")),
    ],
)
def test_an_object_lives_as_long_as_one_owner(
    states: list[OwnerState], dependents: bool, expected: tuple[Action, str]
) -> None:
    """One solid owner keeps it and the others' references go; without any it is deleted."""
    references = tuple(OwnerReference(uid=f"owner-{n}") for n in range(len(states)))
    pod = builders.pod("a")
    pod = dataclasses.replace(
        pod, metadata=dataclasses.replace(pod.metadata, owner_references=references)
    )
    owners = {f"owner-{n}": state for n, state in enumerate(states)}
    verdict = ownership.judge(pod, owners, dependents)
    assert (verdict.action, verdict.policy) == expected
    if verdict.action is Action.DROP_REFERENCES:
        assert [r.uid for r in verdict.keep] == ["owner-0"]
