"""What a whole pod asks for, or may use at most: sums over its containers (pure).

    containers and sidecars together
    or the most that one init container needs beside the sidecars before it, whichever is more
    and the overhead of the pod's runtime class

Source: k8s.io/component-helpers resource/helpers.go PodRequests, PodLimits.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar

from netpod.api import quantity
from netpod.api.meta import IntOrString
from netpod.api.pod import Container, PodSpec

N = TypeVar("N", int, Fraction)
NOTHING = Fraction(0)


def total(spec: PodSpec, of: Callable[[Container], Mapping[str, N]]) -> dict[str, N]:
    """Amounts of all containers by resource name, without the overhead.

    Args:
        spec: The pod's.
        of: Amounts of one container by resource name.
    """
    found: dict[str, N] = {}
    for container in spec.containers:
        _add(found, of(container))
    sidecars: dict[str, N] = {}
    most: dict[str, N] = {}
    for container in spec.init_containers:
        own = dict(of(container))
        if container.restart_policy == "Always":
            _add(sidecars, own)
            own = dict(sidecars)
        else:
            _add(own, sidecars)
        for name, value in own.items():
            most[name] = max(most[name], value) if name in most else value
    _add(found, sidecars)
    for name, value in most.items():
        found[name] = max(found[name], value) if name in found else value
    return found


def _add(total: dict[str, N], more: Mapping[str, N]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def exact(amounts: Mapping[str, IntOrString]) -> dict[str, Fraction]:
    """Quantities as exact numbers; what is no quantity is left out."""
    found = {}
    for name, value in amounts.items():
        try:
            found[name] = quantity.parse(value)
        except ValueError:
            continue
    return found


def requests(spec: PodSpec) -> dict[str, Fraction]:
    """Exact requests of a pod."""
    found = total(spec, lambda container: exact(container.resources.requests))
    _add(found, exact(spec.overhead))
    return found


def limits(spec: PodSpec) -> dict[str, Fraction]:
    """Exact limits of a pod; overhead counts where there is a limit."""
    found = total(spec, lambda container: exact(container.resources.limits))
    _add(found, {name: value for name, value in exact(spec.overhead).items() if name in found})
    return found
