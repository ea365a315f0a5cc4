"""What a pod's status says, given what was observed."""

from dataclasses import replace

import pytest

from netpod.api import meta
from netpod.api.cri import Container as Seen
from netpod.api.cri import ContainerConfig, State
from netpod.api.meta import Condition, ObjectMeta
from netpod.api.pod import Container, Pod, PodReadinessGate, PodSpec
from netpod.api.pod_status import PodStatus
from netpod.kubelet import status
from netpod.kubelet.status import ContainerFacts, PodFacts

NOW = "2026-01-01T00:00:10Z"
START = "2026-01-01T00:00:01.500000Z"


def pod(policy: str = "Always", *, init: tuple[Container, ...] = (), count: int = 1) -> Pod:
    """A pod with containers c0, c1, ..."""
    names = tuple(Container(name=f"c{number}", image="x") for number in range(count))
    spec = PodSpec(containers=names, init_containers=init, restart_policy=policy)
    return Pod(metadata=ObjectMeta(name="p", namespace="d", uid="u", generation=3), spec=spec)


def running(**more: object) -> ContainerFacts:
    """A container that runs and is ready."""
    seen = Seen(config=ContainerConfig(id="a" * 64), started_at=START)
    return replace(ContainerFacts(seen=seen, started=True, ready=True), **more)  # type: ignore[arg-type]


def ended(code: int, **more: object) -> ContainerFacts:
    """A container that ended."""
    seen = Seen(
        config=ContainerConfig(id="b" * 64),
        state=State.EXITED,
        exit_code=code,
        reason="Error" if code else "Completed",
        started_at=START,
        finished_at=START,
    )
    return replace(ContainerFacts(seen=seen), **more)  # type: ignore[arg-type]


def compiled(subject: Pod, **containers: ContainerFacts) -> PodStatus:
    """Status of a pod whose sandbox is there."""
    facts = PodFacts(
        host_ips=("172.18.0.3",),
        pod_ips=("10.244.1.7",),
        sandbox_ready=True,
        started_at=NOW,
        now=NOW,
        containers=containers,
    )
    return status.compile(subject, facts)


@pytest.mark.parametrize(
    ("policy", "facts", "phase"),
    [
        ("Always", {}, "Pending"),
        ("Always", {"c0": running()}, "Pending"),
        ("Always", {"c0": running(), "c1": running()}, "Running"),
        ("Always", {"c0": ended(0), "c1": ended(0)}, "Running"),
        ("OnFailure", {"c0": ended(0), "c1": ended(0)}, "Succeeded"),
        ("OnFailure", {"c0": ended(0), "c1": ended(1)}, "Running"),
        ("Never", {"c0": ended(0), "c1": ended(1)}, "Failed"),
        ("Never", {"c0": ended(0), "c1": running()}, "Running"),
    ],
)
def test_phase(policy: str, facts: dict[str, ContainerFacts], phase: str) -> None:
    """The phase follows from the containers' states and the restart policy."""
    assert compiled(pod(policy, count=2), **facts).phase == phase


def test_a_crash_looping_pod_is_running() -> None:
    """A container that waits to be restarted counts as stopped, not as never started."""
    waiting = ended(1, waiting=("CrashLoopBackOff", "back-off 10s"), restarts=2)
    found = compiled(pod(), c0=waiting)
    assert found.phase == "Running"
    (container,) = found.container_statuses
    assert container.state.waiting is not None
    assert container.state.waiting.reason == "CrashLoopBackOff"
    assert container.last_state.terminated is not None
    assert container.restart_count == 2


def test_ready_needs_every_container() -> None:
    """One container that is not ready makes the pod not Ready, and is named."""
    found = compiled(pod(count=2), c0=running(), c1=running(ready=False))
    ready = meta.condition(found.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "ContainersNotReady")
    assert ready.message == "containers with unready status: [c1]"


