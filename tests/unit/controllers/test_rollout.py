"""The steps of a rolling update, as upstream takes them."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpod.api.apps import ReplicaSet, ReplicaSetStatus
from netpod.api.meta import IntOrString
from netpod.controllers import rollout
from netpod.controllers.rollout import Scaling
from tests.unit.controllers import builders


def sizes(scalings: list[Scaling]) -> dict[str, int]:
    """Return sizes by name."""
    return {s.replica_set.metadata.name: s.size for s in scalings}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (3, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (10, 0, 0, (0, 1)),
        (1, "0%", "10%", (0, 1)),
        (3, 5, 10, (5, 3)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(
    replicas: int, surge: IntOrString, unavailable: IntOrString, expected: tuple[int, int]
) -> None:
    """Both zero becomes one unavailable, and never more than there are."""
    wanted = builders.deployment(replicas, surge=surge, unavailable=unavailable)
    found = rollout.bounds(wanted)
    assert (found.surge, found.unavailable) == expected


def test_new_replica_set_grows_first_within_surge() -> None:
    """Ten old pods and maxSurge 25 % let three new ones start."""
    wanted = builders.deployment(10)
    new = builders.replica_set("new", 0)
    old = builders.replica_set("old", 10)
    assert sizes(rollout.step(wanted, new, [old])) == {"new": 3}


def test_old_pods_go_only_as_new_ones_become_available() -> None:
    """Three new pods that are not available allow two fewer old ones: maxUnavailable, no more."""
    wanted = builders.deployment(10)
    new = builders.replica_set("new", 3, available=0)
    old = builders.replica_set("old", 10)
    assert sizes(rollout.step(wanted, new, [old])) == {"old": 8}
    ready = builders.replica_set("new", 3)
    assert sizes(rollout.step(wanted, ready, [old])) == {"old": 5}


def test_unhealthy_old_pods_go_first() -> None:
    """Old pods that are not available are removed before any that is, whichever ReplicaSet is older."""
    wanted = builders.deployment(10)
    new = builders.replica_set("new", 3, available=0)
    oldest = builders.replica_set("oldest", 8, age=900)
    broken = builders.replica_set("broken", 2, available=0, age=300)
    assert sizes(rollout.step(wanted, new, [broken, oldest])) == {"broken": 0}


def test_finished_rollout_takes_no_step() -> None:
    """All pods are new: nothing to do."""
    wanted = builders.deployment(3)
    old = builders.replica_set("old", 0)
    assert rollout.step(wanted, builders.replica_set("new", 3), [old]) == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    replicas=st.integers(0, 30),
    surge=st.integers(0, 10),
    unavailable=st.integers(0, 10),
    ready_first=st.booleans(),
)
def test_every_rollout_ends_and_never_breaks_its_bounds(
    replicas: int, surge: int, unavailable: int, ready_first: bool
) -> None:
    """Never more than replicas + maxSurge pods, never fewer than replicas - maxUnavailable available."""
    wanted = builders.deployment(replicas, surge=surge, unavailable=unavailable)
    bounds = rollout.bounds(wanted)
    new = builders.replica_set("new", 0)
    old = builders.replica_set("old", replicas)
    for _ in range(4 * replicas + 8):
        step = rollout.step(wanted, new, [old])
        for scaling in step:
            if scaling.replica_set.metadata.name == "new":
                new = resized(new, scaling.size, available=ready_first)
            else:
                old = resized(old, scaling.size, available=True)
        total = rollout.replicas_of(new) + rollout.replicas_of(old)
        available = new.status.available_replicas + old.status.available_replicas
        assert total <= replicas + bounds.surge
        assert available >= replicas - bounds.unavailable
        new = resized(new, rollout.replicas_of(new), available=True)
    assert (rollout.replicas_of(new), rollout.replicas_of(old)) == (replicas, 0)


def resized(rs: ReplicaSet, size: int, *, available: bool) -> ReplicaSet:
    """Return the ReplicaSet as it is after its pods followed."""
    ready = size if available else min(size, rs.status.available_replicas)
    status = ReplicaSetStatus(replicas=size, ready_replicas=ready, available_replicas=ready)
    return dataclasses.replace(rs, spec=dataclasses.replace(rs.spec, replicas=size), status=status)


def test_scaling_in_the_middle_is_shared_in_proportion() -> None:
    """8 old and 5 new pods of 10 + 3 surge become 12 and 7 of 15 + 4 when it is scaled."""
    wanted = builders.deployment(15)
    old = builders.replica_set("old", 8, desired=10, maximum=13, age=900)
    new = builders.replica_set("new", 5, desired=10, maximum=13)
    assert rollout.is_scaling(wanted, [old, new])
    found = sizes(rollout.scale(wanted, new, [old]))
    assert found == {"old": 12, "new": 7}


def test_scaling_a_single_replica_set_changes_it_alone() -> None:
    """Without a rollout under way the new size is simply taken over."""
    wanted = builders.deployment(5)
    new = builders.replica_set("new", 3, desired=3)
    assert sizes(rollout.scale(wanted, new, [builders.replica_set("old", 0)])) == {"new": 5}


def test_scaling_to_zero_empties_every_replica_set() -> None:
    """No surge is allowed for a Deployment of zero."""
    wanted = builders.deployment(0)
    old = builders.replica_set("old", 8, desired=10, maximum=13)
    new = builders.replica_set("new", 5, desired=10, maximum=13)
    assert sizes(rollout.scale(wanted, new, [old])) == {"old": 0, "new": 0}
