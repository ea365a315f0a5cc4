"""SPDY/3.1 frames <-> bytes: the subset that multiplexes the streams of exec, attach and port-forward.

    control  1 version:15 type:16 flags:8 length:24 payload       version is 3
    data     0 stream:31          flags:8 length:24 payload

Source: SPDY protocol, draft 3.1, section 2.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from netpod.kubelet.spdy_headers import Deflater, Inflater

VERSION = 3
FIN = 1
CONTROL_LIMIT = 1 << 16
"""Longest control frame in bytes; data frames may have any length and are handed on in parts."""
_HEAD = struct.Struct(">II")
_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">II")
_STREAM = 0x7FFFFFFF


class Kind(IntEnum):
    """Type of a control frame."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream was reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame. `stream` is the PING's number for one, and `value` is a reset's or GOAWAY's status."""

    kind: Kind
    stream: int = 0
    fin: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    value: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream, perhaps only a part of the frame they came in; `fin` ends its direction."""

    stream: int
    data: bytes
    fin: bool = False


Frame = Control | Data
_HAS_HEADERS = {Kind.SYN_STREAM: 10, Kind.SYN_REPLY: 4, Kind.HEADERS: 4}
_HAS_VALUE = frozenset({Kind.RST_STREAM, Kind.GOAWAY, Kind.WINDOW_UPDATE})


class Writer:
    """Frames to be sent; header blocks depend on those before, so frames go out in the order they were packed."""

    def __init__(self) -> None:
        self._deflater = Deflater()

    def pack(self, frame: Frame) -> bytes:
        """Return the bytes of a frame."""
        if isinstance(frame, Data):
            return _HEAD.pack(frame.stream, frame.fin << 24 | len(frame.data)) + frame.data
        body = _U32.pack(frame.stream)
        if frame.kind in _HAS_HEADERS:
            if frame.kind == Kind.SYN_STREAM:
                body += bytes(6)  # no associated stream, highest priority, no slot
            body += self._deflater.pack(frame.headers)
        elif frame.kind in _HAS_VALUE:
            body += _U32.pack(frame.value)
        first = 1 << 31 | VERSION << 16 | frame.kind
        return _HEAD.pack(first, frame.fin << 24 | len(body)) + body


class Parser:
    """Bytes received -> frames, however the bytes are cut."""

    def __init__(self) -> None:
        self._inflater = Inflater()
        self._buffer = bytearray()
        self._stream = 0
        self._left = 0
        self._fin = False

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now, and what has come of an incomplete data frame.

        Raises:
            ValueError: this is not SPDY/3; nothing more can be read.
        """
        self._buffer += data
        frames: list[Frame] = []
        while self._buffer:
            if self._left:
                frames.append(self._part())
                continue
            if len(self._buffer) < _HEAD.size:
                break
            first, second = _HEAD.unpack_from(self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if not first >> 31:
                del self._buffer[: _HEAD.size]
                self._stream, self._left, self._fin = first, length, bool(flags & FIN)
                if not length:
                    frames.append(Data(first, b"", self._fin))
                continue
            if first >> 16 & 0x7FFF != VERSION or length > CONTROL_LIMIT:
                raise ValueError("not a SPDY/3 frame")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            frame = self._control(first & 0xFFFF, flags, body)
            if frame is not None:
                frames.append(frame)
        return frames

    def _part(self) -> Data:
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        return Data(self._stream, piece, self._fin and not self._left)

    def _control(self, number: int, flags: int, body: bytes) -> Control | None:
        try:
            kind = Kind(number)
        except ValueError:
            return None  # unknown frames are to be ignored
        if kind == Kind.SETTINGS:
            return Control(kind)
        offset = _HAS_HEADERS.get(kind, 8 if kind in _HAS_VALUE else 4)
        if len(body) < offset:
            raise ValueError(f"{kind.name} frame is cut short")
        (stream,) = _U32.unpack_from(body)
        if kind in _HAS_HEADERS:
            headers = self._inflater.unpack(body[offset:])
            return Control(kind, stream & _STREAM, bool(flags & FIN), headers)
        value = _PAIR.unpack_from(body)[1] if kind in _HAS_VALUE else 0
        # A PING's number uses all bits, a stream's all but the first.
        number = stream if kind == Kind.PING else stream & _STREAM
        return Control(kind, number, value=value)
