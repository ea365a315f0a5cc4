"""Containers as processes: namespaces, privileges, logs, ends."""

import os
import signal
import socket
import sys
import threading

from netpod.api import cri
from netpod.api.cri import Op, State
from netpod.api.runtime import App, AppContext
from netpod.linux import netns
from tests.kernel.shim import lab as labs
from tests.kernel.shim.lab import Lab, until


def _talk(context: AppContext) -> int:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    context.ready()
    return 5


def _parent(context: AppContext) -> int:
    """A program with a child, as HAProxy has."""
    if os.fork() == 0:
        signal.pause()
    context.ready()
    signal.pause()
    return 0


def _stubborn(context: AppContext) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.ready()
    threading.Event().wait()
    return 0


def _chatty(context: AppContext) -> int:
    context.ready()
    number = 0
    while True:
        print(number)
        number += 1
        threading.Event().wait(0.02)


APPS: dict[str, App] = {"talk": _talk, "parent": _parent, "stubborn": _stubborn, "chatty": _chatty}


def _started(lab: Lab, app: str = "") -> None:
    lab.apps = APPS
    lab.start()
    lab.connect()
    lab.ok(Op.WATCH)
    lab.sandbox()
    lab.container(app=app)


def _status(pid: int, field: str) -> str:
    with open(f"/proc/{pid}/status") as file:
        return next(line.split()[1] for line in file if line.startswith(f"{field}:"))


def test_a_container_is_confined(lab: Lab) -> None:
    """Only the OCI default capabilities, nothing more by exec, a session of its own, and no stray descriptors."""
    _started(lab)
    seen = lab.ready()
    assert _status(seen.pid, "CapEff") == _status(seen.pid, "CapBnd") == "00000000a80425fb"
    assert _status(seen.pid, "NoNewPrivs") == "1"
    assert os.getsid(seen.pid) == seen.pid
    targets = [
        os.readlink(f"/proc/{seen.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{seen.pid}/fd")
    ]
    mine = [
        it
        for it in targets
        if not it.endswith(("/c/log", "/c/err", "/c/wake")) and it != "/dev/null"
    ]
    # One that listens for each family that the kernel has.
    assert 1 <= len(mine) <= 2, mine
    assert all(it.startswith("socket:") for it in mine)


def test_a_container_is_in_its_sandbox(lab: Lab) -> None:
    """Network, IPC and UTS namespaces are the pause process's, and none is the shim's."""
    _started(lab)
    seen = lab.ready()
    pause = lab.ok(Op.LIST)["sandboxes"][0]["pid"]
    for kind in ("net", "ipc", "uts"):
        own = os.readlink(f"/proc/{seen.pid}/ns/{kind}")
        assert own == os.readlink(f"/proc/{pause}/ns/{kind}")
        assert own != os.readlink(f"/proc/{lab.pid}/ns/{kind}")
    assert netns.inode(labs.netns_name()) == os.stat(f"/proc/{pause}/ns/net").st_ino


def test_the_end_is_reported_with_code_and_log(lab: Lab) -> None:
    """Everything written before the end is in the log when the end is reported."""
    _started(lab, "talk")
    seen = lab.ended()
    assert (seen.exit_code, seen.reason, seen.signal) == (5, "Error", 0)
    assert [line.split(" ", 3)[1:] for line in lab.log().splitlines()] == [
        ["stdout", "F", "to stdout"],
        ["stderr", "F", "to stderr"],
    ]


def test_sigterm_ends_the_stand_in_well(lab: Lab) -> None:
    """The stand-in ends with 0 on SIGTERM, 137 on SIGKILL."""
    _started(lab)
    lab.ready()
    lab.ok(Op.SIGNAL, container="c", signal=signal.SIGTERM)
    seen = lab.ended()
    assert (seen.exit_code, seen.reason) == (0, "Completed")
    lab.container("d")
    lab.ready("d")
    lab.ok(Op.SIGNAL, container="d", signal=signal.SIGKILL)
    assert (lab.ended("d").exit_code, lab.ended("d").signal) == (137, 9)


def test_children_go_with_their_container(lab: Lab) -> None:
    """Killing a container's first process leaves none of its children."""
    _started(lab, "parent")
    seen = lab.ready()
    assert len(_session(seen.pid)) == 2
    os.kill(seen.pid, signal.SIGKILL)
    lab.ended()
    until(lambda: _session(seen.pid) == [])


def test_stopping_a_sandbox_leaves_nothing(lab: Lab) -> None:
    """Even of a container that ignores SIGTERM; repeating it succeeds."""
    _started(lab, "stubborn")
    seen = lab.ready()
    lab.ok(Op.STOP_SANDBOX, sandbox="sandbox-p")
    assert not os.path.exists(f"/proc/{seen.pid}")
    assert not netns.exists(labs.netns_name())
    assert lab.containers() == {}
    lab.ok(Op.STOP_SANDBOX, sandbox="sandbox-p")


