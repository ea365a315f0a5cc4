"""What came of a Pod: phase, conditions, addresses, container states.

Source: k8s.io/api core/v1/types.go PodStatus, ContainerStatus.
"""

from dataclasses import dataclass, field

from netpod.api.meta import Condition, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateWaiting(Struct):
    """Not running yet, or again; `reason` e.g. ContainerCreating, CrashLoopBackOff."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateRunning(Struct):
    """Running since `started_at`."""

    started_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateTerminated(Struct):
    """Ended; `reason` e.g. Completed, Error, ContainerStatusUnknown."""

    exit_code: int = always(0)
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState(Struct):
    """At most one of the three; none reads as waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus(Struct):
    """State of one container."""

    name: str = ""
    state: ContainerState = field(default_factory=ContainerState, metadata={"always": True})
    last_state: ContainerState = field(default_factory=ContainerState, metadata={"always": True})
    ready: bool = always(False)
    restart_count: int = always(0)
    image: str = always("")
    image_id: str = always("")
    container_id: str = ""
    started: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIP(Struct):
    """One address of the pod."""

    ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIP(Struct):
    """One address of the pod's node."""

    ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus(Struct):
    """`phase` is Pending, Running, Succeeded, Failed or Unknown."""

    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    host_ip: str = ""
    host_ips: tuple[HostIP, ...] = ()
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    start_time: str = ""
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""
