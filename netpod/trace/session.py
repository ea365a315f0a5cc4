"""One trace, from arming to the verdict: arm → barrier → send → drain → disarm, then join what was recorded.

Arming is undone however the request ends: normally, by an error, by Ctrl-C. Only kill -9 leaves the table
`inet netpod-trace` behind, which marks one port that nobody uses any more; the next netpod command reads in the record
(leftovers.py) what is to be put back, and does (`sweep`).
"""

import fcntl
import secrets
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netpod.errors import KernelError, NetpodError
from netpod.linux import netns
from netpod.trace import arming, evaluate, leftovers, sift
from netpod.trace.accessline import AccessLine
from netpod.trace.arming import Aim
from netpod.trace.clues import Examine
from netpod.trace.ears import Ears
from netpod.trace.links import observe_links
from netpod.trace.model import Flow, Trace
from netpod.trace.postmortem import Inspector
from netpod.trace.probe import Probe
from netpod.trace.record import Record
from netpod.trace.request import TraceRequest
from netpod.trace.rules import observe_rules
from netpod.trace.sources import ctnetlink, ipvsconn, nflog, skbdrop
from netpod.trace.sources.frames import Frame
from netpod.trace.topology import World, doors

QUIET = 0.015
"""Seconds after the answer in which the last packets come, e.g. those that close the connection."""
SLOW = 0.05
"""Seconds after which what was heard is read though the request is still under way: no hurry can be spoilt any more."""
POLL = 0.005
"""Seconds between looks at the proxy's log, whose file wakes nobody."""
DRAIN, PATIENCE = 0.2, 2.0
"""Seconds that the proxy's access line is waited for at most; the second where an answer says that it will come."""
LOCK = 10.0
"""Seconds to wait for another trace of the same cluster to end."""


def new_id() -> str:
    """Return an identity for a trace: 16 hexadecimal digits, random."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A trace and the frames it was read from, of other flows too."""

    trace: Trace
    frames: tuple[Frame, ...]
    world: World


def trace_request(request: TraceRequest, world: World) -> Trace:
    """Send one request and follow it; see `follow`."""
    return follow(request, world).trace


def follow(request: TraceRequest, world: World, *, timing: bool = False) -> Followed:
    """Send one request and follow it.

    Args:
        request: What to send, and from where.
        world: Where it may go.
        timing: Only capture: no rule is traced, which costs the request least.

    Returns:
        The trace; a request that fails is a trace too, its verdict says how.

    Raises:
        KernelError: the client's namespace is not there or has no route, listening or arming was refused, or
            another trace of this cluster does not end.
    """
    with ExitStack() as stack:
        stack.enter_context(recorded(world, rules=not timing))
        # Closing a packet socket waits for the kernel, so all are closed at once.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=16))
        record = _record(request, world, pool, timing=timing)
        started = time.monotonic_ns()
        books = observe_rules(record.ruled, pool)
        topology = observe_links([*record.crossed, request.netns])
        record.virtual = ipvsconn.observe(world.ruled())
        record.timing["rules"] = time.monotonic_ns() - started
        examine = Examine(inspect=Inspector(world), name_function=skbdrop.name_function)
        trace = evaluate.evaluate(request, world, record, books, topology, examine)
        return Followed(trace=trace, frames=tuple(record.frames), world=world)


