"""All logs of a cluster as one: chosen, merged by time, and followed.

What is there is merged lazily: no more than a piece of each file is in memory. What comes is read every FOLLOW_SECONDS
from all files, and each such reading is sorted by time: two lines of two pods that are written within that time
come in the order in which they were written.
"""

import heapq
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netpod.cluster import logfiles
from netpod.cluster.logfiles import Entry, Source
from netpod.paths import Paths

FOLLOW_SECONDS = 0.1
LOOK_SECONDS = 0.5
"""How often new files are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which lines are wanted.

    Attributes:
        namespace: Of the pods; "" is all.
        uids: Only of these pods; None is all.
        node: Of the node: its pods, by `nodes`, and its components; "" is all.
        nodes: Node by uid of pod.
        component: kubelet, proxy, ...: only components' lines, of that one; "" is containers and components.
        containers: Whether containers' lines are wanted at all.
        since: Only this time or later, as in Entry.
        pattern: Only lines in whose text it finds something.
    """

    namespace: str = ""
    uids: frozenset[str] | None = None
    node: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)
    component: str = ""
    containers: bool = True
    components: bool = True
    since: bytes = b""
    pattern: re.Pattern[bytes] | None = None

    def wants(self, source: Source) -> bool:
        """Whether any line of a log can be wanted."""
        if source.role:
            if self.namespace or self.uids is not None:
                return False
            if self.node and source.role.partition("-")[2] != self.node:
                return False
            return not self.component or _may_have(source, self.component)
        if self.component or (self.namespace and source.namespace != self.namespace):
            return False
        if self.uids is not None and source.uid not in self.uids:
            return False
        return not self.node or self.nodes.get(source.uid) == self.node

    def keeps(self, entry: Entry) -> bool:
        """Whether a line of a wanted log is wanted; a line without a component goes with its file."""
        if not self.component or not entry.source.role:
            return True
        if entry.source.role.partition("-")[0] == self.component:
            return True
        return entry.component == self.component


_NODE = ("kubelet", "proxy", "policy", "cni")
"""Components of a node process; all others are in the control plane's."""

COMPONENTS = (
    *("supervisor", "controlplane", "node", "shim", *_NODE),
    *("apiserver", "store", "scheduler", "controllers", "cloud", "dashboard", "client", "cluster"),
)
"""What a line of a component can be of: a process's role, or the part of netpod that wrote it."""


def _may_have(source: Source, component: str) -> bool:
    kind = source.role.partition("-")[0]
    return kind == component or (kind == "node") == (component in _NODE)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def read(paths: Paths, choice: Choice) -> Iterator[Entry]:
    """Everything that is there and wanted, by time."""
    found = _sources(paths, choice)
    streams = [
        logfiles.entries(source, since=choice.since, pattern=choice.pattern) for source in found
    ]
    return filter(choice.keeps, heapq.merge(*streams))


def follow(
    paths: Paths, choice: Choice, *, pause: Callable[[float], object] = _pause
) -> Iterator[list[Entry]]:
    """Everything that is there and wanted, then what comes, for ever, in batches that are sorted by time.

    A file that is read to its end and set aside is left for its successor only when nothing can come to it any more.
    """
    tails: dict[tuple[str, str, str, str], Tail] = {}
    looked = -LOOK_SECONDS
    while True:
        now = time.monotonic()
        if now - looked >= LOOK_SECONDS:
            looked = now
            for source in _sources(paths, choice):
                key = (source.uid, source.container, source.role, _run(source.parts[-1]))
                known = tails.get(key)
                if known is None:
                    tails[key] = Tail(source)
                else:
                    known.source = source
        came = [
            entry
            for tail in list(tails.values())
            for entry in tail.read(choice)
            if choice.keeps(entry)
        ]
        if came:
            yield sorted(came)
        else:
            pause(FOLLOW_SECONDS)


class Tail:
    """One log that is read as it grows, through its parts."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._place: dict[int, int] = {}
        self._rest = b""
        self._time = b""

    def read(self, choice: Choice) -> Iterator[Entry]:
        """What is new, in whole lines. Parts are told by inode: a part that was set aside keeps its own."""
        for path in self.source.parts:
            data = self._more(path)
            if not data:
                continue
            cut = data.rfind(b"\n") + 1
            block, self._rest = self._rest + data[:cut], data[cut:]
            if not cut:
                self._rest = block + self._rest
                continue
            for entry in logfiles.parse(
                self.source, block, since=choice.since, pattern=choice.pattern, before=self._time
            ):
                self._time = entry.time
                yield entry

    def _more(self, path: Path) -> bytes:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            inode = os.fstat(fd).st_ino
            at = self._place.get(inode, 0)
            data = os.pread(fd, logfiles.PIECE, at)
            self._place[inode] = at + len(data)
            return data
        finally:
            os.close(fd)


def _sources(paths: Paths, choice: Choice) -> list[Source]:
    found = logfiles.observe(
        paths, pods=choice.containers and not choice.component, components=choice.components
    )
    return [source for source in found if choice.wants(source)]


def _run(path: Path) -> str:
    """A container's run, whatever part: `0` of `0.log.2`."""
    return path.name.partition(".")[0]
