"""Logs of deleted pods, kept until there are too many or they are too large: last words are read after the end.

Several kubelets keep theirs in one directory; each moves a folder in one step, and whoever finds too much removes the
oldest.
"""

import contextlib
import itertools
import os
import shutil
from pathlib import Path

from netpod.api.meta import Key
from netpod.paths import Paths

KEPT_BYTES = 64 << 20
KEPT_PODS = 200
_EVERY = 16
"""Deleted pods between two looks at the bounds."""

_count = itertools.count(1)


def keep(paths: Paths, pod: Key, uid: str) -> None:
    """Take a deleted pod's logs aside; a pod that said nothing leaves nothing."""
    logs = paths.pod_logs(pod.namespace, pod.name, uid)
    if not _size(logs):
        shutil.rmtree(logs, ignore_errors=True)
        return
    paths.gone_pods.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(OSError):
        os.utime(logs)
        logs.rename(paths.gone_pods / logs.name)
    if next(_count) % _EVERY == 1:
        prune(paths)


def prune(paths: Paths, most_bytes: int = KEPT_BYTES, most_pods: int = KEPT_PODS) -> None:
    """Remove the oldest until the bounds hold."""
    aged = []
    for folder in paths.gone_pods.iterdir():
        with contextlib.suppress(OSError):
            aged.append((folder.stat().st_mtime, folder))
    total = 0
    for number, (_, folder) in enumerate(sorted(aged, reverse=True), 1):
        total += _size(folder)
        if number > most_pods or total > most_bytes:
            shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(root, name)).st_size
    return size
