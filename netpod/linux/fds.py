"""File descriptors on their way into a child process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def moved_up(fds: Sequence[int | None]) -> Iterator[list[int | None]]:
    """Copies at numbers above 9, closed at the end; None stays None."""
    copies = [None if fd is None else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in fds]
    try:
        yield copies
    finally:
        for copy in copies:
            if copy is not None:
                os.close(copy)


def inheritable() -> list[int]:
    """Descriptors above 2 that a child would keep over exec: what this process was itself given at its start."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory's own descriptor is closed by now
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found
