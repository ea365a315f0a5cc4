"""Images on this machine: pulled, loaded, unpacked, found; shared by all clusters.

    STORE/layout             OCI layout of every image; its tags are references, quoted
    STORE/index.json         reference -> digest and when it came
    STORE/rootfs/DIGEST      files of an image, unpacked once, never written to again

skopeo fetches, umoci unpacks. Source: opencontainers/image-spec image-layout.md.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from netpod.api.pod import Container
from netpod.errors import CommandFailed, NetpodError, NotFound, UsageError
from netpod.kubelet import image as image_values
from netpod.kubelet import image_names
from netpod.kubelet.image import Image
from netpod.kubelet.refusal import CannotStart
from netpod.linux import process

STORE = Path("/var/lib/netpod/.images")
PULL_SECONDS = 600.0
_LOCAL = ("docker-archive:", "oci-archive:", "oci:", "dir:", "docker:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An image as `list` shows it; `size` in bytes of its unpacked files."""

    name: str
    digest: str
    created: str
    size: int


class Images:
    """The local store below a directory; may be used by several processes at once."""

    def __init__(self, store: Path = STORE) -> None:
        self._store = store
        self._cached: tuple[float, Mapping[str, Any]] = (0.0, {})

    def find(self, reference: str) -> Image | None:
        """Return an image by reference; None when it is not here."""
        if not reference:
            return None
        known = self._index().get(image_names.normalize(reference))
        return self._image(known) if known is not None else None

    def entries(self) -> list[Entry]:
        """Return all images by name."""
        return [
            Entry(name=name, digest=it["digest"], created=it["created"], size=int(it["size"]))
            for name, it in sorted(self._index().items())
        ]

    def pull(self, reference: str, *, tls_verify: bool = True) -> Image:
        """Fetch an image from its registry, also when it is here already.

        A registry of this machine (localhost, 127.0.0.0/8) need not speak TLS, as with Docker.

        Raises:
            CommandFailed: the registry has it not, or cannot be reached.
            Unsupported: skopeo or umoci is not installed.
        """
        name = image_names.normalize(reference)
        own = name.startswith(("localhost:", "localhost/", "127."))
        return self._take(f"docker://{name}", name, tls_verify and not own)

    def load(self, source: str, name: str = "") -> list[Image]:
        """Take images from a file or directory: docker archive, OCI archive or OCI layout.

        Args:
            source: Path, or one of skopeo's names with its transport, e.g. oci:DIRECTORY:TAG.
            name: Reference to keep it under; "" is the one it carries.

        Raises:
            UsageError: it is none of these, or carries no name and none is given.
        """
        if not source.startswith(_LOCAL):
            source = _transport(Path(source))
        names = [name] if name else _names(source)
        if not names:
            raise UsageError(f"cannot load image {source}: it carries no name; give one")
        return [
            self._take(_select(source, it), image_names.normalize(it), tls_verify=True)
            for it in names
        ]

    def remove(self, reference: str) -> None:
        """Forget an image; its files go when no other reference has them.

        Raises:
            NotFound: it is not here.
        """
        key = image_names.normalize(reference)
        with self._locked():
            index = dict(self._index())
            if key not in index:
                raise NotFound(f"cannot remove image {reference}: it is not on this machine")
            digest = index.pop(key)["digest"]
            self._write(index)
            if digest not in {it["digest"] for it in index.values()}:
                shutil.rmtree(self._rootfs(digest).parent, ignore_errors=True)

    def _image(self, known: Mapping[str, Any]) -> Image:
        rootfs = self._rootfs(known["digest"])
        return image_values.of_config(known["name"], known["digest"], rootfs, known["config"])

    def _rootfs(self, digest: str) -> Path:
        return self._store / "rootfs" / digest.replace(":", "-") / "rootfs"

    def _index(self) -> Mapping[str, Any]:
        path = self._store / "index.json"
        try:
            changed = path.stat().st_mtime_ns
            if changed != self._cached[0]:
                self._cached = (changed, orjson.loads(path.read_bytes()))
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return self._cached[1]

    def _write(self, index: Mapping[str, Any]) -> None:
        beside = self._store / f".index.{os.getpid()}"
        beside.write_bytes(orjson.dumps(index))
        beside.rename(self._store / "index.json")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._store.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (self._store / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _take(self, source: str, name: str, tls_verify: bool) -> Image:
        """Copy into a layout of its own, unpack, move into place."""
        self._store.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._store, prefix=".take-") as scratch:
            layout, bundle = Path(scratch) / "layout", Path(scratch) / "bundle"
            verify = [] if tls_verify else ["--src-tls-verify=false"]
            argv = ["skopeo", "--insecure-policy", "copy", "--quiet", *verify, source]
            process.run([*argv, f"oci:{layout}:i"], timeout=PULL_SECONDS)
            digest, config = _config_of(layout)
            with self._locked():
                rootfs = self._rootfs(digest)
                if not rootfs.exists():
                    umoci = ["umoci", "unpack", "--image", f"{layout}:i", str(bundle)]
                    process.run(umoci, timeout=PULL_SECONDS)
                    rootfs.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    (bundle / "rootfs").rename(rootfs)
                entry = {
                    "name": name,
                    "digest": digest,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "size": _size(rootfs),
                    "config": config,
                }
                self._write({**self._index(), name: entry})
        return self._image(entry)


