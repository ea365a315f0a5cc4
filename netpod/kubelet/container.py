"""What to start for a container of a pod: which program, with which limits, on which ports."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from netpod.api import codec, cri, quantity
from netpod.api.cri import Resources
from netpod.api.pod import Container, ContainerPort, Probe
from netpod.kubelet import probe as probes
from netpod.kubelet.refusal import CannotStart

ECHO = "netpod.dev/echo"
HOST = "netpod.dev/host"
BUILT_IN = frozenset({ECHO, "netpod.dev/dns", "netpod.dev/ingress"})
CPU_PERIOD = 100_000
"""Microseconds over which a limit of processor time counts. Source: kubelet's cpu-cfs-quota-period."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs.

    Attributes:
        app: Name the shim knows it by; "" for what an OCI runtime starts.
        stands_in: It takes the place of an image that is not here.
    """

    app: str
    stands_in: bool


def repository(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def built_in(image: str) -> bool:
    """Whether an image is one of netpod's own programs."""
    return repository(image) in BUILT_IN


def choose(container: Container, *, stand_in: bool, completes: bool) -> Program:
    """Decide what runs for a container.

    Args:
        container: Its image decides.
        stand_in: Whether images that are not here are stood in for.
        completes: It is an init container: what stands in for it does nothing and ends well.

    Raises:
        CannotStart: nothing can.
    """
    name = repository(container.image)
    if name == HOST:
        if not (container.command or container.args):
            raise CannotStart("CreateContainerError", "no command specified")
        return Program("", stands_in=False)
    if name in BUILT_IN:
        return Program(name, stands_in=False)
    if not stand_in:
        message = f'Failed to pull image "{container.image}": it is not on this machine'
        raise CannotStart("ErrImagePull", message)
    return Program(cri.COMPLETES if completes else ECHO, stands_in=True)


def ports(container: Container, program: Program) -> tuple[ContainerPort, ...]:
    """Return the ports the program listens on: the declared ones, and for a stand-in those its probes ask."""
    declared = {(port.protocol or "TCP", port.container_port): port for port in container.ports}
    if program.stands_in:
        for asked in (container.startup_probe, container.liveness_probe, container.readiness_probe):
            number = _probe_port(asked, container.ports)
            if number:
                extra = ContainerPort(container_port=number, protocol="TCP")
                declared.setdefault(("TCP", number), extra)
    return tuple(
        replace(port, protocol=protocol, unknown={}) for (protocol, _), port in declared.items()
    )


def _probe_port(probe: Probe | None, declared: tuple[ContainerPort, ...]) -> int:
    if probe is None:
        return 0
    action = probe.http_get or probe.tcp_socket
    if action is not None and not action.host:
        try:
            return probes.resolve(action.port, declared)
        except ValueError:
            return 0
    return 0


def spec_hash(container: Container) -> str:
    """Return a hash of the container's spec: with another one, the container is started anew."""
    text = orjson.dumps(codec.encode(container), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


def resources(container: Container) -> Resources | None:
    """Return a container's limits; None when it has none.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go MilliCPUToShares, MilliCPUToQuota.
    """
    limits, requests = container.resources.limits, container.resources.requests
    limit, request = _milli(limits, "cpu"), _milli(requests, "cpu") or _milli(limits, "cpu")
    found = Resources(
        cpu_shares=min(max(2, request * 1024 // 1000), 262_144) if request else 0,
        cpu_quota=max(1000, limit * CPU_PERIOD // 1000) if limit else 0,
        memory=quantity.value(limits["memory"]) if limits.get("memory") else 0,
    )
    return None if found == Resources() else found


def _milli(amounts: Mapping[str, int | str], name: str) -> int:
    return quantity.milli(amounts[name]) if amounts.get(name) else 0
