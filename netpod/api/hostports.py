"""Ports of the node that pods ask for: which, and whether two pods may share a node (pure).

Source: kubernetes pkg/scheduler/framework/types.go HostPortInfo.
"""

from collections.abc import Iterable

from netpod.api.pod import Pod

HostPort = tuple[str, int, str]
"""Protocol, port, host address; "" or 0.0.0.0 is every address."""


def of(pod: Pod) -> tuple[HostPort, ...]:
    """Return the host ports of a pod's containers."""
    return tuple(
        (port.protocol or "TCP", port.host_port, port.host_ip)
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    )


def conflict(wanted: Iterable[HostPort], used: Iterable[HostPort]) -> bool:
    """Tell whether two sets of host ports collide; every address collides with each."""
    anywhere = ("", "0.0.0.0", "::")
    taken = list(used)
    return any(
        protocol == other
        and port == number
        and (ip == address or ip in anywhere or address in anywhere)
        for protocol, port, ip in wanted
        for other, number, address in taken
    )