async def pull(images: Images, container: Container) -> Image:
    """Pull a container's image.

    Raises:
        CannotStart: ErrImagePull, ErrImageNeverPull, or InvalidImageName.
    """
    if container.image_pull_policy == "Never":
        message = f'Container image "{container.image}" is not present with pull policy of Never'
        raise CannotStart("ErrImageNeverPull", message, event="ErrImageNeverPull")
    try:
        return await asyncio.get_running_loop().run_in_executor(None, images.pull, container.image)
    except CommandFailed as error:
        said = error.stderr.strip().splitlines()
        cause = said[-1] if said else str(error)
        message = f'Failed to pull image "{container.image}": {cause}'
        raise CannotStart("ErrImagePull", message) from error
    except NetpodError as error:
        message = f'Failed to pull image "{container.image}": {error}'
        raise CannotStart("ErrImagePull", message) from error


def _transport(path: Path) -> str:
    if path.is_dir():
        return f"oci:{path}"
    if not path.is_file():
        raise UsageError(f"cannot load image {path}: no such file or directory")
    import tarfile

    try:
        with tarfile.open(path) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
    except tarfile.TarError as error:
        raise UsageError(f"cannot load image {path}: it is no tar archive") from error
    if "manifest.json" in names:
        return f"docker-archive:{path}"
    if "oci-layout" in names:
        return f"oci-archive:{path}"
    raise UsageError(f"cannot load image {path}: neither a docker archive nor an OCI archive")


def _names(source: str) -> list[str]:
    """References that an archive or layout carries."""
    import tarfile

    kind, _, place = source.partition(":")
    if kind == "docker-archive":
        with tarfile.open(place) as archive:
            file = archive.extractfile("manifest.json")
            found = orjson.loads(file.read()) if file is not None else []
        return [tag for item in found for tag in item.get("RepoTags") or ()]
    if kind == "oci-archive":
        with tarfile.open(place) as archive:
            members = {it.name.removeprefix("./"): it for it in archive.getmembers()}
            file = archive.extractfile(members["index.json"])
            index = orjson.loads(file.read()) if file is not None else {}
    else:
        index = orjson.loads((Path(place.partition(":")[0]) / "index.json").read_bytes())
    name = "org.opencontainers.image.ref.name"
    tags = [it.get("annotations", {}).get(name) for it in index.get("manifests") or ()]
    return [tag for tag in tags if tag]


def _select(source: str, name: str) -> str:
    """Say which of its images is meant."""
    kind, _, place = source.partition(":")
    if kind == "docker-archive" or ":" in place or len(_names(source)) < 1:
        several = kind == "docker-archive" and len(_names(source)) > 1
        return f"{source}:{name}" if several else source
    return f"{source}:{name}" if name in _names(source) else source


def _config_of(layout: Path) -> tuple[str, Mapping[str, Any]]:
    index = orjson.loads((layout / "index.json").read_bytes())
    digest = str(index["manifests"][0]["digest"])
    manifest = orjson.loads(_blob(layout, digest))
    return digest, orjson.loads(_blob(layout, str(manifest["config"]["digest"])))


def _blob(layout: Path, digest: str) -> bytes:
    kind, _, text = digest.partition(":")
    data = (layout / "blobs" / kind / text).read_bytes()
    assert kind != "sha256" or hashlib.sha256(data).hexdigest() == text, "skopeo checks digests"
    return data


def _size(rootfs: Path) -> int:
    total = 0
    for folder, _, names in os.walk(rootfs):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_size
    return total
