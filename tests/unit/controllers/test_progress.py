"""A Deployment's status and conditions."""

import dataclasses
from datetime import timedelta

from netpod.api import meta
from netpod.api.apps import Deployment, DeploymentStatus
from netpod.controllers import progress
from tests.unit.controllers import builders


def with_status(deployment: Deployment, status: DeploymentStatus) -> Deployment:
    """Return the Deployment with that status."""
    return dataclasses.replace(deployment, status=status)


def test_complete_rollout_says_new_replica_set_available() -> None:
    """All pods new and available: Available and Progressing are True, with upstream's reasons."""
    wanted = builders.deployment(3)
    new = builders.replica_set("web-1", 3)
    status = progress.rollout_status(wanted, new, [new], builders.NOW)
    assert (status.replicas, status.updated_replicas, status.available_replicas) == (3, 3, 3)
    available = meta.condition(status.conditions, "Available")
    done = meta.condition(status.conditions, "Progressing")
    assert available is not None
    assert (available.status, available.reason) == ("True", "MinimumReplicasAvailable")
    assert done is not None
    assert (done.status, done.reason) == ("True", "NewReplicaSetAvailable")
    assert done.message == 'ReplicaSet "web-1" has successfully progressed.'


def test_rollout_without_progress_times_out_after_its_deadline() -> None:
    """Progressing becomes False, ProgressDeadlineExceeded; not a second earlier."""
    wanted = builders.deployment(3, deadline=10)
    new = builders.replica_set("web-1", 3, available=0)
    created = progress.progressing("True", "NewReplicaSetCreated", "made")
    begun = dataclasses.replace(
        wanted.status, conditions=progress.set_condition((), created, builders.NOW)
    )
    wanted = with_status(wanted, begun)
    moved = progress.rollout_status(wanted, new, [new], builders.NOW)
    wanted = with_status(wanted, moved)
    early = progress.rollout_status(wanted, new, [new], builders.NOW + timedelta(seconds=9))
    late = progress.rollout_status(wanted, new, [new], builders.NOW + timedelta(seconds=11))
    assert reason(early) == "ReplicaSetUpdated"
    assert reason(late) == "ProgressDeadlineExceeded"


def reason(status: DeploymentStatus) -> str:
    """Return the reason of condition Progressing."""
    found = meta.condition(status.conditions, "Progressing")
    return found.reason if found is not None else ""


def test_nothing_new_leaves_the_status_equal() -> None:
    """A second look at a finished Deployment writes nothing."""
    wanted = builders.deployment(3)
    new = builders.replica_set("web-1", 3)
    first = progress.rollout_status(wanted, new, [new], builders.NOW)
    again = progress.rollout_status(
        with_status(wanted, first), new, [new], builders.NOW + timedelta(hours=1)
    )
    assert again == first


def test_below_minimum_availability_is_said() -> None:
    """maxUnavailable 25 % of 4 lets one pod be missing, not two."""
    wanted = builders.deployment(4)
    new = builders.replica_set("web-1", 4, available=2)
    found = meta.condition(
        progress.counts(wanted, new, [new], builders.NOW).conditions, "Available"
    )
    assert found is not None
    assert (found.status, found.reason) == ("False", "MinimumReplicasUnavailable")


def test_pausing_and_resuming_are_conditions() -> None:
    """While paused Progressing is Unknown, DeploymentPaused."""
    paused = builders.deployment(paused=True)
    condition = progress.pause_condition(paused)
    assert condition is not None
    assert condition.reason == "DeploymentPaused"
    status = DeploymentStatus(conditions=(condition,))
    assert progress.pause_condition(with_status(paused, status)) is None
    resumed = progress.pause_condition(with_status(builders.deployment(), status))
    assert resumed is not None
    assert resumed.reason == "DeploymentResumed"
