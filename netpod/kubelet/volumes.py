"""A pod's volumes: directories below the node's state, filled from the API, mounted by the shim.

    NODE/pods/UID/volumes/NAME/..data -> ..2026...   one version of a ConfigMap's, Secret's or projected files
    NODE/pods/UID/volumes/NAME/key   -> ..data/key   so that all files change at one moment

Source: kubernetes pkg/volume/util/atomic_writer.go; pkg/volume for each kind.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netpod.errors import KernelError
from netpod.kubelet.refusal import CannotStart, misconfigured

LINK = "..data"
WRITTEN = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, slots=True)
class File:
    """Content and permissions of a file of a volume."""

    data: bytes
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """A pod's volumes, as far as they are prepared.

    Attributes:
        paths: Directory (or a hostPath's file) by volume.
        read_only: Volumes that nobody writes to.
    """

    paths: Mapping[str, Path]
    read_only: frozenset[str] = frozenset()

    def is_read_only(self, name: str) -> bool:
        """Whether a volume cannot be written to."""
        return name in self.read_only

    def path(self, name: str, below: str = "") -> Path:
        """Return what to mount of a volume; a `below` that is missing is made, as a directory.

        Raises:
            CannotStart: no such volume, or `below` leads out of it.
        """
        base = self.paths.get(name)
        if base is None:
            raise misconfigured(f'volume "{name}" not found')
        if not below:
            return base
        if below.startswith("/") or ".." in below.split("/"):
            raise misconfigured(f'subPath "{below}" must be a relative path without ..')
        # What containers wrote may be links: none of them may lead anywhere else.
        root, found = base.resolve(), (base / below).resolve()
        if not found.is_relative_to(root):
            raise misconfigured(f'failed to prepare subPath for volumeMount "{name}"')
        if not found.exists():
            try:
                found.mkdir(parents=True)
            except OSError as error:
                raise misconfigured(
                    f'failed to prepare subPath for volumeMount "{name}"'
                ) from error
        return found


def kind_of(source: Mapping[str, Any]) -> str:
    """Return which kind a volume is: the only key of its source; "" for one without."""
    return next(iter(source), "")


def own_directory(root: Path, name: str, *, group: int | None = None) -> Path:
    """Make an emptyDir's directory, writable by everybody as upstream's, and return it."""
    path = root / name
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.chmod(0o777 if group is None else 0o2777)
        if group is not None:
            os.chown(path, -1, group)
    except OSError as error:
        raise KernelError(f"cannot create volume {name}", errno=error.errno or 0) from error
    return path


def host_path(source: Mapping[str, Any], allowed: tuple[Path, ...]) -> Path:
    """Return the machine's file or directory of a hostPath.

    Raises:
        CannotStart: it is not below an allowed directory, or not what `type` says.
    """
    path = Path(str(source.get("path", "")))
    kind = str(source.get("type") or "")
    # The real one: a link below an allowed directory must not lead to another.
    real = path.resolve()
    if not any(real.is_relative_to(it.resolve()) for it in allowed):
        raise CannotStart(
            "FailedMount", f"hostPath {path} is not below a directory that this cluster allows"
        )
    if kind == "DirectoryOrCreate":
        real.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not real.exists():
        real.touch()
    right = {"Directory": real.is_dir(), "File": real.is_file()}
    if not right.get(kind, True):
        raise CannotStart(
            "FailedMount", f"hostPath type check failed: {path} is not a {kind.lower()}"
        )
    if not real.exists():
        raise CannotStart("FailedMount", f"hostPath {path} does not exist")
    return real


def write(directory: Path, files: Mapping[str, File], *, group: int | None = None) -> bool:
    """Make `directory` hold exactly these files by path; all change at one moment. True when something did."""
    if _current(directory) == files:
        return False
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.chmod(0o755)
        fresh = directory / f"..{secrets.token_hex(6)}"
        fresh.mkdir(mode=0o755)
        for name, file in files.items():
            path = fresh / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_bytes(file.data)
            path.chmod(file.mode if group is None else file.mode | 0o040)
            if group is not None:
                os.chown(path, -1, group)
        old = _target(directory)
        staged = directory / "..data_tmp"
        staged.unlink(missing_ok=True)
        staged.symlink_to(fresh.name)
        staged.rename(directory / LINK)
        tops = {name.split("/")[0] for name in files}
        for top in tops - {entry.name for entry in directory.iterdir()}:
            (directory / top).symlink_to(f"{LINK}/{top}")
        for entry in list(directory.iterdir()):
            if entry.is_symlink() and entry.name not in {*tops, LINK}:
                entry.unlink()
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise KernelError(
            f"cannot write volume {directory.name}", errno=error.errno or 0
        ) from error
    return True


def _target(directory: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return directory / os.readlink(directory / LINK)
    return None


def _current(directory: Path) -> dict[str, File] | None:
    version = _target(directory)
    if version is None or not version.is_dir():
        return None
    return {
        str(path.relative_to(version)): File(path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in version.rglob("*")
        if path.is_file()
    }
