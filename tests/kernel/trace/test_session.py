"""However a trace ends, nothing stays armed."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from netpod.errors import KernelError, NetpodError
from netpod.ip import Family
from netpod.linux import iptables, netns, process
from netpod.paths import Paths
from netpod.trace import arming, leftovers, run, session
from netpod.trace.sources import legacyarm, nflog, nftrace
from tests.kernel.trace import lab as world
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab
from tests.kernel.trace.plan import PLANS

SLOW = "http://example.com/slow"


def armed(lab: Lab) -> list[str]:
    """Namespaces that are armed."""
    return [name for name in lab.namespaces() if nftrace.armed(name)]


def slow_trace(lab: Lab) -> int:
    """Start a program that traces a slow request, and wait until it is armed."""
    code = (
        "from netpod.trace import run; from tests.kernel.trace import lab, plan;"
        f"objects = plan.objects(plan=plan.PLANS[{PLANS.index(lab.plan)}]);"
        f"run.trace_url(lab.PATHS, {SLOW!r}, objects)"
    )
    root = str(Path(__file__).parents[3])
    pid = process.spawn([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=root))
    deadline = time.monotonic() + 20
    while len(armed(lab)) < 3 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return pid


def test_interrupt_disarms(lab: Lab) -> None:
    """Ctrl-C while the request is under way leaves no namespace armed."""
    seen: list[list[str]] = []

    def interrupt(number: int, frame: object) -> None:
        seen.append(armed(lab))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.trace_url(world.PATHS, SLOW, lab.objects)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen[0]) == 3
    assert armed(lab) == []


def test_leftovers_of_a_killed_trace_are_removed(lab: Lab) -> None:
    """After kill -9 the tables are still there; disarm_all takes them away, and may be called twice."""
    pid = slow_trace(lab)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(armed(lab)) == 3
    session.disarm_all([*lab.namespaces(), "netpod-lab-gone"])
    assert armed(lab) == []
    session.disarm_all(lab.namespaces())


@pytest.mark.parametrize("mode", [modes.EVERY[0], modes.EVERY[4]], indirect=True)
def test_next_command_puts_back_what_a_killed_trace_left(lab: Lab, mode: str) -> None:
    """The record says which namespaces were armed and which logger each had; while a trace runs it is left alone."""
    before = {n: nflog.observe(n, Family) for n in lab.namespaces()}
    pid = slow_trace(lab)
    assert not session.sweep(world.PATHS.trace_lock)
    assert len(armed(lab)) == 3
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert session.sweep(world.PATHS.trace_lock)
    assert armed(lab) == []
    assert {n: nflog.observe(n, Family) for n in lab.namespaces()} == before
    assert not session.sweep(world.PATHS.trace_lock)


def test_no_socket_and_no_program_is_left(lab: Lab) -> None:
    """After a trace no packet socket listens anywhere, and this process holds no BPF program and no socket more."""
    run.trace_url(world.PATHS, "http://example.com/", lab.objects)
    before = descriptors()
    run.trace_url(world.PATHS, "http://example.com/", lab.objects)
    assert descriptors() == before
    assert [n for n in lab.namespaces() if netns.call_in(n, packet_sockets)] == []
    assert not leftovers.file_of(world.PATHS.trace_lock).exists()


def descriptors() -> list[str]:
    """Sockets and BPF objects that this process has open, without their numbers."""
    kinds = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
             if os.path.exists(f"/proc/self/fd/{n}") or os.path.islink(f"/proc/self/fd/{n}")]  # fmt: skip
    return sorted(k.partition(":[")[0] for k in kinds if k.startswith(("socket", "anon_inode:bpf")))


def packet_sockets() -> list[str]:
    """AF_PACKET sockets of the calling thread's namespace."""
    with open("/proc/thread-self/net/packet") as file:
        return file.read().splitlines()[1:]


def test_client_without_route_is_an_error_not_a_trace(lab: Lab) -> None:
    """An address the client's namespace has no route to is said before anything is armed."""
    lab.ip(world.PATHS.netns_outside, "route del default")
    try:
        with pytest.raises(
            KernelError, match=r"cannot reach 198\.51\.100\.1:80 in netpod-lab-outside"
        ):
            run.trace_url(world.PATHS, "http://example.com/", lab.objects)
    finally:
        lab.ip(world.PATHS.netns_outside, "route add default via 203.0.113.1")
    assert armed(lab) == []


def test_cluster_that_is_not_up_is_an_error(lab: Lab) -> None:
    """Objects without namespaces: the cluster is down."""
    with pytest.raises(NetpodError, match="cluster elsewhere is not up"):
        run.trace_url(Paths("elsewhere"), "http://example.com/", lab.objects)


def test_second_trace_waits_for_the_first(lab: Lab) -> None:
    """Two traces of one cluster would arm over each other: they run one after the other, both whole."""
    verdicts: list[str] = []

    def one() -> None:
        verdicts.append(run.trace_url(world.PATHS, "http://example.com/", lab.objects).verdict)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == ["DELIVERED", "DELIVERED"]


def test_legacy_arming_comes_and_goes(lab: Lab) -> None:
    """Where legacy iptables has tables: armed twice is armed once, disarmed twice is disarmed, and nothing stays."""
    name = lab.namespaces()[0]
    iptables.restore(name, "*nat\nCOMMIT\n", legacy=True)
    matches = legacyarm.compile_flow(50000, (61000, 61999))
    assert not legacyarm.armed(name)
    for _ in range(2):
        legacyarm.arm(name, matches)
        saved = iptables.parse_save(iptables.save(name, "raw", legacy=True))["raw"]
        assert saved["PREROUTING"] == saved["OUTPUT"] == [f"-j {legacyarm.CHAIN}"]
        assert len(saved[legacyarm.CHAIN]) == len(matches[Family.IPV4])
    assert arming.armed(name)
    for _ in range(2):
        legacyarm.disarm(name)
        assert not legacyarm.armed(name)
    assert iptables.parse_save(iptables.save(name, "raw", legacy=True))["raw"]["PREROUTING"] == []
