"""Start a built-in container: a fork inside the sandbox's namespaces.

Nothing is executed, so nothing is loaded: the child shares its parent's memory until it writes. Stand-ins are forked by
zygote.py, which has little of it; everything else by the shim itself.
"""

import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netpod.api.runtime import App, AppContext
from netpod.shim import child, privileges


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a container runs.

    Attributes:
        directory: Its records.
        pause: Pidfd of the sandbox's pause process.
        outputs: Where its stdout and stderr go.
        wake: Where a byte goes when it is ready.
    """

    directory: str
    pause: int
    outputs: tuple[int, int]
    wake: int


def start(app: App, facts: Mapping[str, Any], place: Place, *, share_pid: bool) -> int:
    """Fork a container and return its pid.

    Args:
        app: What runs in it.
        facts: Fields of the container's AppContext, all but `ready`.
        place: Where.
        share_pid: The pause process has a PID namespace, and the container joins it.
    """
    if not share_pid:
        return child.fork(lambda: run(app, facts, place))
    with child.children_in(place.pause):
        return child.fork(lambda: run(app, facts, place))


def run(app: App, facts: Mapping[str, Any], place: Place) -> int:
    """Be the container: in the process just forked for it."""
    child.own(place.directory)
    child.enter(place.pause)
    (wake_fd,) = child.standard_streams(None, *place.outputs, place.wake)
    privileges.drop()

    def ready() -> None:
        # The file first: whoever is woken, this shim or the next, looks for it.
        os.close(os.open(f"{place.directory}/ready", os.O_WRONLY | os.O_CREAT, 0o600))
        os.write(wake_fd, b"r")

    context = AppContext(**facts, ready=ready)
    child.environment(context.env)
    gc.enable()  # what was there at the fork is frozen, only what is new is looked at
    return app(context)


def complete(context: AppContext) -> int:
    """Stand in for a program that does its work and ends."""
    context.ready()
    return 0
