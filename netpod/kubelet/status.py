"""Observed facts -> PodStatus (pure).

    phase       from the containers' states: see `phase`
    conditions  PodReadyToStartContainers, Initialized, Ready, ContainersReady, PodScheduled
    containers  waiting, running or terminated; the end before this run in lastState

Source: kubernetes pkg/kubelet/kubelet_pods.go getPhase, pkg/kubelet/status/generate.go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netpod.api import meta
from netpod.api.cri import Container as Seen
from netpod.api.cri import State
from netpod.api.meta import Condition
from netpod.api.pod import Container, Pod
from netpod.api.pod_status import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    PodIP,
    PodStatus,
)
from netpod.api.structs import replace

RUNTIME = "netpod"
FINISHED = ("Succeeded", "Failed")
OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""Condition types the kubelet writes; others are somebody else's and stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """One container as seen by its worker.

    Attributes:
        seen: Its latest instance, None before the first.
        last: The instance before that, ended.
        restarts: How often it was started again.
        waiting: Reason and message when it should run and does not; ("", "") otherwise.
        started: Its startup probe succeeded, or it has none and runs.
        ready: It is started and its readiness probe succeeds, or it has none and listens.
    """

    seen: Seen | None = None
    last: Seen | None = None
    restarts: int = 0
    waiting: tuple[str, str] = ("", "")
    started: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod as seen by its worker.

    Attributes:
        host_ips: The node's addresses, the primary first.
        pod_ips: The pod's; empty while it has none.
        sandbox_ready: Namespaces and network are there.
        started_at: When the kubelet first saw the pod, RFC 3339.
        now: The present moment, RFC 3339.
        containers: By name, init containers too.
        failed: Reason and message when the pod as a whole has failed.
        rejected: It failed because the node does not take it; nothing is said of its containers.
        ended: The pod is deleted, and none of its containers runs any more.
    """

    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...] = ()
    sandbox_ready: bool = False
    started_at: str = ""
    now: str = ""
    containers: Mapping[str, ContainerFacts] = field(default_factory=dict)
    failed: tuple[str, str] = ("", "")
    rejected: bool = False
    ended: bool = False


def compile(pod: Pod, facts: PodFacts) -> PodStatus:
    """Return the pod's status; what did not change keeps its transition time, what is not ours stays."""
    spec = pod.spec
    kept = _kept(pod, facts)
    init = tuple(
        kept.get(item.name) or _container(item, facts, initializing=True)
        for item in spec.init_containers
    )
    initialized = is_initialized(spec.init_containers, init)
    main = tuple(
        kept.get(item.name) or _container(item, facts, initialized=initialized)
        for item in spec.containers
    )
    debuggers = tuple(
        kept.get(item.name) or _container(item, facts) for item in spec.ephemeral_containers
    )
    old = pod.status
    pod_phase = phase(pod, init, main)
    if facts.failed[0]:
        pod_phase = "Failed"
    elif facts.ended and pod_phase not in FINISHED:
        pod_phase = "Succeeded" if all(map(_succeeded, main)) else "Failed"
    pod_ips = facts.pod_ips
    if not pod_ips and pod_phase in FINISHED:
        # Its address is free again, and stays what it had.
        pod_ips = tuple(it.ip for it in old.pod_ips)
    return replace(
        old,
        observed_generation=pod.metadata.generation,
        phase=pod_phase,
        reason=facts.failed[0] or old.reason,
        message=facts.failed[1] or old.message,
        conditions=_conditions(pod, facts, pod_phase, initialized, init, main),
        host_ip=facts.host_ips[0],
        host_ips=tuple(HostIP(ip=it) for it in facts.host_ips),
        pod_ip="".join(pod_ips[:1]),
        pod_ips=tuple(PodIP(ip=it) for it in pod_ips),
        start_time=old.start_time or facts.started_at,
        init_container_statuses=() if facts.rejected else init,
        container_statuses=() if facts.rejected else main,
        ephemeral_container_statuses=tuple(
            replace(debugger, ready=False, started=None) for debugger in debuggers
        ),
    )


def is_sidecar(container: Container) -> bool:
    """Whether an init container keeps running beside the others."""
    return container.restart_policy == "Always"


def is_initialized(containers: Sequence[Container], statuses: Sequence[ContainerStatus]) -> bool:
    """Whether every init container has done its part: completed, or started if it is a sidecar."""
    return all(
        status.started is True if is_sidecar(item) else _succeeded(status)
        for item, status in zip(containers, statuses, strict=True)
    )


