"""kill -9 of the shim at any line leaves nothing that nobody owns."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import netpod.shim
from netpod.api.cri import Op, State
from netpod.linux import netns
from tests.kernel.shim import lab as labs
from tests.kernel.shim.lab import Lab

HERE = str(Path(netpod.shim.__file__).parent)
POINTS = 12
LAST = 1000
"""About as many lines as the requests take."""


def _die_after(lines: int) -> Callable[[], None]:
    """Make the shim end itself after so many lines of its own code; lines of its children count for themselves."""

    def arm() -> None:
        shim = os.getpid()
        left = lines

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.startswith(HERE):
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    # Whoever is at this line, the shim or the container it just forked.
                    os.kill(shim, signal.SIGKILL)
            return trace

        sys.settrace(trace)

    return arm


def _requests(lab: Lab) -> None:
    lab.sandbox()
    lab.container()
    lab.call(Op.LIST)
    lab.ok(Op.SIGNAL, container="c", signal=signal.SIGKILL)
    lab.ended()
    lab.ok(Op.REMOVE_CONTAINER, container="c")
    lab.container("d")
    lab.ok(Op.STOP_SANDBOX, sandbox="sandbox-p")


@pytest.mark.parametrize("start", [1, 41, 83])
def test_no_process_is_left_unowned(lab: Lab, start: int) -> None:
    """After the kill, everything that lives in the cluster's namespaces is known to the next shim."""
    for line in range(start, LAST, LAST // POINTS):
        lab.start(_die_after(line))
        try:
            lab.connect()
            _requests(lab)
        except (OSError, AssertionError):
            pass
        lab.kill()
        lab.start()
        lab.connect()
        listed = lab.ok(Op.LIST)
        known = {item["pid"] for item in (*listed["sandboxes"], *listed["containers"])}
        # What the kernel kills together with the shim may take a moment.
        labs.until(lambda known=known: {int(pid) for pid in labs.marked()} <= known)  # type: ignore[misc]
        names = {item["config"]["netns"] for item in listed["sandboxes"]}
        assert set(netns.list_netns(labs.PATHS.netns_prefix)) <= names
        for item in listed["sandboxes"]:
            lab.ok(Op.STOP_SANDBOX, sandbox=item["config"]["id"])
        for seen in lab.containers().values():
            assert seen.state == State.EXITED
            lab.ok(Op.REMOVE_CONTAINER, container=seen.config.id)
        lab.kill()
