"""Netlink, several messages in one hand-over: the transport below link.py, route.py and conntrack.py.

pyroute2 encodes and decodes the messages; its own sockets are not used here: they open lazily, and one in another
namespace costs a child process and 7 ms. This one is an ordinary blocking socket, opened by a thread that entered
the namespace, and the kernel answers before `send` returns.

Sources: netlink(7), rtnetlink(7), kernel Documentation/userspace-api/netlink/intro.rst.
"""

import errno
import fcntl
import itertools
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from netpod.errors import KernelError, Unsupported
from netpod.linux import netns as namespaces

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300

NLMSG_ERROR = 2
NLMSG_DONE = 3

_NLM_F_DUMP_INTR = 0x10
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SIOCGIFINDEX = 0x8933
_TIMEOUT = 10.0
_BATCH = 64
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port


@dataclass(frozen=True, slots=True)
class Message:
    """One request, encoded.

    Attributes:
        data: Header and body; the sequence number is filled in when it is sent.
        what: What it does, after "cannot", e.g. "create link cni0".
        ignore: Error numbers that mean it was so already.
        feature: What a kernel lacks that answers EOPNOTSUPP, e.g. "bridge links"; "" for what every kernel has.
    """

    data: bytes
    what: str
    ignore: frozenset[int] = frozenset()
    feature: str = ""


def encode(
    message: Any,
    kind: int,
    flags: int,
    what: str,
    ignore: Iterable[int] = (),
    feature: str = "",
) -> Message:
    """Encode a pyroute2 message of RTM_* or nfnetlink type `kind`."""
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message.encode()
    return Message(bytes(message.data), what, frozenset(ignore), feature)


class Socket:
    """A netlink socket of one network namespace, for one thread at a time; close it, or use `with`."""

    def __init__(
        self, netns: str = "", protocol: int = socket.NETLINK_ROUTE, *, label: str = ""
    ) -> None:
        """Open in the named network namespace; "" is the calling thread's own, then `label` names it in errors."""
        self.netns = netns or label
        self._sequence = itertools.count(1)
        self._socket = namespaces.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.settimeout(_TIMEOUT)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> "Socket":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a namespace held only by it dies."""
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Hand over all messages, many in one call; each is carried out even when one before it failed.

        Raises:
            KernelError: the first that failed, with the kernel's errno and words.
            Unsupported: this kernel lacks what it asks for.
        """
        failure: KernelError | None = None
        for start in range(0, len(messages), _BATCH):
            failed = self._send(messages[start : start + _BATCH])
            failure = failure or failed
        if failure is not None:
            raise failure

    def index(self, name: str) -> int:
        """Number of a link in this socket's namespace, or 0 when there is no such link. Source: netdevice(7)."""
        try:
            answer = fcntl.ioctl(
                self._socket, _SIOCGIFINDEX, struct.pack("=16si12x", os.fsencode(name)[:15], 0)
            )
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise KernelError(
                f"cannot find link {name}", errno=error.errno or 0, netns=self.netns
            ) from error
        return int(struct.unpack_from("=i", answer, 16)[0])

    def dump(self, message: Message, cls: type[Any]) -> list[Any]:
        """Everything a GET request finds, decoded as `cls` (a pyroute2 message class).

        A single object that is absent gives an empty list when `message.ignore` holds the errno.
        """
        for _ in range(5):
            replies, interrupted = self._dump(message, cls)
            if not interrupted:
                return replies
        raise KernelError(f"cannot {message.what}", errno=errno.EINTR, netns=self.netns)

    def _send(self, messages: Sequence[Message]) -> KernelError | None:
        """One hand-over; the first failure, or None."""
        waiting: dict[int, Message] = {}
        parcel = bytearray()
        for message in messages:
            sequence = next(self._sequence)
            waiting[sequence] = message
            parcel += _numbered(message, sequence, NLM_F_ACK)
            parcel += b"\0" * (-len(parcel) % 4)
        self._put(parcel, messages[0])
        failure: KernelError | None = None
        while waiting:
            for kind, flags, sequence, body in self._receive(next(iter(waiting.values()))):
                answered = waiting.pop(sequence, None) if kind == NLMSG_ERROR else None
                if answered is not None and failure is None:
                    failure = self._failure(answered, flags, body)
        return failure

    def _dump(self, message: Message, cls: type[Any]) -> tuple[list[Any], bool]:
        sequence = next(self._sequence)
        self._put(_numbered(message, sequence), message)
        replies: list[Any] = []
        interrupted = False
        while True:
            for kind, flags, answer, body in self._receive(message):
                if answer != sequence:
                    continue
                interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                # Both begin with the errno, 0 when all is well.
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    failure = self._failure(message, flags, body)
                    if failure is not None:
                        raise failure
                    return replies, interrupted
                reply = cls(_HEADER.pack(16 + len(body), kind, flags, answer, 0) + body)
                reply.decode()
                replies.append(reply)

    def _put(self, parcel: bytes | bytearray, message: Message) -> None:
        try:
            self._socket.sendto(parcel, (0, 0))
        except OSError as error:
            raise KernelError(
                f"cannot {message.what}", errno=error.errno or 0, netns=self.netns
            ) from error

    def _receive(self, message: Message) -> list[tuple[int, int, int, bytes]]:
        """Messages of one datagram as (type, flags, sequence, body)."""
        try:
            # The kernel fits a dump's datagrams to the largest buffer it was offered, at most 32 KiB.
            data = self._socket.recv(65536)
        except OSError as error:
            cause = error.errno or errno.ETIMEDOUT
            raise KernelError(f"cannot {message.what}", errno=cause, netns=self.netns) from error
        found = []
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            found.append((kind, flags, sequence, data[offset + 16 : offset + length]))
            offset += (length + 3) & ~3
        return found

    def _failure(self, message: Message, flags: int, body: bytes) -> KernelError | None:
        """What an NLMSG_ERROR or NLMSG_DONE says: None for an acknowledgement and for an error that was expected."""
        code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
        if code == 0 or code in message.ignore:
            return None
        words = _words(flags, body)
        text = f"cannot {message.what}" + (f" ({words})" if words else "")
        if code == errno.EOPNOTSUPP and message.feature:
            text = f"cannot {message.what}: this kernel has no {message.feature}"
            return Unsupported(text, errno=code, netns=self.netns)
        return KernelError(text, errno=code, netns=self.netns)


def send(netns: str, messages: Sequence[Message]) -> None:
    """Hand rtnetlink messages to the kernel in one network namespace; see `Socket.send`."""
    with Socket(netns) as channel:
        channel.send(messages)


def dump(netns: str, message: Message, cls: type[Any]) -> list[Any]:
    """Ask rtnetlink in one network namespace; see `Socket.dump`."""
    with Socket(netns) as channel:
        return channel.dump(message, cls)


def _numbered(message: Message, sequence: int, more_flags: int = 0) -> bytes:
    length, kind, flags, _, port = _HEADER.unpack_from(message.data)
    header = _HEADER.pack(length, kind, flags | more_flags, sequence, port)
    return header + message.data[16:]


def _words(flags: int, body: bytes) -> str:
    """The kernel's explanation after an error, if it gave one. Source: netlink(7), NETLINK_EXT_ACK."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    offset = 20
    if not flags & _NLM_F_CAPPED:
        offset = 4 + struct.unpack_from("=I", body, 4)[0]
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind == _NLMSGERR_ATTR_MSG:
            return os.fsdecode(body[offset + 4 : offset + length].rstrip(b"\0"))
        offset += (length + 3) & ~3
    return ""