def test_ready_needs_every_readiness_gate() -> None:
    """A gate's condition that is not True holds Ready back, but not ContainersReady."""
    subject = pod()
    gates = (PodReadinessGate(condition_type="x/y"),)
    subject = replace(subject, spec=replace(subject.spec, readiness_gates=gates))
    found = compiled(subject, c0=running())
    ready = meta.condition(found.conditions, "Ready")
    containers = meta.condition(found.conditions, "ContainersReady")
    assert ready is not None
    assert containers is not None
    assert (ready.reason, containers.status) == ("ReadinessGatesNotReady", "True")


def test_others_conditions_stay_and_times_change_only_with_status() -> None:
    """What somebody else wrote stays; a condition that did not change keeps its transition time."""
    old = "2025-01-01T00:00:00Z"
    conditions = (
        Condition(type="Ready", status="True", last_transition_time=old),
        Condition(type="x/y", status="Unknown"),
    )
    subject = replace(pod(), status=PodStatus(conditions=conditions))
    found = compiled(subject, c0=running()).conditions
    ready = meta.condition(found, "Ready")
    assert ready is not None
    assert ready.last_transition_time == old
    assert meta.condition(found, "x/y") == conditions[1]
    initialized = meta.condition(found, "Initialized")
    assert initialized is not None
    assert initialized.last_transition_time == NOW


def test_init_containers_hold_the_pod_back() -> None:
    """Until init containers completed the pod is Pending and its containers wait for them."""
    subject = pod(init=(Container(name="i", image="x"),))
    found = compiled(subject, i=running())
    assert found.phase == "Pending"
    waiting = found.container_statuses[0].state.waiting
    assert waiting is not None
    assert waiting.reason == "PodInitializing"
    done = compiled(subject, i=ended(0), c0=running())
    assert done.phase == "Running"
    assert done.init_container_statuses[0].ready


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    """Under restartPolicy Never a failed init container is the end."""
    subject = pod("Never", init=(Container(name="i", image="x"),))
    assert compiled(subject, i=ended(1)).phase == "Failed"


def test_a_sidecar_does_its_part_once_it_is_started() -> None:
    """An init container with restartPolicy Always need not end."""
    sidecar = Container(name="i", image="x", restart_policy="Always")
    subject = pod(init=(sidecar,))
    assert compiled(subject, i=running(), c0=running()).phase == "Running"


def test_a_finished_pod_keeps_what_only_the_api_server_remembers() -> None:
    """A kubelet that starts anew does not turn Succeeded back into ContainerCreating."""
    subject = pod("Never")
    done = compiled(subject, c0=ended(0))
    again = compiled(replace(subject, status=done))
    assert again.phase == "Succeeded"
    assert again.container_statuses == done.container_statuses


def test_a_pod_that_has_ended_keeps_its_address() -> None:
    """The sandbox is gone and the address free again; upstream's status says all the same what it was."""
    subject = pod("Never")
    done = replace(subject, status=compiled(subject, c0=ended(0)))
    facts = PodFacts(host_ips=("172.18.0.3",), now=NOW, containers={"c0": ended(0)})
    assert (status.compile(done, facts).pod_ip, status.compile(done, facts).phase) == (
        "10.244.1.7",
        "Succeeded",
    )
    lost = replace(subject, status=replace(done.status, phase="Running"))
    assert status.compile(lost, replace(facts, containers={"c0": running()})).pod_ip == ""


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (137, "Failed")])
def test_a_deleted_pod_ends_in_a_phase_that_says_how(code: int, phase: str) -> None:
    """Whatever its restart policy: whoever watches learns how it ended before it goes."""
    subject = pod("Always")
    last = replace(subject, status=compiled(subject, c0=running()))
    facts = PodFacts(host_ips=("172.18.0.3",), now=NOW, ended=True)
    found = status.compile(last, replace(facts, containers={"c0": ended(code)}))
    assert (found.phase, found.pod_ip) == (phase, "10.244.1.7")


def test_times_have_whole_seconds() -> None:
    """metav1.Time has no fractions."""
    state = compiled(pod(), c0=running()).container_statuses[0].state
    assert state.running is not None
    assert state.running.started_at == "2026-01-01T00:00:01Z"
