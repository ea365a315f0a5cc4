"""Start a container through an OCI runtime: crun, else runc.

The shim must not wait and has no second thread, so a launcher is forked that may: in a mount namespace of its own it
mounts the root file system, lets the runtime create the container, puts it into its cgroups, writes its record, starts
it, and ends. The shim, as subreaper, is then the container's parent. The launcher outlives a shim that dies meanwhile.

    launcher    its own record        config.json.. below `bundle`   what the runtime reads
    pid         the container's       upper, work                    what the container writes, the overlay's scratch
    started     it runs               failure                        why it could not be started
    stdin       FIFO, with `stdin`    termination-log                its last words
    size        FIFO, with `tty`: the terminal's size, see cri.SIZE
"""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from netpod.api.cri import SIZE, ContainerConfig, Program, SandboxConfig
from netpod.errors import KernelError, NetpodError, Unsupported
from netpod.linux import process
from netpod.shim import cgroups, child, mounts, oci, pidfile

RUNTIMES = ("crun", "runc")
_UNIFIED = Path("/sys/fs/cgroup/unified")
CONSOLE_SECONDS = 10.0
_CHUNK = 1 << 16


def start(
    config: ContainerConfig,
    sandbox: SandboxConfig,
    *,
    directory: Path,
    pause: int,
    shm: Path,
    group: str,
    outputs: tuple[int, int],
    target: int = 0,
) -> int:
    """Fork a launcher and return its pid. It exits with 0 once the container runs.

    Args:
        config: With a `program`.
        sandbox: Its pod's.
        directory: Its records.
        pause: Number of the pause process.
        shm: Directory that the pod's containers share as /dev/shm.
        group: The pod's cgroup, see cgroups.py.
        outputs: Where the container's stdout and stderr go.
        target: Number of the process whose PID namespace it joins; 0 for the pod's or its own.
    """
    program = config.program
    assert program is not None, "a built-in container needs no OCI runtime"
    stdin = _stdin(directory, once=program.stdin_once) if program.stdin else None

    def body() -> int:
        child.own(directory, "launcher")
        os.setsid()
        child.reset_signals()
        child.standard_streams(stdin, *outputs)
        try:
            _launch(config, sandbox, program, directory, (pause, target), shm, group)
        except (NetpodError, OSError) as error:
            pidfile.replace_file(directory / "failure", str(error).encode())
            return 1
        return 0

    try:
        return child.fork(body)
    finally:
        if stdin is not None:
            os.close(stdin)


def failure(directory: Path) -> str:
    """Why a container could not be started."""
    try:
        return (directory / "failure").read_text(errors="replace")
    except OSError:
        return "the launcher was killed"


def _stdin(directory: Path, *, once: bool) -> int:
    path = directory / "stdin"
    for each in (path, directory / "eof") if once else (path,):
        if not each.exists():
            os.mkfifo(each, 0o600)
    # For writing too: it does not end because nobody is attached.
    both = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if not once:
        return both
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(both)


def _launch(
    config: ContainerConfig,
    sandbox: SandboxConfig,
    program: Program,
    directory: Path,
    joined: tuple[int, int],
    shm: Path,
    group: str,
) -> None:
    runtime = _runtime()
    writer = os.open(directory / "stdin", os.O_RDWR | os.O_CLOEXEC) if program.stdin_once else None
    rootfs = directory / "bundle" / "rootfs"
    rootfs.mkdir(parents=True)
    shm.mkdir(mode=0o1777, exist_ok=True)
    shm.chmod(0o1777)
    (directory / "termination-log").touch(mode=0o666)
    (directory / "termination-log").chmod(0o666)
    etc = [name for name in oci.ETC if sandbox.etc and (Path(sandbox.etc) / name).exists()]
    submounts = [] if program.rootfs else mounts.submounts(Path("/proc/self/mountinfo").read_text())
    mounts.own_namespace()
    if (_UNIFIED / "cgroup.procs").exists():
        mounts.detach(
            _UNIFIED
        )  # crun takes a hybrid layout for an error; the cgroups are ours to make
    mounts.overlay(Path(program.rootfs or "/"), directory, rootfs)
    mounts.make_plain(rootfs / "etc", etc)
    bundle = oci.compile(
        config,
        sandbox,
        pause=joined[0],
        target=joined[1],
        rootfs=rootfs,
        directory=directory,
        submounts=submounts,
        shm=shm,
        etc=etc,
    )
    (rootfs.parent / "config.json").write_bytes(orjson.dumps(bundle))
    with _console(directory, enabled=program.tty) as console:
        arguments = ["--bundle", str(rootfs.parent), "--pid-file", str(directory / "init")]
        listening = ["--console-socket", f"/proc/{os.getpid()}/cwd/console"] if program.tty else []
        _run(runtime, directory, "create", [*arguments, *listening, "c"], program)
        master = _terminal(console) if console is not None else None
    pid = int((directory / "init").read_text())
    try:
        cgroups.add(group, config.id, pid, config.resources)
        pidfile.write(directory, pid)
        _run(runtime, directory, "start", ["c"], program)
    except (NetpodError, OSError):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise
    (directory / "started").touch()
    if master is not None:
        _relay(master, directory)
    if writer is not None:
        _hold(writer, pid, directory)


