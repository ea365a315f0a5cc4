"""netpod cp."""

import os
import posixpath
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from netpod.errors import NetpodError, UsageError
from netpod_cli import context


@dataclass(frozen=True, slots=True)
class Place:
    """A path, in a pod or (with pod "") on this machine."""

    pod: str
    namespace: str
    path: str


@click.command(
    "cp", help="Copy files to and from a container: cp POD:/PATH DIRECTORY. It needs tar there."
)
@click.option("-c", "--container", default="", help="Which container of the pod.")
@click.option("--no-preserve", is_flag=True, help="Without owner and permissions.")
@context.namespace_options
@click.argument("source")
@click.argument("destination")
def cp_command(
    container: str, no_preserve: bool, namespace: str, source: str, destination: str
) -> int:
    """Copy as kubectl does: a tar in the container, another here."""
    start, end = _place(source, namespace), _place(destination, namespace)
    if bool(start.pod) == bool(end.pod):
        raise UsageError("one of source and destination must be POD:PATH, the other a local path")
    if not start.path or not end.path:
        raise UsageError("filepath can not be empty")
    if start.pod:
        return _fetch(start, Path(end.path), container)
    return _send(Path(start.path), end, container, no_preserve)


def _place(text: str, namespace: str) -> Place:
    """Read `[NAMESPACE/]POD:PATH` or a local path; a Windows drive or a `./a:b` is local."""
    before, colon, path = text.partition(":")
    if not colon or before.startswith((".", "/")) or before.count("/") > 1:
        return Place("", "", text)
    space, slash, pod = before.rpartition("/")
    return Place(pod, space if slash and space else namespace, path)


def _run(place: Place, container: str) -> Callable[[Sequence[str], tuple[int, int, int]], int]:
    """Return what runs a program in the place's container."""
    from netpod.cluster import place as places
    from netpod.kubelet import runtime
    from netpod_cli import logs

    api = context.api()
    pod = logs.pod_of(api, place.pod, place.namespace)
    name = logs.container_of(pod, container)
    found = str(pod["metadata"]["name"])
    stand = places.find(context.paths(), api, f"pod/{found}", place.namespace)
    socket = context.paths().shim_socket(stand.node)

    def run(argv: Sequence[str], streams: tuple[int, int, int]) -> int:
        return runtime.exec_in_pod(
            socket, stand.namespace, stand.pod, argv, container=name, streams=streams
        )

    return run


def _fetch(start: Place, local: Path, container: str) -> int:
    run = _run(start, container)
    path = posixpath.normpath(start.path)
    null = os.open(os.devnull, os.O_RDWR)
    reader, writer = os.pipe()
    codes: list[int] = []

    def pack() -> None:
        try:
            codes.append(run(["tar", "cf", "-", path], (null, writer, 2)))
        except NetpodError as error:
            click.echo(f"error: {error}", err=True)
            codes.append(1)
        finally:
            os.close(writer)

    packing = threading.Thread(target=pack, name="tar")
    packing.start()
    # As kubectl: into a directory that is there, under its own name.
    target = local / posixpath.basename(path) if local.is_dir() else local
    try:
        with os.fdopen(reader, "rb") as stream:
            _unpack(stream, path.lstrip("/"), target)
    finally:
        packing.join()
        os.close(null)
    return codes[0]


def _unpack(stream: IO[bytes], prefix: str, target: Path) -> None:
    """Write the files of a tar below `target`, never anywhere else; links are left out, as kubectl does.

    Raises:
        UsageError: a file leads out of what was asked for.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                if name != prefix and not name.startswith(f"{prefix}/"):
                    raise UsageError(f"tar contents corrupted: {member.name} is not below {prefix}")
                here = target / name[len(prefix) :].lstrip("/") if name != prefix else target
                if member.isdir():
                    here.mkdir(parents=True, exist_ok=True)
                elif member.isfile():
                    _write(archive, member, here)
                else:
                    click.echo(
                        f"warning: skipping {member.name}: not a file or directory", err=True
                    )
    except tarfile.ReadError:
        # tar wrote nothing: it has said why.
        return


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None, "a file has content"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(here, flags, member.mode & 0o777)
    except OSError as error:
        raise UsageError(f"cannot write {here}: {error.strerror}") from error
    with os.fdopen(fd, "wb") as file:
        while piece := content.read(1 << 16):
            file.write(piece)


def _send(local: Path, end: Place, container: str, no_preserve: bool) -> int:
    if not local.exists():
        raise UsageError(f"{local} doesn't exist in local filesystem")
    run = _run(end, container)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        path = end.path.rstrip("/") or "/"
        if run(["test", "-d", path], (null, null, null)) == 0:
            path = posixpath.join(path, local.resolve().name)
    finally:
        os.close(null)
    folder, name = posixpath.split(path)
    reader, writer = os.pipe()

    def pack() -> None:
        try:
            with os.fdopen(writer, "wb") as stream:
                with tarfile.open(fileobj=stream, mode="w|") as archive:
                    archive.add(local, arcname=name)
        except (BrokenPipeError, OSError):
            return  # tar in the container says why

    packing = threading.Thread(target=pack, name="tar")
    packing.start()
    keep = ["--no-same-permissions", "--no-same-owner"] if no_preserve else []
    try:
        return run(["tar", "-xmf", "-", *keep, "-C", folder or "."], (reader, 1, 2))
    finally:
        os.close(reader)
        packing.join()