def disarm_all(namespaces: Iterable[str]) -> None:
    """Remove what a killed trace left in these namespaces; nothing there: nothing to do, and cheap to find out.

    It also ends a trace that is under way, whose rules then read as not seen. A new trace needs no disarming first:
    arming replaces what is there.

    Raises:
        KernelError: a namespace still exists and could not be disarmed; the others are.
    """
    names = [name for name in namespaces if _left_armed(name)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        _disarm(names, pool, legacy=arming.without_nftables(names))


def sweep(lock: Path) -> bool:
    """Put back what a killed trace left, by its record; a trace that is under way is left alone.

    Returns:
        Whether there was something to put back.
    """
    if not leftovers.file_of(lock).exists():
        return False
    with leftovers.unless_held(lock) as ours:
        return ours and _put_back(lock)


def _put_back(lock: Path) -> bool:
    left = leftovers.read(lock)
    if left is None:
        return False
    for name, before in left.loggers.items():
        nflog.restore(name, before)
    names = [name for name in left.namespaces if _left_armed(name)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        _disarm(names, pool, legacy=arming.without_nftables(names))
    leftovers.forget(lock)
    return True


@contextmanager
def recorded(world: World, *, rules: bool = True) -> Iterator[None]:
    """Be the cluster's only trace, with what is about to be changed on record."""
    with alone(world.lock):
        if world.lock is not None:
            _put_back(world.lock)
        names = world.ruled() if rules else ()
        with leftovers.on_record(world.lock, leftovers.observe(names)):
            yield


def _left_armed(name: str) -> bool:
    try:
        return arming.armed(name)
    except KernelError:
        # Gone between the two looks.
        if netns.exists(name):
            raise
        return False


def _record(request: TraceRequest, world: World, pool: Executor, *, timing: bool = False) -> Record:
    """Do all that must happen while tracing; joining what was heard needs no kernel and comes later."""
    laps: dict[str, int] = {}
    clock = time.monotonic_ns()

    def lap(act: str) -> None:
        nonlocal clock
        now = time.monotonic_ns()
        laps[act] = now - clock
        clock = now

    with ExitStack() as stack:
        probe = Probe(request)
        stack.callback(probe.close)
        ears = Ears(request, world, (probe.source.port,), pool, timing=timing)
        stack.callback(ears.close)
        aim = arming.flow(
            probe.source.port,
            request.reserved,
            doors(world.objects, request.connect),
            protocol=request.protocol_name,
        )
        with armed(() if timing else world.ruled(), aim, pool, legacy=ears.legacy):
            lap("arm")
            record = Record(
                flow=Flow(probe.source, probe.destination),
                has_log=ears.log.readable,
                wants_log=_logged(request, world),
                drop_note=ears.drop_note,
            )
            _send(probe, ears, record)
            probe.close()
            lap("request")
            _drain(request, ears, record)
            lap("drain")
            if timing:
                record.entries += [e for name in world.ruled() for e in ctnetlink.observe(name)]
        lap("disarm")
    lap("close")
    _sift(request, record)
    record.timing.update(laps)
    return record


@contextmanager
def armed(
    namespaces: Iterable[str], aim: Aim, pool: Executor, *, legacy: bool = False
) -> Iterator[None]:
    """Trace rules in some namespaces, and disarm them however the block ends."""
    names = list(namespaces)
    try:
        # The barrier: every namespace says it is armed before anything is sent.
        list(pool.map(lambda name: arming.arm(name, aim, legacy=legacy), names))
        yield
    finally:
        # A second Ctrl-C waits until the first has been cleaned up after.
        with _uninterrupted():
            _disarm(names, pool, legacy=legacy)


def _disarm(names: list[str], pool: Executor, *, legacy: bool) -> None:
    failures: list[KernelError] = []

    def disarm(name: str) -> None:
        try:
            arming.disarm(name, legacy=legacy)
        except KernelError as error:
            if netns.exists(name):
                failures.append(error)

    list(pool.map(disarm, names))
    if failures:
        raise failures[0]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _send(probe: Probe, ears: Ears, record: Record) -> None:
    """Send the request and wait for its answer; read meanwhile only when that takes long.

    A busy reader would slow the request down, and the buffers hold what comes in a moment. They do not hold what
    others send while a client waits for seconds.
    """
    over = threading.Event()

    def read() -> None:
        pause = SLOW
        while not over.wait(pause):
            ears.read_into(record)
            pause = QUIET

    reader = threading.Thread(target=read)
    reader.start()
    try:
        record.started_at_ns = time.time_ns()
        record.answer = probe.send()
        record.ended_at_ns = time.time_ns()
    finally:
        over.set()
        reader.join()


def _drain(request: TraceRequest, ears: Ears, record: Record) -> None:
    """Wait until the proxy has logged the request and its last packets are over, then read what was heard.

    Nothing is read before, but when that takes long: where others are busy, more comes than can be read in passing.
    """
    began = time.monotonic()
    deadline = began + (PATIENCE if record.answer.status else DRAIN)
    pause = threading.Event().wait
    while record.has_log and record.wants_log and time.monotonic() < deadline:
        record.lines += _ours(ears.log.read(), request.id)
        if record.lines:
            break
        if time.monotonic() > began + SLOW:
            ears.read_into(record)
        pause(POLL)
    pause(QUIET)
    ears.finish(record)
    record.lines += _ours(ears.log.read(), request.id)
    record.counters = ears.counters.risen()


def _sift(request: TraceRequest, record: Record) -> None:
    """Leave out frames of others who use the same ports."""
    own = {record.flow}
    # A node's own packets are seen rewritten only.
    own |= {e.reply.reversed() for e in record.entries if e.original == record.flow}
    access = [line.source for line in record.lines if line.source is not None]
    record.frames = sift.sift(
        record.frames, flows=own, ends=access, ports=request.reserved, needle=request.id.encode()
    )


def _logged(request: TraceRequest, world: World) -> bool:
    """Whether the ingress proxy will write a line about this request."""
    return request.http and world.objects.entrance(request.connect) is not None


def _ours(lines: Iterable[AccessLine], trace_id: str) -> list[AccessLine]:
    return [line for line in lines if line.trace_id == trace_id]


@contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """Hold the cluster's trace lock: two traces would arm over each other. A killed holder's lock is gone with it."""
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        deadline = time.monotonic() + LOCK
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise NetpodError(
                        f"cannot trace: another trace of this cluster holds {lock}"
                    ) from None
                threading.Event().wait(QUIET)
        yield
