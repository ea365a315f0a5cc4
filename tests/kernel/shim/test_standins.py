"""Stand-ins are forked by a small process of their own, and are containers like all others."""

import os
import signal
from pathlib import Path

from netpod.api.cri import Op, State
from netpod.shim import zygote
from tests.kernel.shim import lab as labs
from tests.kernel.shim.lab import Lab


def _zygote(lab: Lab) -> int:
    """Its pid, once it forks; the containers it has forked have its command line, too."""
    for pid in map(int, labs.marked()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if zygote.__name__.encode() in words and os.getsid(pid) == os.getsid(lab.pid):
            return pid
    return 0


def _forked(lab: Lab, name: str) -> bool:
    """Start a container; whether the zygote has forked it."""
    pid = lab.container(name).pid
    return zygote.__name__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


def _until_forked(lab: Lab) -> str:
    """Start containers until the zygote has forked one, and return its name."""
    names = (f"c{number}" for number in range(10_000))
    found = ""

    def forked() -> bool:
        nonlocal found
        if found:
            lab.ok(Op.SIGNAL, container=found, signal=signal.SIGKILL)
            lab.ended(found)
        found = next(names)
        return _forked(lab, found)

    lab.sandbox()
    labs.until(forked, 20)
    return found


def test_a_forked_stand_in_is_the_shims_own_child(lab: Lab) -> None:
    """It is ready, its parent is the shim, and the shim learns its exit code."""
    lab.start()
    lab.connect()
    name = _until_forked(lab)
    seen = lab.ready(name)
    assert f"PPid:\t{lab.pid}\n" in Path(f"/proc/{seen.pid}/status").read_text()
    lab.ok(Op.SIGNAL, container=name, signal=signal.SIGTERM)
    ended = lab.ended(name)
    assert (ended.exit_code, ended.reason) == (0, "Completed")


def test_a_killed_zygote_harms_no_container(lab: Lab) -> None:
    """What it has forked runs on, and the next stand-ins start all the same."""
    lab.start()
    lab.connect()
    name = _until_forked(lab)
    os.kill(_zygote(lab), signal.SIGKILL)
    labs.until(lambda: not _zygote(lab))
    lab.sandbox("q")
    seen = lab.container("after", "sandbox-q")
    assert lab.ready("after").pid == seen.pid
    assert lab.containers()[name].state == State.RUNNING


def test_the_next_shim_adopts_a_forked_stand_in(lab: Lab) -> None:
    """The container outlives the shim, the zygote does not."""
    lab.start()
    lab.connect()
    name = _until_forked(lab)
    pid = lab.ready(name).pid
    lab.restart()
    labs.until(lambda: [it for it in map(int, labs.marked()) if it != pid] == [_pause(lab)])
    assert lab.ready(name).pid == pid


def _pause(lab: Lab) -> int:
    return int(lab.ok(Op.LIST)["sandboxes"][0]["pid"])
