"""The first files of a QEMU guest: busybox and the modules with which it reaches this machine's files."""

import lzma
import re
from pathlib import Path

WANTED = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /root ||
  { echo "Kernel panic - not syncing: cannot mount the root"; /bin/busybox poweroff -f; }
/bin/busybox umount /proc
exec /bin/busybox switch_root /root "$NETPOD_JOB/init"
"""


def build(busybox: Path, modules: Path) -> bytes:
    """A cpio archive (format newc) that finds its root on 9p.

    Args:
        busybox: A static one.
        modules: Folder of the kernel's modules, with modules.dep.
    """
    files: list[tuple[str, int, bytes]] = [
        *((name, 0o040755, b"") for name in ("bin", "modules", "proc", "root", "dev")),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("init", 0o100755, INIT.encode()),
    ]
    for number, path in enumerate(_in_order(modules)):
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        name = path.name.split(".")[0]
        files.append((f"modules/{number:02}-{name}.ko", 0o100644, data))
    return b"".join(_entry(i, *file) for i, file in enumerate([*files, ("TRAILER!!!", 0, b"")], 1))


def _in_order(modules: Path) -> list[Path]:
    """The wanted modules that are not built in, each after those it needs."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, after = line.partition(":")
        needs[_name(path)] = (path, after.split())
    order: list[Path] = []
    for module in WANTED:
        if module not in needs:
            continue  # built in
        path, after = needs[module]
        # modules.dep lists what to load last first.
        for one in [*reversed(after), path]:
            if modules / one not in order:
                order.append(modules / one)
    return order


def _name(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?$", "", Path(path).name).replace("-", "_")


def _entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