def _runtime() -> str:
    for name in RUNTIMES:
        with contextlib.suppress(Unsupported):
            return process.find(name)
    raise Unsupported("cannot run containers: neither crun nor runc is installed")


def _run(
    runtime: str, directory: Path, verb: str, arguments: Sequence[str], program: Program
) -> None:
    options = ["--root", str(directory / "runtime"), "--log", str(directory / "runtime.log")]
    options += ["--log-format", "json"]
    if runtime.endswith("crun"):
        options.append("--cgroup-manager=disabled")
    pid = process.spawn([runtime, *options, verb, *arguments], stdin=0)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise KernelError(_cause(directory / "runtime.log", program.argv[0]))


def _cause(path: Path, name: str) -> str:
    """What the runtime logged last, in the words upstream's runtime has for it."""
    try:
        message = str(orjson.loads(path.read_bytes().splitlines()[-1])["msg"])
    except (OSError, IndexError, KeyError, orjson.JSONDecodeError):
        return f"cannot run {name}: the OCI runtime failed and did not say why"
    words = f'exec: "{name}": '
    if name in message and "not found in $PATH" in message:
        missing = f"stat {name}: no such file or directory"
        message = words + (missing if "/" in name else "executable file not found in $PATH")
    elif message.startswith("open executable: "):
        message = words + message.removeprefix("open executable: ").lower()
    return f"OCI runtime create failed: unable to start container process: {message}"


@contextlib.contextmanager
def _console(directory: Path, *, enabled: bool) -> Iterator[socket.socket | None]:
    """Listen where the runtime sends the terminal it makes."""
    if not enabled:
        yield None
        return
    with socket.socket(socket.AF_UNIX) as listener:
        # By a short name, and so does the runtime, as our working directory: an address has 108 bytes.
        os.chdir(directory)
        listener.bind("console")
        listener.listen(1)
        listener.settimeout(CONSOLE_SECONDS)
        yield listener


def _terminal(console: socket.socket) -> int:
    """Receive the terminal's master end from the runtime. Source: runtime-spec, --console-socket."""
    connection, _ = console.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 1 << 12, 1)
    return fds[0]


def _hold(writer: int, pid: int, directory: Path) -> None:
    """Fork a process that keeps a container's standard input open until somebody writes to `eof`."""
    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(pid)
        if os.fork():
            os.close(ended)
            os.close(writer)
            return
        # Its log ends with the container, not with us.
        os.closerange(0, 3)
        eof = os.open(directory / "eof", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        waiting = selectors.DefaultSelector()
        for fd in (ended, eof):
            waiting.register(fd, selectors.EVENT_READ)
        waiting.select()
        os._exit(0)


def _relay(master: int, directory: Path) -> None:
    """Fork a process that carries bytes between the terminal and the container's FIFOs until it is closed."""
    if os.fork():
        return
    _resize(master, SIZE.pack(80, 24))
    with contextlib.suppress(OSError):
        os.mkfifo(directory / "size", 0o600)
        sizes = os.open(directory / "size", os.O_RDWR | os.O_CLOEXEC)
        waiting = selectors.DefaultSelector()
        waiting.register(master, selectors.EVENT_READ, 1)
        with contextlib.suppress(PermissionError):  # /dev/null cannot be waited for
            waiting.register(0, selectors.EVENT_READ, master)
        waiting.register(sizes, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                data = os.read(key.fd, _CHUNK)
                if key.fd == sizes:
                    _resize(master, data)
                    continue
                if not data:
                    os._exit(0)
                os.write(key.data, data)
    sys.stdout.flush()
    os._exit(0)


def _resize(master: int, data: bytes) -> None:
    """Give a terminal the last of the sizes that were written; the kernel tells the program."""
    whole = data[: len(data) // SIZE.size * SIZE.size][-SIZE.size :]
    if whole:
        width, height = SIZE.unpack(whole)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
