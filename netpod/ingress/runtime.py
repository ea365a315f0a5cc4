"""Client of HAProxy's runtime API: one unix socket, one connection per batch of commands.

Source: HAProxy management guide, section 9.3, "Unix Socket commands".
"""

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

from netpod.errors import KernelError

BATCH_BYTES = 8000
"""Commands are joined by `;` into lines that fit HAProxy's buffer of 16 KiB."""
TIMEOUT = 5.0
_CHANGED = re.compile(
    r"(IP changed|port changed|no need to change|Transaction (created|updated) |New empty certificate "
    r"|Committing |Success!|Inserting certificate |Entry '.*' deleted|Certificate '.*' deleted)"
)


async def send(path: Path, command: str) -> str:
    """Send one line of commands and return what HAProxy answers, each answer followed by an empty line.

    Raises:
        KernelError: nobody answers on that socket; retryable.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(command.encode() + b"\n")
            return (await reader.read()).decode(errors="replace")
    except (OSError, TimeoutError) as error:
        number = error.errno or 0 if isinstance(error, OSError) else 0
        raise KernelError(f"cannot ask HAProxy on {path}", errno=number) from error
    finally:
        if writer is not None:
            writer.close()


async def apply(path: Path, commands: Iterable[str]) -> None:
    """Carry out commands that change maps and servers.

    Raises:
        KernelError: HAProxy refused one, or does not answer; the rest of its batch has been tried.
    """
    for line in _batches(commands):
        answer = await send(path, line)
        refused = [said for said in answer.split("\n") if said and not _CHANGED.match(said)]
        if refused:
            raise KernelError(f"cannot change HAProxy: {refused[0]}")


async def pid(path: Path) -> int:
    """Process id of the HAProxy that answers on a socket.

    Raises:
        KernelError: nobody answers.
    """
    for line in (await send(path, "show info")).splitlines():
        if line.startswith("Pid: "):
            return int(line.removeprefix("Pid: "))
    raise KernelError(f"cannot ask HAProxy on {path}: it does not say who it is")


def _batches(commands: Iterable[str]) -> Iterable[str]:
    batch: list[str] = []
    size = 0
    for command in commands:
        # A payload ends its line, and begins where the line before it has ended.
        if "\n" in command:
            if batch:
                yield ";".join(batch)
            batch, size = [], 0
            yield command
            continue
        if batch and size + len(command) > BATCH_BYTES:
            yield ";".join(batch)
            batch, size = [], 0
        batch.append(command)
        size += len(command.encode()) + 1
    if batch:
        yield ";".join(batch)
