"""Container logs on this machine, read from the files that the shims write in CRI format.

Source: the CRI log format, kubelet's design "kuberuntime logs": TIME STREAM TAG TEXT, tag P for a partial line.
"""

import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netpod.errors import NotFound
from netpod.paths import Paths

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """One line a container wrote; `time` is RFC 3339 with nanoseconds."""

    time: str
    stream: str
    text: str


def files(paths: Paths, namespace: str, pod: str, uid: str, container: str) -> list[Path]:
    """Return a container's log files, one per start, oldest first."""
    folder = paths.pod_logs(namespace, pod, uid) / container
    try:
        return sorted(folder.glob("*.log"), key=lambda path: int(path.stem))
    except (FileNotFoundError, ValueError):
        return []


def read(
    paths: Paths,
    namespace: str,
    pod: str,
    uid: str,
    container: str,
    *,
    previous: bool = False,
    follow: bool = False,
    tail: int = -1,
) -> Iterator[Line]:
    """Yield what a container wrote since its last start.

    Args:
        paths: Of the cluster.
        namespace: Of the pod.
        pod: Its name.
        uid: Its uid; another pod of that name has other logs.
        container: Its container.
        previous: The run before the last instead.
        follow: Go on with what is written later, also across restarts, forever.
        tail: Only so many lines of what is there; -1 is all.

    Raises:
        NotFound: there is no such run.
    """
    found = files(paths, namespace, pod, uid, container)
    if len(found) < (2 if previous else 1):
        run = "previous terminated container" if previous else "log of container"
        raise NotFound(f'{run} "{container}" in pod "{pod}" not found')
    path = found[-2 if previous else -1]
    with path.open("rb") as file:
        lines = list(_parse(file.read().splitlines()))
        yield from lines[max(0, len(lines) - tail) :] if tail >= 0 else lines
        while follow:
            whole = file.tell()
            chunk = file.readline()
            if chunk.endswith(b"\n"):
                yield from _parse([chunk.rstrip(b"\n")])
                continue
            file.seek(whole)
            newer = files(paths, namespace, pod, uid, container)
            if newer and newer[-1] != path:
                path = newer[-1]
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                os.dup2(fd, file.fileno())
                os.close(fd)
                file.seek(0)
                continue
            if not newer:
                return
            select.select([], [], [], _POLL_SECONDS)


def _parse(lines: list[bytes]) -> Iterator[Line]:
    """Yield whole lines; parts that the writer had to cut are joined."""
    begun = ""
    for raw in lines:
        time, _, rest = raw.decode(errors="replace").partition(" ")
        stream, _, rest = rest.partition(" ")
        tag, _, text = rest.partition(" ")
        if tag == "P":
            begun += text
            continue
        yield Line(time, stream, begun + text)
        begun = ""