def phase(pod: Pod, init: Sequence[ContainerStatus], main: Sequence[ContainerStatus]) -> str:
    """Return the pod's phase.

    A container that waits to be restarted counts as stopped, so a crash-looping pod is Running.
    """
    policy = pod.spec.restart_policy or "Always"
    if pod.status.phase in FINISHED:
        return pod.status.phase
    for item, status in zip(pod.spec.init_containers, init, strict=True):
        if is_sidecar(item):
            continue
        if not _succeeded(status):
            ended = status.state.terminated or status.last_state.terminated
            failed = ended is not None and ended.exit_code != 0 and status.state.running is None
            return "Failed" if failed and policy == "Never" else "Pending"
    running = stopped = succeeded = 0
    for status in main:
        if status.state.running is not None:
            running += 1
        elif status.state.terminated is not None:
            stopped += 1
            succeeded += status.state.terminated.exit_code == 0
        elif status.last_state.terminated is not None:
            stopped += 1
        else:
            return "Pending"
    if running or policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _kept(pod: Pod, facts: PodFacts) -> Mapping[str, ContainerStatus]:
    """Statuses of a finished pod's containers that nobody but the API server remembers."""
    old = pod.status
    if old.phase not in FINISHED:
        return {}
    everything = (
        *old.init_container_statuses,
        *old.container_statuses,
        *old.ephemeral_container_statuses,
    )
    known = {name for name, item in facts.containers.items() if item.seen is not None}
    return {status.name: status for status in everything if status.name not in known}


def _succeeded(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and ended.exit_code == 0


def _container(
    container: Container, facts: PodFacts, *, initializing: bool = False, initialized: bool = True
) -> ContainerStatus:
    known = facts.containers.get(container.name, ContainerFacts())
    seen = known.seen
    last = ContainerState()
    if known.last is not None:
        last = ContainerState(terminated=_terminated(known.last))
    if known.waiting[0]:
        reason, message = known.waiting
        state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
        if seen is not None:
            last = ContainerState(terminated=_terminated(seen))
    elif seen is None:
        waits = "PodInitializing" if not initialized or initializing else "ContainerCreating"
        state = ContainerState(waiting=ContainerStateWaiting(reason=waits))
    elif seen.state == State.RUNNING:
        state = ContainerState(running=ContainerStateRunning(started_at=_second(seen.started_at)))
    else:
        state = ContainerState(terminated=_terminated(seen))
    running = state.running is not None
    ready = known.ready and running
    if initializing and not is_sidecar(container):
        ready = state.terminated is not None and state.terminated.exit_code == 0
    return ContainerStatus(
        name=container.name,
        state=state,
        last_state=last,
        ready=ready,
        restart_count=known.restarts,
        image=container.image,
        image_id=container.image if seen is not None else "",
        container_id=f"{RUNTIME}://{seen.config.id}" if seen is not None else "",
        started=known.started and running,
    )


def _terminated(seen: Seen) -> ContainerStateTerminated:
    unknown = seen.reason == "ContainerStatusUnknown"
    message = "The container could not be located when it ended" if unknown else seen.message
    return ContainerStateTerminated(
        exit_code=seen.exit_code,
        signal=seen.signal,
        reason=seen.reason or "Completed",
        message=message,
        started_at=_second(seen.started_at),
        finished_at=_second(seen.finished_at),
        container_id=f"{RUNTIME}://{seen.config.id}",
    )


def _second(moment: str) -> str:
    return meta.timestamp(meta.parse_timestamp(moment)) if moment else ""


def _conditions(
    pod: Pod,
    facts: PodFacts,
    pod_phase: str,
    initialized: bool,
    init: Sequence[ContainerStatus],
    main: Sequence[ContainerStatus],
) -> tuple[Condition, ...]:
    unready = [status.name for status in main if not status.ready]
    uninitialized = [
        status.name
        for item, status in zip(pod.spec.init_containers, init, strict=True)
        if not (status.started if is_sidecar(item) else _succeeded(status))
    ]
    if pod_phase in FINISHED:
        why = "PodCompleted" if pod_phase == "Succeeded" else "PodFailed"
        containers = Condition(status="False", reason=why)
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        containers = Condition(status="False", reason="ContainersNotReady", message=message)
    else:
        containers = Condition(status="True")
    ready = containers
    missing = [gate for gate in _gates(pod) if not _is_true(pod.status.conditions, gate)]
    if containers.status == "True" and missing:
        message = "; ".join(
            f'condition of readiness gate "{gate}" is not "True"' for gate in missing
        )
        ready = Condition(status="False", reason="ReadinessGatesNotReady", message=message)
    done = initialized or pod_phase == "Succeeded"
    initial = Condition(status="True") if done else Condition(status="False")
    if not done:
        message = f"containers with incomplete status: [{' '.join(uninitialized)}]"
        initial = replace(initial, reason="ContainersNotInitialized", message=message)
    fresh = {
        "PodReadyToStartContainers": Condition(status=_word(facts.sandbox_ready)),
        "Initialized": initial,
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": Condition(status="True"),
    }
    ours = [_dated(pod, replace(fresh[type_], type=type_), facts.now) for type_ in OURS]
    others = [item for item in pod.status.conditions if item.type not in fresh]
    return (*ours, *others)


def _gates(pod: Pod) -> Iterable[str]:
    return (gate.condition_type for gate in pod.spec.readiness_gates)


def _is_true(conditions: tuple[Condition, ...], type_: str) -> bool:
    found = meta.condition(conditions, type_)
    return found is not None and found.status == "True"


def _dated(pod: Pod, fresh: Condition, now: str) -> Condition:
    old = meta.condition(pod.status.conditions, fresh.type)
    same = old is not None and old.status == fresh.status
    moment = old.last_transition_time if same and old is not None else now
    return replace(fresh, last_transition_time=moment or now)


def _word(fact: bool) -> str:
    return "True" if fact else "False"
