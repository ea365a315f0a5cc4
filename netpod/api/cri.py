"""What kubelet and shim say to each other: requests, and the sandboxes and containers they are about.

One request or report is a frame: four bytes of length (big endian), then JSON. A request carries `op` and `id`; its
answer carries the same `id` and either `ok` or `error`. After `watch` the shim also sends reports without an `id`
whenever a sandbox or a container changes. Source: the ideas are CRI's, k8s.io/cri-api runtime/v1 api.proto.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from netpod.api.meta import EMPTY, Struct
from netpod.api.pod import ContainerPort

HEADER = struct.Struct(">I")
FRAME_LIMIT = 16 << 20
"""Longest frame in bytes; a longer one is a broken peer."""

COMPLETES = "netpod.dev/complete"
"""App that does nothing and ends with 0: stands in for init containers."""

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)
"""What a container may have at most. Source: containerd oci/spec.go defaultUnixCaps."""

CANNOT_START = 128
"""Exit code of a container that an OCI runtime could not start; its reason is StartError. Source: containerd cri."""

SIZE = struct.Struct("<HH")
"""Width and height of a terminal in characters, as written to the FIFO `size` beside a container's records."""

NO_SUCH_EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "
"""What `exec` writes first when there is no such program, or it may not be run. Source: runc."""

UNKNOWN_EXIT = 137
"""Exit code of a container whose end nobody saw. Source: kubelet_pods.go, ContainerStatusUnknown."""


class Op(StrEnum):
    """What can be asked of a shim."""

    RUN_SANDBOX = "runSandbox"
    STOP_SANDBOX = "stopSandbox"
    START_CONTAINER = "startContainer"
    SIGNAL = "signal"
    REMOVE_CONTAINER = "removeContainer"
    LIST = "list"
    STATS = "stats"
    WATCH = "watch"
    EXEC = "exec"
    SHUTDOWN = "shutdown"


class State(StrEnum):
    """Where a sandbox or a container is in its life."""

    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig(Struct):
    """A pod's namespaces to be.

    Attributes:
        id: Chosen by the kubelet; 64 hexadecimal digits.
        attempt: 0 for the pod's first sandbox, one more for each that replaced a dead one.
        netns: Name of the network namespace below /run/netns; with `host_network` the node's, or "" for the shim's own.
        share_pid: The containers see each other's processes; the pause process is their number 1.
        etc: Directory with the pod's `resolv.conf`, `hosts` and `hostname`, which containers see below /etc.
        sysctls: Kernel parameters of the namespaces, by name with dots.
    """

    id: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    attempt: int = 0
    hostname: str = ""
    netns: str = ""
    host_network: bool = False
    share_pid: bool = False
    etc: str = ""
    sysctls: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox(Struct):
    """A pod's namespaces as they are; `pid` is the pause process."""

    config: SandboxConfig = field(default_factory=SandboxConfig)
    pid: int = 0
    state: str = State.RUNNING
    created_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount(Struct):
    """A file or directory of the machine as the container sees it."""

    source: str = ""
    destination: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Struct):
    """What an OCI runtime starts.

    Attributes:
        rootfs: Directory of the image's files; "" is the machine's own root file system.
        read_only: The container cannot write to its root file system; what it writes otherwise ends with it.
        argv: Program, found by PATH, and its arguments.
        working_dir: Where it starts; "" is /.
        groups: Beside `gid`.
        drop: Capabilities of the default set it does not get, `CAP_` and all.
        stdin: It has a standard input, the FIFO `stdin` beside its records; else /dev/null.
        stdin_once: That ends when somebody writes to the FIFO `eof` beside it; else never.
        tty: Its standard streams are a terminal.
        message_path: File in the container whose content, when it ends, is its message.
        message_from_log: Without such content, the end of the log of one that failed is its message.
    """

    rootfs: str = ""
    read_only: bool = False
    argv: tuple[str, ...] = ()
    working_dir: str = ""
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    drop: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    message_path: str = ""
    message_from_log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources(Struct):
    """Limits of a container; 0 is none.

    Attributes:
        cpu_shares: Weight as cgroup v1 counts it, 2 to 262144.
        cpu_quota: Microseconds of processor time per 100 ms.
        memory: Bytes.
    """

    cpu_shares: int = 0
    cpu_quota: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig(Struct):
    """A container to be.

    Attributes:
        id: Chosen by the kubelet; 64 hexadecimal digits.
        attempt: The pod's restart count of this container.
        app: Which built-in program runs; "" is the stand-in.
        program: Runs instead of a built-in one, through an OCI runtime.
        hash: Of the container's spec; another spec is another container.
        log: Path of the log file.
        target: Id of the container whose processes a `program` sees; "" for its own or the pod's.
    """

    id: str = ""
    sandbox_id: str = ""
    name: str = ""
    attempt: int = 0
    image: str = ""
    app: str = ""
    hash: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = EMPTY
    ports: tuple[ContainerPort, ...] = ()
    pod_ip: str = field(default="", metadata={"json": "podIP"})
    log: str = ""
    program: Program | None = None
    resources: Resources | None = None
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Struct):
    """A container as it is.

    Attributes:
        pid: Its first process, which leads a session of its own; 0 while an OCI runtime makes it.
        ready: It said that it listens; a `program`, which cannot say so, has started.
        exit_code: Of an exited one; 128 + signal when a signal ended it.
        reason: Of an exited one: Completed, Error, OOMKilled, StartError or ContainerStatusUnknown.
        message: What it left as its last words, or why it could not be started.
        unlimited: Controllers that its limits need and this machine lacks.
        started_at: RFC 3339 with microseconds, as `finished_at`.
    """

    config: ContainerConfig = field(default_factory=ContainerConfig)
    pid: int = 0
    state: str = State.RUNNING
    ready: bool = False
    started_at: str = ""
    finished_at: str = ""
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    unlimited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats(Struct):
    """What a running container has used and holds.

    Attributes:
        id: The container's; "" stands for the shim itself.
        cpu: Nanoseconds of processor time so far.
        memory: Bytes that are its own: its cgroup's working set, else its processes' proportional set size.
        resident: Bytes in memory, shared pages counted in full.
        processes: How many it has.
    """

    id: str = ""
    cpu: int = 0
    memory: int = 0
    resident: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecConfig(Struct):
    """A program to run inside a pod; the request brings stdin, stdout and stderr as file descriptors.

    Attributes:
        container_id: What it is run in: a `program`'s own namespaces and files, a built-in container's sandbox with
            the machine's files; "" when `sandbox_id` is given.
        tty: The file descriptors are a terminal made for this program alone.
    """

    sandbox_id: str = ""
    container_id: str = ""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = EMPTY
    tty: bool = False


def pack(message: Mapping[str, Any]) -> bytes:
    """Return the frame of a message."""
    body = orjson.dumps(message)
    return HEADER.pack(len(body)) + body


def unpack(buffer: bytearray) -> list[dict[str, Any]]:
    """Take every whole frame off the front of `buffer` and return the messages.

    Raises:
        ValueError: a frame is longer than FRAME_LIMIT, or is not a JSON object.
    """
    messages: list[dict[str, Any]] = []
    while len(buffer) >= HEADER.size:
        (length,) = HEADER.unpack_from(buffer)
        if length > FRAME_LIMIT:
            raise ValueError(f"frame of {length} bytes")
        end = HEADER.size + length
        if len(buffer) < end:
            break
        message = orjson.loads(bytes(buffer[HEADER.size : end]))
        del buffer[:end]
        if not isinstance(message, dict):
            raise ValueError("frame is not an object")
        messages.append(message)
    return messages
