"""One program's standard streams over the network, whatever carries them.

Source: k8s.io/kubelet pkg/cri/streaming/remotecommand; k8s.io/apimachinery pkg/util/remotecommand/constants.go.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

CREATION_SECONDS = 30.0
"""How long a client may take to open all its streams."""
LINGER_SECONDS = 2.0
"""How long we wait, after the end, for the client to close: a close from our side could overtake the last output."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which streams the client asked for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    @property
    def separate_stderr(self) -> bool:
        """Whether stderr is a stream: a terminal has one output only."""
        return self.stderr and not self.tty


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended; `error` says why it could not even be run."""

    code: int = 0
    error: str = ""

    @property
    def message(self) -> str:
        """For people; "" when all is well."""
        if self.error:
            return f"Internal error occurred: {self.error}"
        if self.code:
            return f"command terminated with non-zero exit code: exit status {self.code}"
        return ""

    def status(self) -> bytes:
        """The metav1.Status that ends the error stream since version 4."""
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if self.error:
            cause = {"message": self.error}
            status |= {"status": "Failure", "message": self.message, "reason": "InternalError"}
            status |= {"details": {"causes": [cause]}, "code": 500}
        elif self.code:
            cause = {"reason": "ExitCode", "message": str(self.code)}
            status |= {"status": "Failure", "message": self.message, "reason": "NonZeroExitCode"}
            status |= {"details": {"causes": [cause]}}
        return orjson.dumps(status)

    def report(self, version: int) -> bytes:
        """What the error stream says in a version of the protocol."""
        return self.status() if version >= 4 else self.message.encode()


class Session(Protocol):
    """The client's end of a program's streams. Writes wait while the client does not read."""

    async def stdin(self) -> bytes:
        """Return what comes next; b"" at the end."""
        ...

    async def stdout(self, data: bytes) -> None:
        """Send output."""
        ...

    async def stderr(self, data: bytes) -> None:
        """Send output."""
        ...

    async def size(self) -> tuple[int, int] | None:
        """Return the terminal's next (width, height); None when no more come."""
        ...

    async def finish(self, outcome: Outcome) -> None:
        """Say how it ended and end all streams."""
        ...


class Sizes:
    """JSON values `{"Width":80,"Height":24}`, one after another, however they are cut."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield (width, height) in characters of each whole value; what is no size is dropped."""
        self._text += data.decode(errors="replace")
        while text := self._text.lstrip():
            try:
                value, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                self._text = text if len(text) < _LONGEST else ""
                return
            self._text = text[end:]
            if isinstance(value, dict):
                width, height = _length(value.get("Width")), _length(value.get("Height"))
                if width and height:
                    yield width, height
        self._text = ""


def _length(value: object) -> int:
    """What the kernel takes for a terminal's width or height; 0 for everything else."""
    return value if isinstance(value, int) and 0 < value < 1 << 16 else 0
