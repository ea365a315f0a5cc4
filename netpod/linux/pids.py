"""Which process has a number: one is told from a later one of the same number by when it started.

Apart from process.py, because the process that forks stand-ins imports as little as it can.
"""

from errno import ENOENT, ESRCH

from netpod.errors import KernelError


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: together with its number it is never used twice.

    Raises:
        KernelError: ESRCH, no such process.

    Source: proc(5), /proc/PID/stat field 22.
    """
    return int(_stat(pid)[19])


def alive(pid: int, started: int) -> bool:
    """Whether this very process still runs; one that ended and waits to be reaped does not."""
    try:
        fields = _stat(pid)
    except KernelError:
        return False
    return int(fields[19]) == started and fields[0] not in ("Z", "X")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; the second may hold spaces and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError as error:
        cause = ESRCH if error.errno in (ENOENT, ESRCH) else error.errno or 0
        raise KernelError(f"cannot read process {pid}", errno=cause) from error
    return text[text.rindex(b")") + 2 :].decode().split()
