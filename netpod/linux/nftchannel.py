"""The netlink socket on which nftables transactions are handed over; one stays open for this process's own namespace.

Whoever closes a netlink socket after a transaction that deleted something waits for the kernel's cleaning up, an RCU
grace period of 6 to 16 ms (nf_tables_api.c, nft_rcv_nl_event): as long as most transactions take. A socket that stays
open waits for nobody. For other namespaces a socket is made each time, because an open one would keep them alive.
"""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from errno import EINTR, ENOBUFS

from netpod.linux import netns as namespaces

NETLINK_NETFILTER = 12
_SEND_BYTES = 1 << 21
_TIMEOUT = 30.0
_RECEIVE = 1 << 16
_NLMSG_ERROR = 2


class _Own:
    """The open socket, and of which process and namespace it is: a fork or a setns makes it somebody else's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._owner = (0, 0)

    def open(self) -> socket.socket:
        owner = (os.getpid(), os.stat("/proc/thread-self/ns/net").st_ino)
        if self._socket is None or self._owner != owner:
            self.close()
            self._socket = _prepared(
                socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            )
            self._owner = owner
        return self._socket

    def forget(self) -> None:
        """In the child of a fork: the parent's socket is the parent's, and so is whoever holds the lock."""
        self.lock = threading.Lock()
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_OWN = _Own()
os.register_at_fork(after_in_child=_OWN.forget)


@contextlib.contextmanager
def opened(netns: str) -> Iterator[socket.socket]:
    """A bound socket for one transaction; after an exception nothing that was answered late is read by the next.

    Raises:
        OSError: it cannot be opened.
        KernelError: the namespace is not there.
    """
    if netns:
        with _prepared(
            namespaces.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        ) as channel:
            yield channel
        return
    with _OWN.lock:
        try:
            yield _OWN.open()
        except BaseException:
            _OWN.close()
            raise


def _prepared(channel: socket.socket) -> socket.socket:
    try:
        channel.settimeout(_TIMEOUT)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        channel.bind((0, 0))
    except BaseException:
        channel.close()
        raise
    return channel


def answers(channel: socket.socket, last: int) -> int:
    """The first error, or 0, once the last command was answered; a refused batch answers every refused command."""
    while True:
        try:
            data = channel.recv(_RECEIVE)
        except OSError as error:
            if error.errno == EINTR:
                continue
            return error.errno or ENOBUFS
        offset = 0
        while offset < len(data):
            length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
            if kind == _NLMSG_ERROR:
                code = struct.unpack_from("=i", data, offset + 16)[0]
                if code:
                    return -int(code)
                if sequence == last:
                    return 0
            offset += (length + 3) & ~3
