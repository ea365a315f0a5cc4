"""One client of the shim: frames in, frames out, file descriptors that came along."""

import os
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

from netpod.api import cri

BACKLOG = 64 << 20
"""Bytes a client may leave unread before it is dropped."""


class Connection:
    """Reads requests and hands each to `serve`; writes without ever waiting for the client."""

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        serve: Callable[["Connection", dict[str, Any]], None],
        closed: Callable[["Connection"], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._selector = selector
        self._serve = serve
        self._closed = closed
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.fds: list[int] = []
        self.open = True
        selector.register(sock, selectors.EVENT_READ, self._ready)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message now or when the client reads; after the end, to nobody."""
        if not self.open:
            return
        self._outgoing += cri.pack(message)
        self._flush()

    def answer(self, request: Mapping[str, Any], result: Any) -> None:
        """Answer a request."""
        self.send({"id": request.get("id"), "ok": result})

    def refuse(self, request: Mapping[str, Any], cause: str) -> None:
        """Answer a request with an error."""
        self.send({"id": request.get("id"), "error": cause})

    def take_fds(self) -> list[int]:
        """Return the file descriptors that came with the request; the caller closes them."""
        fds, self.fds = self.fds, []
        return fds

    def close(self) -> None:
        """End the connection."""
        if not self.open:
            return
        self.open = False
        self._selector.unregister(self._sock)
        self._sock.close()
        for fd in self.take_fds():
            os.close(fd)
        self._closed(self)

    def _ready(self) -> None:
        if self._outgoing:
            self._flush()
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 1 << 18, 8)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self.fds += fds
        if not data:
            self.close()
            return
        self._incoming += data
        try:
            messages = cri.unpack(self._incoming)
        except ValueError:
            self.close()
            return
        for message in messages:
            self._serve(self, message)

    def _flush(self) -> None:
        try:
            while self._outgoing:
                sent = self._sock.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            if len(self._outgoing) > BACKLOG:
                self.close()
                return
        except OSError:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        if self._selector.get_key(self._sock).events != wanted:
            self._selector.modify(self._sock, wanted, self._ready)
