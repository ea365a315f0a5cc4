"""A small process beside the shim that forks stand-ins: `python -m netpod.shim.zygote MODULE:FUNCTION`.

The shim has imported all that a node needs. A fork copies its page tables, and each child ends up with copies of what
the shim goes on writing to: 3 ms and 4 MB a container. This process imports what a stand-in needs, writes to nothing
between two forks, and costs a tenth of the time and a quarter of the memory.

Its children are the shim's own (CLONE_PARENT), so nothing else is different for them. It ends with the shim.

On descriptor 3, a stream socket: it says READY; a request is its length in 4 bytes, with DESCRIPTORS descriptors, then
JSON {"directory", "facts"}; the answer is the pid, or 0 and an errno, in 4 bytes each.
"""

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

from netpod.api.runtime import App, Port
from netpod.linux import libc
from netpod.shim import child, container, privileges

CHANNEL = 3
READY = b"r"
HEADER = struct.Struct("<I")
ANSWER = struct.Struct("<iI")
DESCRIPTORS = 4
"""Pause process's pidfd, stdout, stderr, wake."""


def name_of(app: App) -> str:
    """MODULE:FUNCTION of an app that can be imported, else ""."""
    module, function = getattr(app, "__module__", ""), getattr(app, "__qualname__", "")
    known = getattr(sys.modules.get(module), function, None)
    return f"{module}:{function}" if known is app and module != "__main__" else ""


def main(name: str) -> None:
    """Fork stand-ins until the shim is gone."""
    module, _, function = name.partition(":")
    app: App = getattr(importlib.import_module(module), function)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # All that can be done before the fork is done once.
    privileges.bound()
    os.environ.clear()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    # Nothing is ever collected here, nor in the children: a collection writes to every page that it looks at.
    gc.disable()
    gc.collect()
    gc.freeze()
    sock = socket.socket(fileno=CHANNEL)
    try:
        sock.sendall(READY)
        while _serve(sock, app):
            pass
    except ConnectionError:
        return


def _serve(sock: socket.socket, app: App) -> bool:
    header, fds, _, _ = socket.recv_fds(sock, HEADER.size, DESCRIPTORS)
    if len(header) < HEADER.size:
        return False
    try:
        pid, number = _fork(app, _receive(sock, *HEADER.unpack(header)), fds), 0
    except OSError as error:
        pid, number = 0, error.errno or 0
    finally:
        for fd in fds:
            os.close(fd)
    sock.sendall(ANSWER.pack(pid, number))
    return True


def _fork(app: App, message: bytes, fds: list[int]) -> int:
    def body() -> int:
        request = json.loads(message)
        pause, stdout, stderr, wake = fds
        facts: dict[str, Any] = request["facts"]
        facts["ports"] = tuple(Port(*port) for port in facts["ports"])
        place = container.Place(
            directory=request["directory"], pause=pause, outputs=(stdout, stderr), wake=wake
        )
        return container.run(app, facts, place)

    return child.fork(body, sibling=True)


def _receive(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ConnectionResetError("the shim is gone")
    return data


if __name__ == "__main__":
    main(sys.argv[1])
