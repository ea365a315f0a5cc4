"""The log files of a cluster, and how each becomes entries: containers' in CRI format, components' as they write it.

    /run/netpod/NAME/pods/NS_POD_UID/CONTAINER/RESTARTS.log[.1 ...]    containers; the oldest part has the highest
    /run/netpod/NAME/pods.gone/NS_POD_UID/...                          the same of pods that are deleted, up to a bound
    /run/netpod/NAME/log/ROLE.log                                      components; no time: goes with the last line

Source: kubelet's CRI log format; cli-runtime's `kubectl logs --timestamps` for the order of the parts.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from netpod.paths import Paths

PIECE = 4 << 20
_COMPONENT_LINE = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}) (DEBUG|INFO|WARNING|ERROR|CRITICAL) netpod\.([a-z]+)"
)
_LOOKS_AROUND = re.compile(rb"[\^$]|\\[AZbB]|\(\?")
"""What a pattern may have that means something else in a block than in a line's text."""
_ROTATED = re.compile(r"(\d+)\.log(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One log: all parts of a container's run, or a component's file.

    Attributes:
        parts: Files, the oldest first; the last one is still written.
        role: Of a component: supervisor, controlplane, node-NAME, shim-NAME.
    """

    parts: tuple[Path, ...]
    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One line; `time` is RFC 3339 in UTC with nine digits, so that bytes sort as moments do."""

    time: bytes
    text: bytes = field(compare=False)
    source: Source = field(compare=False)
    stream: str = field(compare=False, default="")
    level: str = field(compare=False, default="")
    component: str = field(compare=False, default="")


def observe(paths: Paths, *, pods: bool = True, components: bool = True) -> list[Source]:
    """All logs there are."""
    found: list[Source] = []
    if pods:
        for root in (paths.run / "pods", paths.gone_pods):
            for folder in _folders(root):
                namespace, _, rest = folder.name.partition("_")
                pod, _, uid = rest.rpartition("_")
                for container in _folders(folder):
                    runs = _runs(container)
                    found += [
                        Source(
                            parts=parts,
                            namespace=namespace,
                            pod=pod,
                            uid=uid,
                            container=container.name,
                        )
                        for parts in runs
                    ]
    if components:
        files = sorted(paths.logs.glob("*.log")) if paths.logs.is_dir() else []
        found += [Source(parts=(path,), role=path.stem) for path in files]
    return found


def _runs(container: Path) -> list[tuple[Path, ...]]:
    """The files of a container, run by run, the oldest part of each first."""
    runs: dict[int, list[tuple[int, Path]]] = {}
    for path in container.iterdir():
        match = _ROTATED.fullmatch(path.name)
        if match:
            runs.setdefault(int(match[1]), []).append((-int(match[2] or 0), path))
    return [tuple(path for _, path in sorted(runs[number])) for number in sorted(runs)]


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def entries(
    source: Source, *, since: bytes = b"", pattern: re.Pattern[bytes] | None = None
) -> Iterator[Entry]:
    """Everything a log has, in its order; with a pattern, only lines whose text it finds something in."""
    carried = b""
    for path in source.parts:
        for block in blocks(path):
            yield from parse(source, block, since=since, pattern=pattern, before=carried)
            if source.role:
                carried = _last_time(block) or carried


def blocks(path: Path) -> Iterator[bytes]:
    """A file's whole lines, in pieces of about PIECE bytes; a last line without its end counts as one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rest = b""
        while data := os.read(fd, PIECE):
            cut = data.rfind(b"\n") + 1
            if not cut:
                rest += data
                continue
            yield rest + data[:cut]
            rest = data[cut:]
        if rest:
            yield rest
    finally:
        os.close(fd)


def parse(
    source: Source,
    block: bytes,
    *,
    since: bytes = b"",
    pattern: re.Pattern[bytes] | None = None,
    before: bytes = b"",
) -> Iterator[Entry]:
    """Entries of a block of whole lines.

    Args:
        source: Whose they are.
        block: Lines.
        since: Only entries of that time or later.
        pattern: Only lines with a match. Unless it asks what stands around it, lines without are never cut out.
        before: Time of the line before the block, for lines of a component that have none.
    """
    cut = pattern is None or _LOOKS_AROUND.search(pattern.pattern) is not None
    lines = block.split(b"\n") if pattern is None or cut else _matching(block, pattern)
    make = _component if source.role else _container
    time = before
    for line in lines:
        if not line:
            continue
        entry = make(source, line, time)
        if entry is None:
            continue
        time = entry.time
        if entry.time >= since and (pattern is None or pattern.search(entry.text)):
            yield entry


def _matching(block: bytes, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """The lines in which the pattern finds something, found without cutting the block into lines."""
    at = 0
    while (match := pattern.search(block, at)) is not None:
        start = block.rfind(b"\n", 0, match.start()) + 1
        end = block.find(b"\n", match.start())
        end = len(block) if end < 0 else end
        yield block[start:end]
        at = end + 1


def _container(source: Source, line: bytes, before: bytes) -> Entry | None:
    time, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if tag not in (b"F", b"P"):
        return None
    return Entry(time, text, source, stream.decode(errors="replace"))


def _component(source: Source, line: bytes, before: bytes) -> Entry | None:
    match = _COMPONENT_LINE.match(line)
    if match is None:
        return Entry(before, line, source) if before else None
    return Entry(_utc(match[1]), line[24:], source, "stderr", match[2].decode(), match[3].decode())


def _last_time(block: bytes) -> bytes:
    for line in reversed(block.split(b"\n")):
        match = _COMPONENT_LINE.match(line)
        if match is not None:
            return _utc(match[1])
    return b""


def _utc(local: bytes) -> bytes:
    """A component's local time as RFC 3339 in UTC."""
    moment = datetime.fromisoformat(local.decode()).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


def stamp(moment: datetime) -> bytes:
    """A moment as entries have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
