"""Run a command as root in a guest with a kernel of its own, over the files of this machine.

The guest sees this machine's files at the same paths, but for an empty /run. It gets them read-only, in a mount
namespace of its own; what it writes stays in its memory. It has no network but the one it makes. COMMAND runs in the
current folder with an empty stdin; its stdout and stderr come out of here byte for byte, apart.

Guests, in this order: kvm (QEMU on a processor that can, about as fast as the machine), uml (User Mode Linux; starts
in 4 s, slow at processes and page faults), qemu (emulated; takes minutes).

Exit status: COMMAND's; 2 usage; 4 this machine can start no guest; 124 the time was over; 125 the guest did not start
or its kernel died (panic, Oops, BUG), whatever the command said: the kernel's log then goes to stderr.
"""

import argparse
import os
import re
import selectors
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn

import guests
import private

HERE = Path(__file__).resolve().parent
JOB = Path("/run/netpod-vm")
KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "COLUMNS", "PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS")
# Lockups are what a busy machine looks like from inside, not a defect of the kernel.
DEAD = re.compile(rb"Kernel panic - not syncing|\bOops\b|\bBUG: (?!soft lockup|workqueue lockup)")
GRACE = 3.0
TIMED_OUT, DIED, NO_GUEST = 124, 125, 4


def main() -> None:
    """Parse, choose, run."""
    parser = argparse.ArgumentParser(
        prog="vm.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guest", choices=list(guests.ALL), help="this one, or fail")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds (default 1800)")
    parser.add_argument("--memory", default="1G", help="of the guest (default 1G)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]")
    parser.add_argument("--console", action="store_true", help="print the kernel's log at the end")
    parser.add_argument("--quiet", action="store_true", help="do not say which guest it is")
    parser.add_argument("--which", action="store_true", help="only say which guest it would be")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command and not options.which:
        parser.error("say what to run: vm.sh [OPTIONS] [--] COMMAND...")
    guest, why_not = choose(options.guest)
    if guest is None:
        print("vm.sh: cannot start a guest here:", *why_not, sep="\n  ", file=sys.stderr)
        sys.exit(NO_GUEST)
    if options.which:
        print(guest.name)
        return
    if os.geteuid() != 0:
        parser.error("run as root (sudo): it mounts, in a namespace of its own")
    if not options.quiet:
        print(f"vm.sh: running in {guest.words}", file=sys.stderr, flush=True)
    sys.exit(run(guest, command, environment(guest, options.env), options))


def choose(wanted: str | None) -> tuple[guests.Guest | None, list[str]]:
    """The first guest this machine can start, and why not those before it."""
    why_not = []
    for name in [wanted] if wanted else guests.ALL:
        guest = guests.ALL[name]()
        if not guest.missing:
            return guest, why_not
        why_not.append(f"{name}: {guest.missing}")
    return None, why_not


def environment(guest: guests.Guest, more: list[str]) -> dict[str, str]:
    """What the command has in its environment; NETPOD_VM says that it is in a guest."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env |= {"HOME": "/root", "NETPOD_VM": guest.name}
    for entry in more:
        name, given, value = entry.partition("=")
        env[name] = value if given else os.environ.get(name, "")
    return env


def run(
    guest: guests.Guest,
    command: list[str],
    env: Mapping[str, str],
    options: argparse.Namespace,
) -> int:
    """Start the guest, copy its streams, and judge how it ended."""
    folder = os.getcwd()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    private.enter(JOB)
    write_job(command, env, folder)
    pipes = [os.pipe() for _ in range(3)]
    child = private.fork(
        lambda: start(guest, options.memory, pipes), keep=[end for pair in pipes for end in pair]
    )
    for _, write in pipes:
        os.close(write)
    log = bytearray()
    why = "over"
    try:
        sinks = {
            pipes[0][0]: log.extend,
            pipes[1][0]: writer(sys.stdout.buffer),
            pipes[2][0]: writer(sys.stderr.buffer),
        }
        why = pump(sinks, log, time.monotonic() + options.timeout)
    except KeyboardInterrupt:
        return 130
    finally:
        private.end(child)
    return verdict(why, log, options)


def write_job(command: list[str], env: Mapping[str, str], folder: str) -> None:
    """The job folder: the guest's init, what it is to run, and room for the exit status."""
    (JOB / "out").mkdir()
    init = JOB / "init"
    init.write_bytes((HERE / "guest-init").read_bytes())
    lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    lines += [f"cd {shlex.quote(folder)} || exit 125", f"exec {shlex.join(command)}"]
    job = JOB / "job"
    job.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    for path in (init, job):
        path.chmod(0o755)


def start(guest: guests.Guest, memory: str, pipes: list[tuple[int, int]]) -> NoReturn:
    """Become the guest."""
    log, out, err = (write for _, write in pipes)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    argv = guest.argv(JOB, memory, guests.Streams(log=log, out=out, err=err))
    os.execvp(argv[0], argv)


def writer(sink: BinaryIO) -> Callable[[bytes], None]:
    """Write and flush: a reader of ours sees what the guest said when it said it."""

    def write(data: bytes) -> None:
        sink.write(data)
        sink.flush()

    return write


def pump(sinks: Mapping[int, Callable[[bytes], None]], log: bytearray, deadline: float) -> str:
    """Copy until all streams are closed: "ended", "dead" or "over" say why it stopped."""
    selector = selectors.DefaultSelector()
    for descriptor, sink in sinks.items():
        selector.register(descriptor, selectors.EVENT_READ, sink)
    dead = False
    while selector.get_map():
        left = deadline - time.monotonic()
        if left <= 0:
            return "dead" if dead else "over"
        for key, _ in selector.select(left):
            data = os.read(key.fd, 65536)
            if not data:
                selector.unregister(key.fd)
                continue
            key.data(data)
            if not dead and DEAD.search(log):
                # It may hang after that; a little time lets it say why.
                dead, deadline = True, min(deadline, time.monotonic() + GRACE)
    return "dead" if dead else "ended"


def verdict(why: str, log: bytearray, options: argparse.Namespace) -> int:
    """The exit status, and the words that go with it."""
    try:
        status = int((JOB / "out" / "exit").read_text())
    except (OSError, ValueError):
        status = DIED
    if why != "ended":
        status = TIMED_OUT if why == "over" else DIED
    if options.console or status == DIED:
        sys.stderr.write(log.decode(errors="replace").replace("\r", ""))
    if status == TIMED_OUT and why == "over":
        print(f"vm.sh: {options.timeout:g} s are over; the guest was ended", file=sys.stderr)
    elif why == "dead":
        print("vm.sh: the guest's kernel died; its log is above", file=sys.stderr)
    elif status == DIED:
        print("vm.sh: the guest ended without an exit status; its log is above", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
