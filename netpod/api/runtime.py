"""What a built-in container is told when it starts; shared by kubelet, shim and apps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """A declared port of a container: what an app needs of it, without all that netpod/api/pod.py imports."""

    container_port: int
    name: str = ""
    protocol: str = ""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """The container as it sees itself.

    Attributes:
        cluster: Name of the netpod cluster.
        pod_ip: The pod's address.
        args: The container's `args`.
        env: Its whole environment.
        ports: Its declared ports.
        ready: To be called once, when everything that should listen does.
    """

    cluster: str
    node: str
    namespace: str
    pod: str
    uid: str
    container: str
    pod_ip: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str]
    ports: tuple[Port, ...] = ()
    ready: Callable[[], None] = _nothing


App = Callable[[AppContext], int]
"""A built-in container: runs in the sandbox until SIGTERM and returns its exit code."""


def pod_ips(context: AppContext) -> tuple[str, ...]:
    """The pod's addresses, the primary first: those of variable POD_IPS (field status.podIPs), or the one known."""
    said = context.env.get("POD_IPS", "")
    return tuple(said.split(",")) if said else (context.pod_ip,)
