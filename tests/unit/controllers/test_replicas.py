"""Which pods go first, and what a ReplicaSet counts."""

import dataclasses
from datetime import timedelta

import pytest

from netpod.api.pod import Pod
from netpod.controllers import replicas
from tests.unit.controllers import builders

COST = replicas.DELETION_COST


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (builders.pod("a", node=""), builders.pod("b", phase="Pending")),
        (builders.pod("a", phase="Pending"), builders.pod("b", ready=False)),
        (builders.pod("a", ready=False), builders.pod("b")),
        (builders.pod("a", annotations={COST: "-5"}), builders.pod("b", ready_for=1)),
        (builders.pod("a", ready_for=2), builders.pod("b", ready_for=900)),
        (builders.pod("a", restarts=3), builders.pod("b", restarts=1, age=100)),
        (builders.pod("a", age=100), builders.pod("b", age=90000)),
        (builders.pod("a"), builders.pod("b")),
    ],
)
def test_deletion_order_follows_upstreams_ranks(first: Pod, second: Pod) -> None:
    """Each row's first pod goes before its second, in whatever order they are listed."""
    for pods in ([first, second], [second, first]):
        order = replicas.deletion_order(pods, [], builders.NOW)
        assert [pod.metadata.name for pod in order] == ["a", "b"]


def test_doubled_up_pods_go_first() -> None:
    """Of three pods, two of them on one node, one of the two goes."""
    pods = [
        builders.pod("alone", node="worker2"),
        builders.pod("x", node="worker"),
        builders.pod("y", node="worker"),
    ]
    order = replicas.deletion_order(pods, pods, builders.NOW)
    assert [pod.metadata.name for pod in order] == ["x", "y", "alone"]


def test_status_counts_labels_readiness_and_availability() -> None:
    """A pod counts as available only after minReadySeconds of readiness."""
    owner = builders.replica_set("web-1", 3)
    owner = dataclasses.replace(owner, spec=dataclasses.replace(owner.spec, min_ready_seconds=30))
    active = [
        builders.pod("old", ready_for=60),
        builders.pod("young", ready_for=10),
        builders.pod("not", ready=False, labels={"app": "other"}),
    ]
    status = replicas.status(owner, active, "", builders.NOW)
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)
    assert status.fully_labeled_replicas == 2
    assert replicas.next_available(active, 30, builders.NOW) == timedelta(seconds=20).seconds


def test_failure_to_create_becomes_a_condition_and_goes_again() -> None:
    """ReplicaFailure says why, and is removed once pods can be made."""
    owner = builders.replica_set("web-1", 3)
    failed = replicas.status(owner, [], "quota exceeded", builders.NOW)
    assert [(c.type, c.reason) for c in failed.conditions] == [("ReplicaFailure", "FailedCreate")]
    after = dataclasses.replace(owner, status=failed)
    assert replicas.status(after, [], "", builders.NOW).conditions == ()


def test_batches_double() -> None:
    """One pod is tried before many are."""
    assert replicas.batches(10) == [1, 2, 4, 3]
    assert replicas.batches(0) == []


def test_times_that_are_none_do_not_stop_the_controller() -> None:
    """A status patched by hand may hold anything."""
    odd = builders.pod("odd")
    (ready,) = odd.status.conditions
    for text in ("yesterday", "2026-01-01T00:00:00", ""):
        condition = dataclasses.replace(ready, last_transition_time=text)
        status = dataclasses.replace(odd.status, conditions=(condition,))
        pod = dataclasses.replace(odd, status=status)
        assert replicas.deletion_order([pod], [pod], builders.NOW) == [pod]
        assert replicas.next_available([pod], 10, builders.NOW) is None
