"""The last traces of a cluster, each in every form, for the dashboard to list and play.

    /run/netpod/NAME/traces/TIME-ID/trace.json, way.html, way.mmd, way.pcapng

TIME is milliseconds since 1970, so that names sort by age. A folder gets its name when it is whole. At most KEPT stay.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from netpod.paths import Paths
from netpod.trace.formats import html, mermaid, record
from netpod.trace.render import to_json
from netpod.trace.session import Followed

KEPT = 50
FORMS = {
    "json": ("trace.json", "application/json"),
    "html": ("way.html", "text/html"),
    "mermaid": ("way.mmd", "text/plain"),
    "pcapng": ("way.pcapng", "application/octet-stream"),
}
"""File and media type by form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One trace that is kept; `at_ms` since 1970."""

    name: str
    at_ms: int
    folder: Path


def keep(paths: Paths, followed: Followed) -> None:
    """Keep a trace in all forms, and let go of the oldest; a full disk keeps nothing and says nothing."""
    trace = followed.trace
    root = folder(paths)
    name = f"{trace.started_at_ns // 1_000_000}-{trace.id}"
    fresh = root / f".{name}"
    with contextlib.suppress(OSError):
        fresh.mkdir(mode=0o700, parents=True)
        _write(fresh, "json", to_json(trace).encode())
        _write(fresh, "html", html.to_html(trace).encode())
        _write(fresh, "mermaid", mermaid.to_mermaid(trace).encode())
        _write(fresh, "pcapng", record.to_pcapng(trace, followed.frames, followed.world))
        os.replace(fresh, root / name)
        for old in observe(paths)[KEPT:]:
            shutil.rmtree(old.folder, ignore_errors=True)


def observe(paths: Paths) -> list[Kept]:
    """What is kept, the newest first."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder(paths)):
            at, dash, _ = entry.name.partition("-")
            if dash and at.isdecimal():
                found.append(Kept(name=entry.name, at_ms=int(at), folder=Path(entry.path)))
    return sorted(found, key=lambda kept: kept.at_ms, reverse=True)


def folder(paths: Paths) -> Path:
    """Where they are."""
    return paths.run / "traces"


def _write(where: Path, form: str, data: bytes) -> None:
    (where / FORMS[form][0]).write_bytes(data)
