"""Start a built-in container: a fork of the shim inside the sandbox's namespaces.

Nothing is executed, so nothing is loaded: the child shares the shim's memory until it writes.
"""

import os
from collections.abc import Callable
from pathlib import Path

from netpod.api.runtime import App, AppContext
from netpod.shim import child, privileges


def start(
    app: App,
    describe: Callable[[Callable[[], None]], AppContext],
    *,
    directory: Path,
    pause: int,
    outputs: tuple[int, int],
    wake: int,
    share_pid: bool,
) -> int:
    """Fork a container and return its pid.

    Args:
        app: What runs in it.
        describe: Makes the container's context, given its `ready` function.
        directory: Its records.
        pause: Pidfd of the sandbox's pause process.
        outputs: Where its stdout and stderr go.
        wake: Where a byte goes when it is ready.
        share_pid: The pause process has a PID namespace, and the container joins it.
    """

    def body() -> int:
        child.own(directory)
        child.enter(pause)
        (wake_fd,) = child.standard_streams(None, *outputs, wake)
        privileges.drop()

        def ready() -> None:
            # The file first: whoever is woken, this shim or the next, looks for it.
            os.close(os.open(directory / "ready", os.O_WRONLY | os.O_CREAT, 0o600))
            os.write(wake_fd, b"r")

        context = describe(ready)
        child.environment(context.env)
        return app(context)

    if not share_pid:
        return child.fork(body)
    with child.children_in(pause):
        return child.fork(body)