def test_a_running_container_cannot_be_removed(lab: Lab) -> None:
    """Forgetting it would leave a process nobody owns."""
    _started(lab)
    lab.ready()
    assert "it is running" in lab.call(Op.REMOVE_CONTAINER, container="c")["error"]
    lab.ok(Op.SIGNAL, container="c", signal=signal.SIGKILL)
    lab.ended()
    lab.ok(Op.REMOVE_CONTAINER, container="c")
    assert lab.containers() == {}


def test_starting_twice_starts_once(lab: Lab) -> None:
    """A repeated request returns what is there."""
    _started(lab)
    assert lab.container().pid == lab.ready().pid
    assert lab.sandbox() == "sandbox-p"
    assert len(lab.ok(Op.LIST)["sandboxes"]) == 1


def test_a_container_without_a_sandbox_is_refused(lab: Lab) -> None:
    """The cause is said, and nothing is left of it."""
    lab.start()
    lab.connect()
    answer = lab.call(Op.START_CONTAINER, config={"id": "c", "sandboxID": "none"})
    assert "it is not running" in answer["error"]
    assert lab.containers() == {}


def test_a_pause_process_that_dies_is_reported(lab: Lab) -> None:
    """The kubelet learns that the sandbox is gone."""
    _started(lab)
    pause = lab.ok(Op.LIST)["sandboxes"][0]["pid"]
    os.kill(pause, signal.SIGKILL)
    until(lambda: lab.ok(Op.LIST)["sandboxes"][0].get("state") == State.EXITED)
    assert any(it.get("sandbox", {}).get("state") == State.EXITED for it in lab.reports)


def test_the_next_shim_adopts(lab: Lab) -> None:
    """Containers run on, their log goes on, and their end is still seen, though not its code."""
    _started(lab, "chatty")
    before = lab.ready()
    lab.kill()
    os.kill(before.pid, 0)
    lab.start()
    lab.connect()
    after = lab.containers()["c"]
    assert (after.pid, after.state, after.ready) == (before.pid, State.RUNNING, True)
    written = len(lab.log())
    until(lambda: len(lab.log()) > written)
    numbers = [int(line.rsplit(" ", 1)[1]) for line in lab.log().splitlines()]
    assert numbers == list(range(len(numbers)))
    lab.ok(Op.SIGNAL, container="c", signal=signal.SIGKILL)
    seen = lab.ended()
    assert (seen.exit_code, seen.reason) == (137, "ContainerStatusUnknown")


def test_an_end_nobody_saw_is_unknown(lab: Lab) -> None:
    """A container that ended while there was no shim is reported as such by the next one."""
    _started(lab)
    seen = lab.ready()
    lab.kill()
    os.kill(seen.pid, signal.SIGKILL)
    lab.start()
    lab.connect()
    assert lab.ended().reason == "ContainerStatusUnknown"


def test_exec_passes_streams_and_code(lab: Lab) -> None:
    """The program writes to the caller's descriptors, inside the sandbox, and cannot write the host's files."""
    _started(lab)
    lab.ready()
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    script = "hostname; touch /var/x || echo read-only; cat /proc/self/status | grep CapEff; exit 9"
    config = {"containerID": "c", "argv": ["sh", "-c", script]}
    answer = lab.ok(Op.EXEC, (null, writer, null), config=config)
    os.close(writer)
    assert answer == {"exitCode": 9}
    with open(reader) as said:
        assert said.read().split() == ["p", "read-only", "CapEff:", "00000000a00425fb"]
    missing = {"containerID": "c", "argv": ["no-such-program"]}
    assert lab.ok(Op.EXEC, (null, null, null), config=missing) == {"exitCode": 127}
    os.close(null)


def test_exec_ends_with_its_caller(lab: Lab) -> None:
    """A caller that goes away takes its program along."""
    _started(lab)
    lab.ready()
    null = os.open(os.devnull, os.O_RDWR)
    other = Lab()
    other.connect()
    assert other.sock is not None
    config = {"containerID": "c", "argv": ["sleep", "60"]}
    frame = cri.pack({"op": Op.EXEC, "id": 1, "config": config})
    socket.send_fds(other.sock, [frame], [null, null, null])
    os.close(null)
    until(lambda: _named("sleep"))
    other.sock.close()
    until(lambda: not _named("sleep"))


def test_a_second_shim_is_refused(lab: Lab) -> None:
    """Two parents of one node's containers would fight."""
    _started(lab)
    second = Lab()
    second.start()
    _, status = os.waitpid(second.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    lab.ok(Op.LIST)


def test_a_broken_client_harms_nobody(lab: Lab) -> None:
    """Garbage ends its own connection only."""
    _started(lab)
    rogue = Lab()
    rogue.connect()
    assert rogue.sock is not None
    rogue.sock.sendall(b"\xff" * 64)
    assert rogue.sock.recv(1) == b""
    rogue.sock.close()
    lab.ok(Op.LIST)


def _session(leader: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if not entry.isdigit() or os.getsid(int(entry)) != leader:
                continue
            if _status(int(entry), "State") != "Z":
                found.append(int(entry))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def _named(name: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if file.read().split(b"\0")[0] == name.encode():
                    found.append(entry)
        except OSError:
            continue
    return found
