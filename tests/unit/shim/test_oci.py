"""What an OCI runtime is told: namespaces, mounts, and what the program may not do."""

from pathlib import Path
from typing import Any

from netpod.api.cri import ContainerConfig, Mount, Program, SandboxConfig
from netpod.shim import mounts, oci


def compiled(program: Program, *, share_pid: bool = False) -> dict[str, Any]:
    """The configuration of a program in a sandbox whose pause process is 77."""
    return oci.compile(
        ContainerConfig(id="c", program=program, env={"A": "b"}),
        SandboxConfig(share_pid=share_pid, etc="/run/etc"),
        pause=77,
        rootfs=Path("/run/c/rootfs"),
        directory=Path("/run/c"),
        submounts=["/usr"],
        shm=Path("/run/shm-of-pod"),
        etc=["hosts"],
    )


def test_it_joins_what_the_pod_shares() -> None:
    """Network, IPC, UTS; PID only if the pod says so; never a mount namespace."""
    namespaces = {it["type"]: it.get("path") for it in compiled(Program())["linux"]["namespaces"]}
    paths = {kind: f"/proc/77/ns/{name}" for kind, name in _SHARED.items()}
    assert namespaces == {**paths, "mount": None, "pid": None}
    shared = compiled(Program(), share_pid=True)["linux"]["namespaces"]
    assert {"type": "pid", "path": "/proc/77/ns/pid"} in shared


_SHARED = {"network": "net", "ipc": "ipc", "uts": "uts"}


def test_mounts_come_in_an_order_that_shows_all() -> None:
    """A volume below another volume comes after it, and both after the machine's own."""
    program = Program(
        mounts=(
            Mount(source="/v/inner", destination="/data/a/b"),
            Mount(source="/v/outer", destination="/data", read_only=True),
        )
    )
    targets = [it["destination"] for it in compiled(program)["mounts"]]
    assert targets.index("/usr") < targets.index("/etc/hosts") < targets.index("/data")
    assert targets.index("/data") < targets.index("/data/a/b")
    assert all(
        "nodev" in it["options"] for it in compiled(program)["mounts"] if it["type"] == "bind"
    )


def test_an_image_sees_nothing_of_the_machine() -> None:
    """Neither its file systems nor its /tmp."""
    targets = {it["destination"] for it in compiled(Program(rootfs="/images/x"))["mounts"]}
    assert not {"/usr", "/tmp", "/run"} & targets


def test_a_user_has_no_capabilities() -> None:
    """Only root gets the default set, less what is dropped."""
    root = compiled(Program(drop=("CAP_NET_RAW",)))["process"]["capabilities"]
    assert len(root["effective"]) == 13
    assert "CAP_NET_RAW" not in root["bounding"]
    user = compiled(Program(uid=33))["process"]["capabilities"]
    assert "effective" not in user
    assert compiled(Program())["process"]["noNewPrivileges"]


def test_file_systems_of_the_machine_are_found() -> None:
    """Those with files on them, below / and outside of what containers have of their own."""
    text = (
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "21 20 8:2 / /home rw shared:1 - ext4 /dev/sda2 rw\n"
        "22 20 0:5 / /proc rw - proc proc rw\n"
        "23 20 0:6 / /run rw - tmpfs tmpfs rw\n"
        "24 23 0:7 net:[1] /run/netns/x rw - nsfs nsfs rw\n"
        "25 20 8:3 / /usr rw - xfs /dev/sda3 rw\n"
    )
    assert mounts.submounts(text) == ["/home", "/usr"]
