"""The framing that nf_tables, conntrack and rtnetlink share: messages of attributes.

Source: netlink(7); Linux include/uapi/linux/netlink.h, nfnetlink.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator

from netpod.linux import netns

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP = 1, 2
SO_RCVBUFFORCE = 33
NLA_TYPE_MASK = 0x3FFF


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Return the attributes of a message by type, without the nested and byte-order bits."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def messages(buffer: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of each message in a datagram."""
    offset = 0
    while offset + 16 <= len(buffer):
        length, kind, flags = struct.unpack_from("IHH", buffer, offset)
        if length < 16:
            return
        yield kind, flags, buffer[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def text(value: bytes) -> str:
    """Return a zero-terminated string."""
    return value.rstrip(b"\0").decode()


class EventSocket:
    """Multicast netfilter events of one network namespace.

    Attributes:
        lost: How often the kernel said ENOBUFS: each time at least one event was dropped.
    """

    def __init__(self, netns_name: str, groups: tuple[int, ...], *, buffer: int = 4 << 20) -> None:
        self.netns = netns_name
        self.lost = 0
        self._groups = groups
        self.socket = netns.socket_in(
            netns_name, socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
            self.socket.bind((0, 0))
            for group in groups:
                self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            raise

    def read(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (type, flags, body) of every event waiting; never blocks."""
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            yield from messages(data)

    def hush(self) -> None:
        """Get no more events; those waiting can still be read."""
        for group in self._groups:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group)
        self._groups = ()

    def fileno(self) -> int:
        """The socket's descriptor, to wait on."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()
