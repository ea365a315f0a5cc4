"""Standard streams over SPDY: one stream each, told apart by their `streamtype` header.

    version 1, 2   error stdin stdout stderr     the error stream carries text
    version 3      and resize, with a terminal
    version 4      the error stream carries a Status, also of success

Source: k8s.io/kubelet pkg/cri/streaming/remotecommand/httpstream.go.
"""

import asyncio
from collections.abc import Iterable

from netpod.kubelet.session import Options, Outcome, Sizes
from netpod.kubelet.spdy import Stream

PROTOCOLS = {
    "v4.channel.k8s.io": 4,
    "v3.channel.k8s.io": 3,
    "v2.channel.k8s.io": 2,
    "channel.k8s.io": 1,
}
"""Version by the name in X-Stream-Protocol-Version."""


def expected(options: Options, version: int) -> frozenset[str]:
    """Return the types of the streams the client opens."""
    wanted = {
        "error": True,
        "stdin": options.stdin,
        "stdout": options.stdout,
        "stderr": options.separate_stderr,
        "resize": options.tty and version >= 3,
    }
    return frozenset(name for name, is_wanted in wanted.items() if is_wanted)


def choose(offered: Iterable[str], served: Iterable[str]) -> str | None:
    """Return the first protocol offered that is served; None when there is none.

    Source: k8s.io/apimachinery pkg/util/httpstream/httpstream.go negotiateProtocol.
    """
    known = set(served)
    return next((name for name in offered if name in known), None)


class SpdySession:
    """The streams of one exec or attach, once `complete`."""

    def __init__(self, options: Options, version: int) -> None:
        self.complete = asyncio.Event()
        self._version = version
        self._wanted = expected(options, version)
        self._streams: dict[str, Stream] = {}
        self._sizes = Sizes()
        self._pending: list[tuple[int, int]] = []

    def opened(self, stream: Stream) -> bool:
        """Take a stream the client opened; False when it is none that was asked for."""
        kind = stream.headers.get("streamtype", "")
        if kind not in self._wanted or kind in self._streams:
            return False
        self._streams[kind] = stream
        if len(self._streams) == len(self._wanted):
            self.complete.set()
        return True

    async def stdin(self) -> bytes:
        """Return what comes next; b"" at the end."""
        stream = self._streams.get("stdin")
        return await stream.read() if stream else b""

    async def stdout(self, data: bytes) -> None:
        """Send output."""
        if "stdout" in self._streams:
            await self._streams["stdout"].write(data)

    async def stderr(self, data: bytes) -> None:
        """Send output."""
        if "stderr" in self._streams:
            await self._streams["stderr"].write(data)

    async def size(self) -> tuple[int, int] | None:
        """Return the terminal's next (width, height); None when no more come."""
        stream = self._streams.get("resize")
        while stream is not None and not self._pending:
            data = await stream.read()
            if not data:
                return None
            self._pending += self._sizes.feed(data)
        return self._pending.pop(0) if self._pending else None

    async def finish(self, outcome: Outcome) -> None:
        """Say how it ended and end all streams."""
        await self._streams["error"].write(outcome.report(self._version))
        for stream in self._streams.values():
            await stream.close()
