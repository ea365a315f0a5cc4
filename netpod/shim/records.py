"""What a shim remembers on disk: one directory per sandbox and per container.

    STATE/sandboxes/ID/config.json   written before the sandbox exists
    STATE/sandboxes/ID/pid           pause process: number and start time
    STATE/containers/ID/config.json  written before the fork
    STATE/containers/ID/pid          written by the container itself, before anything else
    STATE/containers/ID/ready        made by the container once it listens
    STATE/containers/ID/exit.json    how it ended
    STATE/containers/ID/log, err     FIFOs: what it writes to stdout and stderr
    STATE/containers/ID/wake         FIFO: that it got ready

A container that an OCI runtime starts has more of them, see launch.py.
"""

import shutil
from pathlib import Path
from typing import TypeVar

import orjson

from netpod.api import codec
from netpod.api.meta import Struct
from netpod.errors import BadRequest
from netpod.shim import pidfile

T = TypeVar("T", bound=Struct)


def sandboxes(state: Path) -> Path:
    """Directory of the sandboxes' directories."""
    return state / "sandboxes"


def containers(state: Path) -> Path:
    """Directory of the containers' directories."""
    return state / "containers"


def entries(directory: Path) -> list[Path]:
    """Directories of all sandboxes or containers, sorted."""
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def write_struct(path: Path, value: Struct) -> None:
    """Replace a file by the JSON of a value."""
    pidfile.replace_file(path, orjson.dumps(codec.encode(value)))


def read_struct(path: Path, cls: type[T]) -> T | None:
    """Read a value back; None when it was never written whole."""
    try:
        return codec.decode(cls, orjson.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError, BadRequest):
        return None


def forget(directory: Path) -> None:
    """Remove a directory of records; absent is fine."""
    shutil.rmtree(directory, ignore_errors=True)


def drop_files(directory: Path) -> None:
    """Remove what an ended container wrote and what it was made from; absent is fine."""
    for name in ("upper", "work", "bundle", "runtime"):
        shutil.rmtree(directory / name, ignore_errors=True)
