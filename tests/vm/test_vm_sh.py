"""vagrant/vm.sh: what a command in a guest says and how it ends, to the byte."""

import os
import signal
import subprocess  # noqa: TID251 - both streams and the status are looked at
from pathlib import Path

from tests.support import guest
from tests.support.wait import until

HOST_KERNEL = os.uname().release


@guest.needed
def test_streams_and_status_come_out_unchanged(tmp_path: Path) -> None:
    """All byte values and more than a pipe holds, on both streams apart; the status is the command's."""
    script = (
        "import os, sys; every = bytes(range(256)) * 600\n"
        "open('written', 'wb').write(every); open(os.__file__ + '.new', 'w').close()\n"
        "sys.stdout.buffer.write(every + os.uname().release.encode()); sys.stdout.flush()\n"
        "sys.stderr.buffer.write(every[::-1]); assert not sys.stdin.read(); sys.exit(7)"
    )
    done = guest.run("/usr/bin/python3", "-c", script, folder=tmp_path)
    every = bytes(range(256)) * 600
    assert done.returncode == 7
    assert done.stderr == every[::-1]
    assert done.stdout.startswith(every)
    assert done.stdout.removeprefix(every).decode() != HOST_KERNEL
    assert not list(tmp_path.iterdir())
    assert not Path(os.__file__ + ".new").exists()


@guest.needed
def test_time_that_is_over_ends_the_guest() -> None:
    """Status 124, with what it had said before."""
    done = guest.run("sh", "-c", "echo begun; sleep 600", options=["--timeout", "12"])
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert b"12 s are over" in done.stderr


@guest.needed
def test_panic_is_told_from_a_command_that_failed() -> None:
    """Status 125 and the kernel's log, which names the panic."""
    done = guest.run("sh", "-c", "echo c > /proc/sysrq-trigger; sleep 600")
    assert done.returncode == 125
    assert b"Kernel panic" in done.stderr


@guest.needed
def test_a_bug_in_the_log_is_a_failure_even_if_the_command_is_content() -> None:
    """A kernel that complained is not to be believed."""
    done = guest.run("sh", "-c", "echo 'BUG: unable to go on' > /dev/kmsg")
    assert done.returncode == 125
    assert b"unable to go on" in done.stderr


@guest.needed
def test_nothing_is_left_when_it_is_killed() -> None:
    """Its processes go with it, and with them the namespaces that hold its files."""
    mounts = Path("/proc/self/mounts").read_text()
    running = subprocess.Popen(
        guest.command("sh", "-c", "echo up; sleep 600"), stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    below = descendants(running.pid)
    assert len(below) >= 2
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    running.stdout.close()
    until(lambda: not any(map(alive, below)), "every process of the guest is gone", 20)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert not Path("/run/netpod-vm").exists()


def test_a_machine_without_guests_is_told_what_to_install() -> None:
    """Status 4 and one line per kind of guest."""
    env = {**os.environ, "PATH": "/nowhere"}
    argv = ["/usr/bin/python3", str(guest.VM_SH.parent / "vm/run.py"), "--which"]
    done = subprocess.run(argv, env=env, capture_output=True)
    assert done.returncode == 4
    assert b"apt-get install user-mode-linux" in done.stderr


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        children = Path(f"/proc/{todo.pop()}/task").glob("*/children")
        for number in [int(word) for path in children for word in path.read_text().split()]:
            found.add(number)
            todo.append(number)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
