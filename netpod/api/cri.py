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
        etc: Directory with the pod's `resolv.conf` and `hosts`, which what `exec` runs sees below /etc.
    """

    id: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    attempt: int = 0
    hostname: str = ""
    netns: str = ""
    host_network: bool = False
    etc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox(Struct):
    """A pod's namespaces as they are; `pid` is the pause process."""

    config: SandboxConfig = field(default_factory=SandboxConfig)
    pid: int = 0
    state: str = State.RUNNING
    created_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig(Struct):
    """A container to be.

    Attributes:
        id: Chosen by the kubelet; 64 hexadecimal digits.
        attempt: The pod's restart count of this container.
        app: Which built-in program runs; "" is the stand-in.
        hash: Of the container's spec; another spec is another container.
        log: Path of the log file.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Struct):
    """A container as it is.

    Attributes:
        pid: Its first process, which leads a session of its own.
        ready: It said that it listens.
        exit_code: Of an exited one; 128 + signal when a signal ended it.
        reason: Of an exited one: Completed, Error or ContainerStatusUnknown.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecConfig(Struct):
    """A host program to run inside a pod; the request brings stdin, stdout and stderr as file descriptors.

    Attributes:
        container_id: Its sandbox is entered; "" when `sandbox_id` is given.
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
