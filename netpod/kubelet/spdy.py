"""The server's end of a SPDY/3.1 connection: the client opens streams, both write to them.

Flow control is TCP's: upstream's library neither keeps nor opens SPDY's windows, so a peer that waits for
WINDOW_UPDATE frames gets them only once it has sent some itself, and none is waited for. A stream nobody reads stops
the whole connection when LIMIT bytes wait in it, as upstream's does.

Source: moby/spdystream connection.go, stream.go.
"""

import asyncio
from collections.abc import Callable, Mapping

from netpod.kubelet import spdy_frames as frames
from netpod.kubelet.spdy_frames import Control, Data, Kind, Reset
from netpod.kubelet.wire import CHUNK, Inbox, Wire

STREAMS = 1024
"""How many streams a connection may have open at once."""


class Stream:
    """One stream of a connection; `headers` are those it was opened with."""

    def __init__(self, connection: "Connection", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.inbox = Inbox()
        self._connection = connection
        self._closed = False

    async def read(self) -> bytes:
        """Return what comes next; b"" once the client has ended its direction, reset the stream or left."""
        chunk = await self.inbox.get()
        if chunk:
            await self._connection.consumed(self.number, len(chunk))
        return chunk

    async def write(self, data: bytes) -> None:
        """Send; to a client that reset the stream, nothing.

        Raises:
            ConnectionError: the client is gone.
        """
        for start in range(0, len(data), CHUNK):
            if not self._closed:
                await self._connection.send(Data(self.number, data[start : start + CHUNK]))

    async def close(self) -> None:
        """End our direction; repeating it is fine."""
        if not self._closed:
            self._closed = True
            await self._connection.send(Data(self.number, b"", fin=True))
            self._connection.forget(self)

    async def reset(self, reason: Reset = Reset.CANCEL) -> None:
        """Give up both directions."""
        if not self._closed or not self.inbox.ended:
            self._closed = True
            await self.end()
            await self._connection.send(Control(Kind.RST_STREAM, self.number, value=int(reason)))
            self._connection.forget(self)

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self._closed and self.inbox.ended

    async def end(self, *, reset: bool = False) -> None:
        """Note that the client sends no more; after a reset it reads no more either. For the connection."""
        self._closed = self._closed or reset
        await self.inbox.end()


class Connection:
    """All streams of a connection.

    Args:
        wire: Its bytes.
        opened: Told of each stream; False refuses it.
    """

    def __init__(self, wire: Wire, opened: Callable[[Stream], bool]) -> None:
        self._wire = wire
        self._opened = opened
        self._streams: dict[int, Stream] = {}
        self._writer = frames.Writer()
        self._order = asyncio.Lock()
        self._last = 0
        self._windows = False

    async def run(self) -> None:
        """Serve until the client leaves or breaks the protocol; then all streams have ended."""
        parser = frames.Parser()
        try:
            while data := await self._wire.read():
                for frame in parser.feed(data):
                    if isinstance(frame, Data):
                        await self._data(frame)
                    elif not await self._control(frame):
                        return
        except (ConnectionError, ValueError):
            return
        finally:
            for stream in list(self._streams.values()):
                await stream.end(reset=True)

    async def send(self, frame: frames.Frame) -> None:
        """Send a frame; the order of packing is the order on the wire."""
        async with self._order:
            await self._wire.write(self._writer.pack(frame))

    async def consumed(self, stream: int, size: int) -> None:
        """Open the window of a client that keeps windows."""
        if self._windows and stream in self._streams:
            for number in (0, stream):
                await self.send(Control(Kind.WINDOW_UPDATE, number, value=size))

    async def close(self) -> None:
        """End every stream and say that no more are served."""
        for stream in list(self._streams.values()):
            await stream.close()
        await self.send(Control(Kind.GOAWAY, self._last))

    def forget(self, stream: Stream) -> None:
        """Drop a stream once both directions have ended."""
        if stream.over:
            self._streams.pop(stream.number, None)

    async def _data(self, frame: Data) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            if frame.data:
                await self._refuse(frame.stream, Reset.INVALID_STREAM)
            return
        await stream.inbox.put(frame.data)
        if frame.fin:
            await stream.end()
            self.forget(stream)

    async def _control(self, frame: Control) -> bool:
        """Obey; False ends the connection."""
        match frame.kind:
            case Kind.SYN_STREAM:
                await self._open(frame)
            case Kind.RST_STREAM if frame.stream in self._streams:
                await self._streams.pop(frame.stream).end(reset=True)
            case Kind.PING if frame.stream & 1:
                await self.send(frame)
            case Kind.WINDOW_UPDATE | Kind.SETTINGS:
                self._windows = True
            case Kind.HEADERS if frame.fin and frame.stream in self._streams:
                await self._streams[frame.stream].end()
            case Kind.GOAWAY:
                return bool(self._streams)
        return True

    async def _open(self, frame: Control) -> None:
        # Source: section 2.3.2, a client's streams are odd and grow; anything else is a broken peer.
        if not frame.stream & 1 or frame.stream <= self._last:
            raise ValueError(f"stream {frame.stream} was opened out of order")
        self._last = frame.stream
        stream = Stream(self, frame.stream, frame.headers)
        if len(self._streams) >= STREAMS:
            await self._refuse(frame.stream, Reset.REFUSED_STREAM)
            return
        self._streams[frame.stream] = stream
        if frame.fin:
            await stream.end()
        # The reply goes before anything the one who is told may write.
        await self.send(Control(Kind.SYN_REPLY, frame.stream))
        if not self._opened(stream):
            await stream.reset(Reset.REFUSED_STREAM)

    async def _refuse(self, number: int, reason: Reset) -> None:
        await self.send(Control(Kind.RST_STREAM, number, value=int(reason)))
