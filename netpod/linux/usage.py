"""What processes and links have used so far, from /proc: no netlink, no library, a few microseconds each.

Sources: proc_pid_stat(5), proc_pid_smaps(5), proc_pid_task(5) `children`; kernel Documentation/filesystems/proc.rst
for /proc/net/dev.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHUNK = 1 << 16
_RECORD = 1024
"""Longer than any line of these files, shorter than what the kernel gives of a file with more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process.

    Attributes:
        cpu: Nanoseconds of processor time, with that of children it has waited for; counted in ticks of 10 ms.
        resident: Bytes in memory, pages that it shares with others included.
        threads: How many it has.
    """

    cpu: int
    resident: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Counters of one link since it was made."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0

    @property
    def reversed(self) -> "Traffic":
        """What the other end of a veth pair counts: what one sends the other receives."""
        return Traffic(
            rx_bytes=self.tx_bytes,
            rx_packets=self.tx_packets,
            rx_errors=self.tx_errors,
            rx_dropped=self.tx_dropped,
            tx_bytes=self.rx_bytes,
            tx_packets=self.rx_packets,
            tx_errors=self.rx_errors,
            tx_dropped=self.rx_dropped,
        )


def observe_process(pid: int) -> Process | None:
    """What a process has used; None when there is none of that number."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The name may hold anything, spaces and parentheses too; what follows its last one is fields 3 and on.
    fields = text[text.rindex(b")") + 2 :].split()
    user, system, waited_user, waited_system = map(int, fields[11:15])
    return Process(
        cpu=(user + system + waited_user + waited_system) * _TICK,
        resident=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
    )


def observe_share(pid: int) -> int:
    """Bytes of memory a process is to blame for: a page shared by n counts as an n-th (PSS). 0 when it is gone.

    Costs a millisecond or two in the kernel, which walks all its pages.
    """
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


STALE_SECONDS = 300.0
_NOISE = 256 << 10
"""Bytes by which a resident size may move before its share is asked for again."""


class Shares:
    """Shares of memory that are remembered, because asking for them is 20 times dearer than all the rest.

    One is asked for again when the resident size moved, or after STALE_SECONDS.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, tuple[int, int, float]] = {}

    def of(self, pid: int, resident: int) -> int:
        """Bytes of memory a process is to blame for, see observe_share."""
        now = self._clock()
        known = self._known.get(pid)
        if known is not None:
            was, share, at = known
            if abs(was - resident) <= _NOISE and now - at <= STALE_SECONDS:
                return share
        share = observe_share(pid)
        self._known[pid] = (resident, share, now)
        return share

    def keep(self, pids: Collection[int]) -> None:
        """Forget all processes but these."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}


def descendants(pid: int, threads: int = 1) -> Iterator[int]:
    """Children of a process, their children, and so on; not those that were given to another parent."""
    for task in _tasks(pid) if threads > 1 else [pid]:
        for child in map(int, _read(f"/proc/{pid}/task/{task}/children").split()):
            yield child
            yield from descendants(child)


def observe_available() -> int:
    """Bytes of memory that the machine could still give out. Source: proc_meminfo(5), MemAvailable."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith(b"MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def observe_traffic() -> dict[str, Traffic]:
    """Counters of the links of this process's network namespace, by name."""
    found: dict[str, Traffic] = {}
    for line in _read("/proc/self/net/dev").decode(errors="replace").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        counts = list(map(int, numbers.split()))
        found[name.strip()] = Traffic(
            rx_bytes=counts[0],
            rx_packets=counts[1],
            rx_errors=counts[2],
            rx_dropped=counts[3],
            tx_bytes=counts[8],
            tx_packets=counts[9],
            tx_errors=counts[10],
            tx_dropped=counts[11],
        )
    return found


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _read(path: str) -> bytes:
    # Without a file object, which costs more than the kernel takes: a node reads a hundred of these in one go.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = more = os.read(fd, _CHUNK)
        # Of many records the kernel gives a page or so at a time; one is all there is.
        while len(more) > _RECORD:
            more = os.read(fd, _CHUNK)
            found += more
        return found
    except OSError:
        return b""
    finally:
        os.close(fd)
