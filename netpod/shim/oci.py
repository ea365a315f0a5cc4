"""ContainerConfig -> the OCI configuration that crun or runc starts (pure).

The root file system is an overlay that launch.py makes; here is what is mounted on it, and what the program may do.

Source: opencontainers/runtime-spec config.md and config-linux.md; containerd oci/spec.go for the defaults.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netpod.api.cri import ContainerConfig, Program, SandboxConfig
from netpod.shim import privileges

ETC = ("resolv.conf", "hosts", "hostname")
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_OURS = ("/var/lib/netpod", "/run/netpod", "/run/netns")
"""Of the machine's files, what no container sees: keys, sockets, other pods' namespaces."""
_FORMAT, _BLOCK, _CHARACTER = 0o170000, 0o060000, 0o020000
_DEVICE_CALLS = {"mknod": 1, "mknodat": 2}
"""Calls that make device nodes, and which argument says so."""


def compile(
    config: ContainerConfig,
    sandbox: SandboxConfig,
    *,
    pause: int,
    rootfs: Path,
    directory: Path,
    submounts: Sequence[str] = (),
    shm: Path | None = None,
    etc: Sequence[str] = (),
    target: int = 0,
) -> dict[str, Any]:
    """Return the configuration of a container.

    Args:
        config: With a `program`.
        sandbox: Its pod's.
        pause: Number of the pause process, whose namespaces it joins.
        rootfs: Where its root file system will be mounted.
        directory: Its records; `termination-log` there becomes its message file.
        submounts: The machine's file systems below /, sorted, which a program of the machine sees read-only.
        shm: What containers of the pod share as /dev/shm.
        etc: Which of ETC the pod has.
        target: Number of the process whose PID namespace it joins, 0 for the pod's or its own.
    """
    program = config.program
    assert program is not None, "a built-in container needs no OCI runtime"
    mounts = _kernel_mounts(shm)
    if not program.rootfs:
        mounts += _host_mounts(submounts)
    mounts += [_bind(f"{sandbox.etc}/{name}", f"/etc/{name}", read_only=False) for name in etc]
    if program.message_path:
        mounts.append(_bind(str(directory / "termination-log"), program.message_path, False))
    # A mount below another one comes after it.
    for mount in sorted(program.mounts, key=lambda item: item.destination.count("/")):
        mounts.append(_bind(mount.source, mount.destination, mount.read_only))
    hidden = _OURS if not program.rootfs else ()
    return {
        "ociVersion": "1.0.2",
        "process": _process(program, config.env),
        "root": {"path": str(rootfs), "readonly": program.read_only},
        "mounts": mounts,
        "linux": {
            "namespaces": _namespaces(sandbox, pause, target),
            "maskedPaths": [*_MASKED, *hidden],
            "readonlyPaths": list(_READ_ONLY),
            "seccomp": _seccomp(),
        },
    }


def _process(program: Program, env: Mapping[str, str]) -> dict[str, Any]:
    capabilities = sorted(set(privileges.DEFAULT) - set(program.drop))
    if program.uid:
        kept: dict[str, list[str]] = {"bounding": capabilities}
    else:
        kept = {kind: capabilities for kind in ("bounding", "effective", "permitted")}
    return {
        "terminal": program.tty,
        "user": {
            "uid": program.uid,
            "gid": program.gid,
            "additionalGids": list(program.groups),
        },
        "args": list(program.argv),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": program.working_dir or "/",
        "capabilities": kept,
        "noNewPrivileges": True,
        "oomScoreAdj": 1000,
    }


def _namespaces(sandbox: SandboxConfig, pause: int, target: int) -> list[dict[str, str]]:
    def joined(kind: str, name: str, of: int = pause) -> dict[str, str]:
        return {"type": kind, "path": f"/proc/{of}/ns/{name}"}

    pid = {"type": "pid"}
    if sandbox.share_pid or target:
        pid = joined("pid", "pid", target if not sandbox.share_pid else pause)
    shared = [joined("network", "net"), joined("ipc", "ipc"), joined("uts", "uts")]
    return [{"type": "mount"}, *shared, pid]


def _kernel_mounts(shm: Path | None) -> list[dict[str, Any]]:
    quiet = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("proc", "/proc", quiet),
        _mount("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "devpts",
            "/dev/pts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("mqueue", "/dev/mqueue", quiet),
        _mount("sysfs", "/sys", [*quiet, "ro"]),
    ]
    if shm is not None:
        mounts.append(_bind(str(shm), "/dev/shm", read_only=False))
    return mounts


def _host_mounts(submounts: Sequence[str]) -> list[dict[str, Any]]:
    mounts = [_bind(path, path, read_only=True) for path in submounts]
    for path, mode in (("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755")):
        mounts.append(_mount("tmpfs", path, ["nosuid", "nodev", f"mode={mode}"]))
    return mounts


def _mount(kind: str, destination: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, destination: str, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if read_only else "rw"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _seccomp() -> dict[str, Any]:
    """Refuse device nodes: whoever may make one reads and writes the machine's disks with it."""
    rules = [
        {
            "names": [name],
            "action": "SCMP_ACT_ERRNO",
            "args": [
                {
                    "index": index,
                    "value": _FORMAT,
                    "valueTwo": kind,
                    "op": "SCMP_CMP_MASKED_EQ",
                }
            ],
        }
        for name, index in _DEVICE_CALLS.items()
        for kind in (_BLOCK, _CHARACTER)
    ]
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
