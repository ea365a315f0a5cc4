"""Which machines a cluster has (pure): what `netpod node add|delete|stop|start` changes in its configuration.

A machine keeps its number, and with it its address on the underlay, for as long as it exists.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from netpod.errors import NotFound, UsageError
from netpod.paths import Paths

CONTROL_PLANE = "control-plane"
_RESERVED = ("outside", "edge", "underlay")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# struct sockaddr_un has room for 107 characters. Source: unix(7).
_LONGEST_SOCKET = 107


class Power(StrEnum):
    """What shall be of a machine. `leaving` is off, and to be removed: a removal that was cut short goes on."""

    ON = "on"
    OFF = "off"
    LEAVING = "leaving"


_VERBS = {Power.ON: "start", Power.OFF: "stop", Power.LEAVING: "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine: `number` 0 is the control plane's."""

    name: str
    number: int
    power: Power = Power.ON


def first(workers: int) -> tuple[Machine, ...]:
    """The machines a cluster begins with: control-plane, worker, worker2, ..."""
    names = [CONTROL_PLANE, *(_worker(number) for number in range(1, workers + 1))]
    return tuple(Machine(name=name, number=number) for number, name in enumerate(names))


def load(rows: Sequence[dict[str, object]]) -> tuple[Machine, ...]:
    """Read machines as they stand in config.json."""
    return tuple(
        Machine(name=str(it["name"]), number=int(str(it["number"])), power=Power(str(it["power"])))
        for it in rows
    )


def added(machines: Sequence[Machine], name: str, cluster: str) -> tuple[Machine, ...]:
    """The machines and one more, at the lowest number that is free.

    Args:
        machines: Those there are.
        name: Of the new one; "" for the next worker's.
        cluster: Name of the cluster.

    Raises:
        UsageError: no node can have that name.
    """
    known = {it.name for it in machines}
    if not name:
        name = next(it for it in map(_worker, range(1, len(machines) + 2)) if it not in known)
    _check(name, known, cluster)
    numbers = {it.number for it in machines}
    number = next(it for it in range(1, len(machines) + 2) if it not in numbers)
    return tuple(sorted((*machines, Machine(name=name, number=number)), key=lambda it: it.number))


def with_power(machines: Sequence[Machine], name: str, power: Power) -> tuple[Machine, ...]:
    """The machines with one of them switched.

    Raises:
        NotFound: there is none of that name.
        UsageError: it is the control plane's.
    """
    found = next((it for it in machines if it.name == name), None)
    if found is None:
        raise NotFound(
            f'nodes "{name}" not found; there are {", ".join(it.name for it in machines)}'
        )
    if not found.number:
        raise UsageError(
            f"cannot {_VERBS[power]} node {name}: the API server is reached through it; "
            "netpod stop and netpod start are for the whole cluster"
        )
    if found.power is Power.LEAVING and power is not Power.LEAVING:
        raise UsageError(
            f"cannot {_VERBS[power]} node {name}: it is being deleted; netpod node delete ends that"
        )
    return tuple(replace(it, power=power) if it is found else it for it in machines)


def without(machines: Sequence[Machine], name: str) -> tuple[Machine, ...]:
    """The machines but one."""
    return tuple(it for it in machines if it.name != name)


def _worker(number: int) -> str:
    return "worker" if number == 1 else f"worker{number}"


def _check(name: str, known: set[str], cluster: str) -> None:
    what = f"cannot add node {name!r}"
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what}: lower case letters, digits and '-', at most 63 characters, beginning and ending with a "
            "letter or digit"
        )
    if name in known:
        raise UsageError(f"{what}: there is one of that name")
    if name in _RESERVED:
        raise UsageError(f"{what}: the network namespace of that name is netpod's own")
    if len(str(Paths(cluster).shim_socket(name))) > _LONGEST_SOCKET:
        raise UsageError(f"{what}: with cluster {cluster} the path of its sockets gets too long")
    for other in sorted(known):
        if other.startswith(f"{name}-") or name.startswith(f"{other}-"):
            raise UsageError(
                f"{what}: its pods' network namespaces could be taken for those of node {other}; choose a name "
                "that does not go on with '-' where the other ends"
            )
