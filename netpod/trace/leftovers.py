"""What a trace has changed and not put back yet, on record, so that the next command can when the trace was killed.

The file lies beside the lock that one trace at a time holds. Written before the first change, deleted after the last
was undone: it exists without a holder of the lock only when somebody was killed.
"""

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netpod.errors import KernelError
from netpod.linux import netns
from netpod.trace.sources import nflog


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """What is to be put back.

    Attributes:
        namespaces: Those that hold the table `inet netpod-trace`.
        loggers: What its loggers were, by namespace and sysctl, e.g. net.netfilter.nf_log.10.
    """

    namespaces: tuple[str, ...] = ()
    loggers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def file_of(lock: Path) -> Path:
    """Return where the record of a cluster is, by its trace lock."""
    return lock.with_name("trace.armed")


def observe(namespaces: Iterable[str]) -> Leftovers:
    """Read what tracing in some namespaces will change."""
    names = tuple(namespaces)
    loggers: dict[str, dict[str, str]] = {}
    for name in names:
        try:
            if families := nflog.in_use(name):
                loggers[name] = nflog.observe(name, families)
        except KernelError:
            if netns.exists(name):
                raise
    return Leftovers(namespaces=names, loggers=loggers)


@contextmanager
def on_record(lock: Path | None, left: Leftovers) -> Iterator[None]:
    """Keep the record while the block runs, under the lock. Without a lock there is nowhere to keep it."""
    if lock is None:
        yield
        return
    file = file_of(lock)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps({"namespaces": left.namespaces, "loggers": {**left.loggers}}))
    partial.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def read(lock: Path) -> Leftovers | None:
    """Return what a killed trace left, or None. Only the holder of the lock may believe it."""
    try:
        kept = json.loads(file_of(lock).read_text())
        return Leftovers(
            namespaces=tuple(kept["namespaces"]),
            loggers={name: dict(before) for name, before in kept["loggers"].items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Leftovers()


def forget(lock: Path) -> None:
    """Delete the record: all is put back."""
    file_of(lock).unlink(missing_ok=True)


@contextmanager
def unless_held(lock: Path) -> Iterator[bool]:
    """Hold a trace lock if nobody does; the value says whether."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
