"""What a shim says its containers use, against what they really did."""

import os
import signal
import threading
import time

from netpod.api.cri import ContainerStats, Op, Resources
from netpod.api.runtime import App, AppContext
from netpod.shim import cgroups
from tests.kernel.shim.lab import Lab, until

TAKEN = 32 << 20


def _busy(context: AppContext) -> int:
    """A program whose child takes memory and then processor time until it is stopped."""
    if os.fork() == 0:
        taken = bytearray(os.urandom(1 << 20) * (TAKEN >> 20))
        context.ready()
        while taken:
            time.process_time()
    signal.pause()
    return 0


def _idle(context: AppContext) -> int:
    context.ready()
    threading.Event().wait()
    return 0


def _full(context: AppContext) -> int:
    """A program that takes memory when it is asked to, and keeps it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    context.ready()
    signal.sigwait({signal.SIGUSR1})
    taken = os.urandom(1 << 20) * (TAKEN >> 20)
    threading.Event().wait()
    return len(taken)


APPS: dict[str, App] = {"busy": _busy, "idle": _idle, "full": _full}


def _stats(lab: Lab) -> dict[str, ContainerStats]:
    told = lab.ok(Op.STATS)["containers"]
    fields = ("id", "cpu", "memory", "resident", "processes")
    return {row[0]: ContainerStats(**dict(zip(fields, row, strict=True))) for row in told}


def test_a_container_is_charged_for_its_children(lab: Lab) -> None:
    """Processor time and memory of a forked process are its container's, and nobody else's."""
    lab.apps = APPS
    lab.start()
    lab.connect()
    lab.sandbox()
    lab.container("hot", app="busy")
    lab.container("cold", app="idle")
    lab.ready("hot")
    lab.ready("cold")
    first = _stats(lab)["hot"]
    until(lambda: _stats(lab)["hot"].cpu >= first.cpu + 200_000_000)
    told = _stats(lab)
    assert told["hot"].processes == 2
    assert told["hot"].memory >= TAKEN
    assert told["hot"].memory >= told["cold"].memory + TAKEN // 2
    assert told["cold"].cpu < 200_000_000
    assert told[""].cpu > 0, "the shim counts too"


def test_a_limited_container_is_read_from_its_cgroup(lab: Lab) -> None:
    """The kernel's own account of its memory, where there is a cgroup."""
    limits = Resources(memory=256 << 20)
    lab.apps = APPS
    lab.start()
    lab.connect()
    lab.sandbox()
    made = lab.container("hot", app="full", resources=limits)
    assert made.unlimited or cgroups.memory("st/uid-p", "hot") is not None
    lab.ready("hot")
    lab.ok(Op.SIGNAL, container="hot", signal=int(signal.SIGUSR1))
    until(lambda: _stats(lab)["hot"].memory >= TAKEN)
    assert _stats(lab)["hot"].memory < TAKEN * 2


def test_a_container_that_ended_uses_nothing(lab: Lab) -> None:
    """It is left out, and so is its share of memory that was remembered."""
    lab.apps = APPS
    lab.start()
    lab.connect()
    lab.sandbox()
    lab.container("cold", app="idle")
    lab.ready("cold")
    assert "cold" in _stats(lab)
    lab.ok(Op.SIGNAL, container="cold", signal=int(signal.SIGKILL))
    lab.ended("cold")
    assert set(_stats(lab)) == {""}
