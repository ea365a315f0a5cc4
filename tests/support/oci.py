"""An image made from programs of this machine, and a registry that serves it; nothing comes from outside."""

import gzip
import hashlib
import http.server
import io
import os
import re
import subprocess  # noqa: TID251 - asks the dynamic linker what a program needs
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

PROGRAMS = ("/bin/sh", "/bin/cat", "/bin/sleep", "/usr/bin/id", "/bin/touch")
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


def make_layout(
    folder: Path, tag: str, *, config: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Path:
    """Make an OCI layout with one image of one layer: a few programs, what they need, and `files`.

    Args:
        folder: Where.
        tag: Its name in the layout.
        config: Entrypoint, Cmd, Env, User, WorkingDir.
        files: Text by path without leading slash.
    """
    layer = _layer(PROGRAMS, files or {})
    plain = hashlib.sha256(gzip.decompress(layer)).hexdigest()
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(folder, orjson.dumps(settings), _CONFIG),
        "layers": [_put(folder, layer, _LAYER)],
    }
    entry = _put(folder, orjson.dumps(manifest), _MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
    (folder / "index.json").write_bytes(orjson.dumps(index))
    (folder / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    return folder


def make_oci_archive(layout: Path, path: Path) -> Path:
    """Pack a layout into one file."""
    with tarfile.open(path, "w") as archive:
        archive.add(layout, ".")
    return path


def make_docker_archive(layout: Path, path: Path, name: str) -> Path:
    """Pack a layout as `docker save` does."""
    manifest = _manifest(layout)
    config, layer = manifest["config"]["digest"], manifest["layers"][0]["digest"]
    listing = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add(archive, "config.json", _blob(layout, config))
        _add(archive, "layer.tar", gzip.decompress(_blob(layout, layer)))
        _add(archive, "manifest.json", orjson.dumps(listing))
    return path


@contextmanager
def registry(layout: Path) -> Iterator[str]:
    """Serve a layout's only image under every name and tag; yields ADDRESS:PORT."""
    digest = orjson.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Source: opencontainers/distribution-spec, pull."""
            match = re.fullmatch(r"/v2/.+/(manifests|blobs)/([^/]+)", self.path)
            if match is None:
                self._send(200 if self.path == "/v2/" else 404, b"{}", "application/json")
                return
            wanted = match[2] if match[2].startswith("sha256:") else digest
            try:
                data = _blob(layout, wanted)
            except FileNotFoundError:
                self._send(404, b'{"errors":[]}', "application/json")
                return
            kind = _MANIFEST if match[1] == "manifests" else "application/octet-stream"
            self._send(200, data, kind, wanted)

        do_HEAD = do_GET

        def _send(self, code: int, data: bytes, kind: str, digest: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _layer(programs: Sequence[str], files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for folder in ("etc", "tmp"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                archive.addfile(entry)
            for path in sorted({it for program in programs for it in _needs(program)}):
                _add(archive, path.lstrip("/"), Path(os.path.realpath(path)).read_bytes(), 0o755)
            for name, text in files.items():
                _add(archive, name, text.encode())
    return out.getvalue()


def _needs(program: str) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [program, *re.findall(r"(/\S+) \(0x", said)]


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _put(folder: Path, data: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / "sha256" / digest).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def _blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def _manifest(layout: Path) -> dict[str, Any]:
    index = orjson.loads((layout / "index.json").read_bytes())
    found = orjson.loads(_blob(layout, index["manifests"][0]["digest"]))
    assert isinstance(found, dict)
    return found
