"""Pipes and terminals from the event loop, without a buffer of ours between them and whoever asks."""

import fcntl
import os
import struct
import termios

from netpod import web

CHUNK = 1 << 15


class Descriptor:
    """One end of a pipe or terminal; owned, and closed by `close`."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    async def read(self) -> bytes:
        """Return what is there, waiting for something; b"" once nobody can write any more."""
        while True:
            try:
                return os.read(self._fd, CHUNK)
            except BlockingIOError:
                await web.readable(self._fd)
            except OSError:  # EIO: the program's end of a terminal is closed
                return b""

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            OSError: EPIPE or EIO, nobody can read any more.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await web.writable(self._fd)

    def resize(self, width: int, height: int) -> None:
        """Tell a terminal its size in characters; the kernel tells the program."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def close(self) -> None:
        """Close; repeating it is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
