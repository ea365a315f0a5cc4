"""An image as a container needs it: its files and what its author configured.

Source: opencontainers/image-spec config.md; moby daemon/oci_linux.go getUser for `User`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netpod.kubelet.refusal import misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the local store.

    Attributes:
        name: As containers write it, with registry and tag.
        digest: Of its manifest, sha256:...
        rootfs: Directory of its files.
        user_name: NAME, UID, NAME:GROUP or UID:GID; "" is root.
    """

    name: str
    digest: str
    rootfs: Path
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user_name: str = ""

    def user(self) -> tuple[int, int, tuple[int, ...]]:
        """Return user, group and further groups that it runs as.

        Raises:
            CannotStart: it names a user that it does not have.
        """
        name, _, group_name = (self.user_name or "0").partition(":")
        uid, gid = 0, 0
        entry = _entry(self.rootfs, "passwd", name)
        if entry is not None:
            uid, gid = int(entry[2]), int(entry[3])
        elif name.isdigit():
            uid = int(name)
        else:
            raise misconfigured(f"unable to find user {name}: no matching entries in passwd file")
        if group_name.isdigit():
            gid = int(group_name)
        elif group_name:
            group = _entry(self.rootfs, "group", group_name)
            if group is None:
                raise misconfigured(f"unable to find group {group_name}")
            gid = int(group[2])
        login = entry[0] if entry is not None else ""
        return uid, gid, () if group_name else _groups(self.rootfs, login)


def of_config(name: str, digest: str, rootfs: Path, config: Mapping[str, Any]) -> Image:
    """Return the image of an OCI image configuration."""
    inner = config.get("config") or {}
    return Image(
        name=name,
        digest=digest,
        rootfs=rootfs,
        entrypoint=tuple(inner.get("Entrypoint") or ()),
        command=tuple(inner.get("Cmd") or ()),
        env=dict(item.split("=", 1) for item in inner.get("Env") or () if "=" in item),
        working_dir=str(inner.get("WorkingDir") or ""),
        user_name=str(inner.get("User") or ""),
    )


def _lines(rootfs: Path, name: str) -> list[list[str]]:
    path = rootfs / "etc" / name
    # A link could lead to the machine's own file.
    if path.is_symlink() or path.parent.is_symlink():
        return []
    try:
        return [line.split(":") for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return []


def _entry(rootfs: Path, name: str, key: str) -> list[str] | None:
    for fields in _lines(rootfs, name):
        if len(fields) >= 4 and key in (fields[0], fields[2]):
            return fields
    return None


def _groups(rootfs: Path, login: str) -> tuple[int, ...]:
    if not login:
        return ()
    found = []
    for fields in _lines(rootfs, "group"):
        if len(fields) >= 4 and login in fields[3].split(","):
            found.append(int(fields[2]))
    return tuple(found)
