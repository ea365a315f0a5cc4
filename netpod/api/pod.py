"""Pod: containers that share one sandbox. What the author asks for; pod_status.py has what came of it.

Source: k8s.io/api core/v1/types.go PodSpec, Container, Probe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from netpod.api.core import LocalObjectReference
from netpod.api.meta import (
    EMPTY,
    IntOrString,
    Json,
    LabelSelector,
    Object,
    ObjectMeta,
    Struct,
    always,
)
from netpod.api.pod_status import PodStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort(Struct):
    """A port the container listens on."""

    name: str = ""
    host_port: int = 0
    container_port: int = 0
    protocol: str = ""
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar(Struct):
    """An environment variable; `value_from` is a source kept as written."""

    name: str = ""
    value: str = ""
    value_from: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequirements(Struct):
    """Quantities by resource name."""

    limits: Mapping[str, IntOrString] = EMPTY
    requests: Mapping[str, IntOrString] = EMPTY
    claims: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPHeader(Struct):
    """One request header of a probe."""

    name: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPGetAction(Struct):
    """GET `scheme://host:port/path`; host defaults to the pod's address, port may be a name."""

    path: str = ""
    port: IntOrString = 0
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPSocketAction(Struct):
    """A TCP connect."""

    port: IntOrString = 0
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecAction(Struct):
    """A command run in the container."""

    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCAction(Struct):
    """grpc.health.v1 Check of `service`."""

    port: int = 0
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Struct):
    """How the kubelet asks a container how it is. Seconds; thresholds count consecutive results."""

    exec_: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0
    termination_grace_period_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleHandler(Struct):
    """What a hook does."""

    exec_: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle(Struct):
    """Hooks around a container's life."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Struct):
    """One program in the sandbox."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[Json, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = field(
        default_factory=ResourceRequirements, metadata={"always": True}
    )
    restart_policy: str | None = None
    resize_policy: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()
    volume_devices: tuple[Json, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: Json = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralContainer(Container):
    """A container added to a running pod; it may see the processes of `target_container_name`."""

    target_container_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration(Struct):
    """Lets a pod onto, or stay on, a tainted node; operator Equal (default) or Exists."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity(Struct):
    """Node and pod affinity, kept as written; the scheduler reads them."""

    node_affinity: Json = None
    pod_affinity: Json = None
    pod_anti_affinity: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySpreadConstraint(Struct):
    """How evenly matching pods spread over the values of a node label."""

    max_skew: int = 0
    topology_key: str = ""
    when_unsatisfiable: str = ""
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDNSConfigOption(Struct):
    """One option of resolv.conf."""

    name: str = ""
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDNSConfig(Struct):
    """Appended to what dnsPolicy gives."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAlias(Struct):
    """A line of /etc/hosts."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReadinessGate(Struct):
    """A condition that must be True before the pod is Ready."""

    condition_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSchedulingGate(Struct):
    """While a pod has one, it is not scheduled."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Struct):
    """A named volume; its source is kept as written in `unknown`."""

    OPEN: ClassVar[bool] = True
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec(Struct):
    """What should run, and where it may."""

    SHARED: ClassVar[bool] = True
    volumes: tuple[Volume, ...] = ()
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = always(())
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Mapping[str, str] = EMPTY
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    host_network: bool = False
    host_pid: bool = field(default=False, metadata={"json": "hostPID"})
    host_ipc: bool = field(default=False, metadata={"json": "hostIPC"})
    share_process_namespace: bool | None = None
    security_context: Json = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    affinity: Affinity | None = None
    scheduler_name: str = ""
    tolerations: tuple[Toleration, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    preemption_policy: str | None = None
    dns_config: PodDNSConfig | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    runtime_class_name: str | None = None
    enable_service_links: bool | None = None
    overhead: Mapping[str, IntOrString] = EMPTY
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    set_hostname_as_fqdn: bool | None = field(default=None, metadata={"json": "setHostnameAsFQDN"})
    os: Json = None
    host_users: bool | None = None
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    resource_claims: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(Object):
    """Containers that share one sandbox: network, IPC and host name."""

    api_version: str = always("v1")
    kind: str = always("Pod")
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplateSpec(Struct):
    """The pod a workload makes copies of."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)
