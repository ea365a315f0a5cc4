"""Containers that an OCI runtime starts: their namespaces, files, privileges, streams and ends."""

import os
import select
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from netpod.api import codec, cri
from netpod.api.cri import Container, Mount, Op, Program, Resources, State
from netpod.linux import netns
from netpod.shim import cgroups
from tests.kernel.shim import lab as labs
from tests.kernel.shim.lab import Lab, until

pytestmark = pytest.mark.skipif(
    shutil.which("crun") is None and shutil.which("runc") is None, reason="no OCI runtime"
)


def _start(lab: Lab, script: str, **more: Any) -> Container:
    """Start a shell in a sandbox `p`, both new."""
    if lab.sock is None:
        lab.start()
        lab.connect()
    config = codec.encode(labs.sandbox_config("p")) | {"sharePid": more.pop("share_pid", False)}
    lab.ok(Op.RUN_SANDBOX, config=config)
    fields = {name: more.pop(name) for name in ("resources", "env") if name in more}
    argv = more.pop("argv", ("sh", "-c", script))
    program = Program(argv=argv, **({"read_only": True} | more))
    return lab.container(program=program, **fields)


def _said(lab: Lab) -> str:
    """What a container that ended wrote, without times."""
    lab.ended()
    return "".join(line.split(" ", 3)[3] for line in lab.log().splitlines(keepends=True))


def test_it_joins_the_sandbox_and_has_its_own_processes(lab: Lab) -> None:
    """Network, IPC and UTS namespaces are the pod's; it is number 1 of its own PID namespace."""
    _start(lab, "readlink /proc/self/ns/net; hostname; echo $$; grep NSpid /proc/self/status")
    inode = netns.inode(labs.netns_name())
    said = _said(lab).split()
    assert said[:3] == [f"net:[{inode}]", "p", "1"]
    assert lab.containers()["c"].exit_code == 0


def test_it_may_not_more_than_the_default(lab: Lab) -> None:
    """OCI's capabilities, no new privileges, no device nodes, no writing to the machine's files."""
    script = (
        "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | cut -f2;"
        "mknod /tmp/disk b 8 0 || echo no disk; mkfifo /tmp/f && echo fifo;"
        "touch /etc/x || echo read-only; touch /tmp/x && echo tmp;"
        "ls /var/lib/netpod | wc -l; echo 1 > /proc/sys/kernel/sysrq || echo no sysctl"
    )
    _start(lab, script)
    lines = [line for line in _said(lab).splitlines() if ":" not in line]
    caps = "00000000a80425fb"
    want = ["1", "no disk", "fifo", "read-only", "tmp", "0", "no sysctl"]
    assert sorted(lines) == sorted([caps, caps, *want])
    assert not Path("/tmp/f").exists()
    assert not Path("/etc/x").exists()


def test_streams_are_told_apart(lab: Lab) -> None:
    """What it writes to stdout and stderr is tagged so in the log."""
    _start(lab, "echo out; echo err >&2; exit 3")
    assert (lab.ended().exit_code, lab.ended().reason) == (3, "Error")
    tags = {tuple(line.split(" ")[1:]) for line in lab.log().splitlines()}
    assert tags == {("stdout", "F", "out"), ("stderr", "F", "err")}


def test_a_signal_is_its_end(lab: Lab) -> None:
    """It ends by SIGKILL with 137, with its children."""
    _start(lab, "sleep 60 & sleep 60")
    lab.ok(Op.SIGNAL, container="c", signal=signal.SIGKILL)
    assert (lab.ended().exit_code, lab.ended().signal) == (137, 9)


