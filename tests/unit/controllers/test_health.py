"""Silent nodes, taints and evictions."""

from datetime import timedelta

import pytest

from netpod.api import meta
from netpod.api.node import Taint
from netpod.api.pod import PodSpec, Toleration
from netpod.controllers import health
from tests.unit.controllers import builders

UNREACHABLE = "node.kubernetes.io/unreachable"


def taint_names(found: tuple[Taint, ...]) -> list[str]:
    """Return taints as `key:effect` without the common prefix."""
    return [f"{t.key.removeprefix('node.kubernetes.io/')}:{t.effect}" for t in found]


def test_silent_node_is_unknown_with_upstreams_words() -> None:
    """Ready=Unknown, NodeStatusUnknown; conditions never posted say so."""
    status = health.silent(builders.node().status, builders.NOW)
    ready = meta.condition(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")
    assert ready.message == "Kubelet stopped posting node status."
    memory = meta.condition(status.conditions, "MemoryPressure")
    assert memory is not None
    assert memory.reason == "NodeStatusNeverUpdated"


@pytest.mark.parametrize(
    ("ready", "evict", "expected"),
    [
        ("True", False, []),
        ("", False, []),
        ("False", False, ["not-ready:NoSchedule"]),
        ("False", True, ["not-ready:NoSchedule", "not-ready:NoExecute"]),
        ("Unknown", True, ["unreachable:NoSchedule", "unreachable:NoExecute"]),
    ],
)
def test_taints_follow_readiness(ready: str, evict: bool, expected: list[str]) -> None:
    """NoSchedule at once, NoExecute when the rate allows it."""
    assert taint_names(health.taints(builders.node(ready=ready), evict, builders.NOW)) == expected


def test_recovered_node_loses_our_taints_and_keeps_others() -> None:
    """A user's taint is not ours to take away."""
    mine = Taint(key="dedicated", value="db", effect="NoSchedule")
    ours = Taint(key=UNREACHABLE, effect="NoExecute", time_added=builders.ago(10))
    assert health.taints(builders.node(taints=(ours, mine)), False, builders.NOW) == (mine,)


def test_cordoned_node_is_tainted() -> None:
    """spec.unschedulable becomes the taint unschedulable."""
    cordoned = builders.node(unschedulable=True)
    assert taint_names(health.taints(cordoned, False, builders.NOW)) == ["unschedulable:NoSchedule"]


@pytest.mark.parametrize(
    ("ready", "total", "down", "expected"),
    [
        (3, 4, False, 10.0),
        (0, 3, True, None),
        (1, 4, False, None),
        (20, 60, False, 100.0),
        (0, 1, False, 10.0),
    ],
)
def test_eviction_slows_down_as_more_of_a_zone_is_down(
    ready: int, total: int, down: bool, expected: float | None
) -> None:
    """0.1/s normally, 0.01/s or nothing where most of a zone is gone, nothing when all is."""
    states = ["True"] * ready + ["Unknown"] * (total - ready)
    assert health.eviction_interval(states, down) == expected


def test_pod_stays_for_its_toleration_seconds() -> None:
    """300 s from when the taint was added; forever without a limit; not at all without a toleration."""
    taint = Taint(key=UNREACHABLE, effect="NoExecute", time_added=builders.ago(100))

    def end(*tolerations: Toleration) -> object:
        pod = builders.pod("a", spec=PodSpec(tolerations=tolerations))
        return health.eviction_time(pod, (taint,), builders.NOW)

    limited = Toleration(
        key=UNREACHABLE, operator="Exists", effect="NoExecute", toleration_seconds=300
    )
    assert end(limited) == builders.NOW + timedelta(seconds=200)
    assert end(Toleration(operator="Exists")) is None
    assert end() == builders.NOW
