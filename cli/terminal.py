"""A terminal between this one and a program elsewhere: `exec -it`."""

import fcntl
import os
import pty
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def run(program: Callable[[int], int]) -> int:
    """Call `program` with a new terminal's descriptor and connect it to ours until it ends.

    Our terminal is in raw mode meanwhile, follows changes of size, and is as before afterwards.
    """
    near, far = pty.openpty()
    _copy_size(far)
    result: list[int] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(program(far))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failure.append(error)
        finally:
            os.close(far)

    previous = signal.signal(signal.SIGWINCH, lambda *_: _copy_size(near))
    thread = threading.Thread(target=work, name="exec")
    try:
        with raw():
            thread.start()
            _pump(near, thread)
    finally:
        signal.signal(signal.SIGWINCH, previous)
        thread.join()
        os.close(near)
    if failure:
        raise failure[0]
    return result[0]


@contextmanager
def raw(*, enabled: bool = True) -> Iterator[None]:
    """Have our terminal, if it is one, pass every key on as it is; it is as before afterwards."""
    saved = termios.tcgetattr(0) if enabled and sys.stdin.isatty() else None
    try:
        if saved is not None:
            tty.setraw(0)
        yield
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _copy_size(fd: int) -> None:
    if sys.stdout.isatty():
        size = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)


def _pump(near: int, thread: threading.Thread) -> None:
    """Copy both ways until the program ended and all it wrote was shown."""
    sources = [near, 0]
    while True:
        ready, _, _ = select.select(sources, [], [], 0.05)
        if 0 in ready:
            typed = os.read(0, 4096)
            if typed:
                os.write(near, typed)
            else:
                sources.remove(0)
        if near in ready:
            try:
                shown = os.read(near, 65536)
            except OSError:  # EIO: the other end is closed
                return
            if not shown:
                return
            os.write(1, shown)
        elif not ready and not thread.is_alive():
            return