def test_a_program_that_is_not_there_is_a_start_error(lab: Lab) -> None:
    """Upstream's exit code, reason and words."""
    seen = _start(lab, "", argv=("no-such-program",))
    assert (seen.state, seen.exit_code, seen.reason) == (State.EXITED, 128, "StartError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in seen.message


def test_a_file_that_is_no_program_is_a_start_error(lab: Lab) -> None:
    """A file without the execute bit cannot be started."""
    seen = _start(lab, "", argv=("/etc/passwd",))
    assert (seen.exit_code, seen.reason) == (128, "StartError")
    assert "permission denied" in seen.message.lower()


def test_directories_are_mounted_anywhere(lab: Lab, tmp_path: Path) -> None:
    """A volume appears where it is wanted, also where the machine has no such directory."""
    (tmp_path / "file").write_text("content\n")
    mounts = (
        Mount(source=str(tmp_path), destination="/srv/nowhere/volume", read_only=True),
        Mount(source=str(tmp_path), destination="/data"),
        Mount(source=str(tmp_path / "file"), destination="/etc/one-file", read_only=True),
    )
    script = (
        "cat /srv/nowhere/volume/file /etc/one-file; touch /srv/nowhere/volume/x; touch /data/y"
    )
    _start(lab, script, mounts=mounts)
    assert _said(lab).count("content\n") == 2
    assert sorted(os.listdir(tmp_path)) == ["file", "y"]


def test_shared_processes(lab: Lab) -> None:
    """With a shared PID namespace number 1 is the pause process, and stand-ins are seen too."""
    _start(lab, "cat /proc/1/comm; sleep 0.2; ls /proc", share_pid=True)
    lab.container("e")
    lab.ready("e")
    assert _said(lab).split()[0] == "catatonit"
    inner = Path(f"/proc/{lab.containers()['e'].pid}/status").read_text()
    line = next(it for it in inner.splitlines() if it.startswith("NSpid"))
    assert len(line.split()) == 3


def test_exec_enters_its_own_namespaces(lab: Lab) -> None:
    """An exec'd program sees the container's processes, files and user."""
    seen = _start(lab, "echo mine > /tmp/file; exec sleep 60", uid=12, gid=34, working_dir="/tmp")
    until(lambda: Path(f"/proc/{seen.pid}/root/tmp/file").exists())
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    script = "cat /tmp/file; id -u; id -g; pwd; cat /proc/1/comm; exit 4"
    config = {"containerID": "c", "argv": ["sh", "-c", script]}
    assert lab.ok(Op.EXEC, (null, writer, writer), config=config) == {"exitCode": 4}
    os.close(writer)
    os.close(null)
    with open(reader) as said:
        assert said.read().split() == ["mine", "12", "34", "/tmp", "sleep"]


def test_it_survives_the_shim(lab: Lab) -> None:
    """Another shim adopts it, log and all."""
    before = _start(lab, "while :; do echo tick; sleep 0.05; done")
    lab.restart()
    assert lab.containers()["c"].pid == before.pid
    assert lab.containers()["c"].ready
    size = len(lab.log())
    until(lambda: len(lab.log()) > size)


def test_a_shim_killed_during_the_start_leaves_one_container_or_none(lab: Lab) -> None:
    """Whoever comes next knows the container, whatever became of it."""
    lab.start()
    lab.connect()
    lab.sandbox()
    config = codec.encode(
        labs.container_config("c", "sandbox-p", program=Program(argv=("sleep", "9")))
    )
    for moment in (0.0, 0.005, 0.012):
        assert lab.sock is not None
        lab.sock.sendall(cri.pack({"op": Op.START_CONTAINER, "id": 1, "config": config}))
        select.select([], [], [], moment)
        lab.restart()
        found = lab.containers()
        if "c" in found:
            until(
                lambda: lab.containers()["c"].ready or lab.containers()["c"].state == State.EXITED
            )
            lab.ok(Op.SIGNAL, container="c", signal=signal.SIGKILL)
            lab.ended()
            lab.ok(Op.REMOVE_CONTAINER, container="c")


def test_last_words(lab: Lab) -> None:
    """What it writes to its message file comes back with its end."""
    _start(lab, "echo done > /dev/termination-log; exit 1", message_path="/dev/termination-log")
    assert lab.ended().message == "done\n"


def test_the_end_of_the_log_is_its_message(lab: Lab) -> None:
    """One that fails without last words is quoted, if it asked for that."""
    _start(lab, "echo why >&2; exit 1", message_path="/dev/termination-log", message_from_log=True)
    assert lab.ended().message == "why\n"


def test_a_terminal(lab: Lab) -> None:
    """Its standard streams are a terminal; what it says there is in the log."""
    _start(lab, "test -t 0 && test -t 1 && tty; echo bye", tty=True, stdin=True)
    assert "/dev/pts/" in _said(lab)


def test_standard_input(lab: Lab) -> None:
    """What is written to its FIFO is what it reads."""
    _start(lab, "read line; echo got $line", stdin=True)
    path = labs.PATHS.node("n") / "containers" / "c" / "stdin"
    path.write_text("something\n")
    assert _said(lab) == "got something\n"


@pytest.mark.skipif(cgroups.find("memory") is None, reason="no memory cgroup")
def test_too_much_memory_is_oom_killed(lab: Lab) -> None:
    """The kernel ends it at its limit, and the reason says so."""
    script = "exec python3 -c 'x = bytearray(200 << 20)'"
    _start(lab, script, resources=Resources(memory=32 << 20, cpu_shares=512, cpu_quota=50_000))
    seen = lab.ended()
    assert (seen.exit_code, seen.reason) == (137, "OOMKilled")


def test_nothing_of_it_stays(lab: Lab) -> None:
    """After the pod's end: no mount, no process, no cgroup."""
    _start(lab, "sleep 60", resources=Resources(memory=64 << 20))
    lab.ok(Op.STOP_SANDBOX, sandbox="sandbox-p")
    assert "overlay" not in Path("/proc/self/mounts").read_text().replace(" / overlay", "")
    found = cgroups.find("memory")
    assert found is None or not (found.base / "netpod" / labs.CLUSTER / "uid-p").exists()
