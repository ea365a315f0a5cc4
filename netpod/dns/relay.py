"""The machine's end of forwarding: queries from a unix socket go to the machine's own name servers.

Runs only with `netpod up --dns-forward`; without, no query leaves the machine.
"""

import asyncio
import logging
from pathlib import Path

from netpod.dns import forward

log = logging.getLogger(__name__)
RESOLV_CONF = Path("/etc/resolv.conf")


async def run(path: Path, *, resolv_conf: Path = RESOLV_CONF, port: int = forward.PORT) -> None:
    """Serve on a unix socket until cancelled."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(2 * forward.TIMEOUT):
                size = int.from_bytes(await reader.readexactly(2), "big")
                asked = await reader.readexactly(size)
                answer = await _ask(resolv_conf, port, asked[1:], tcp=bool(asked[:1] == b"\x01"))
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError) as error:
            log.info("cannot forward a query: %s", error)
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve, str(path))
    path.chmod(0o600)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()


async def _ask(resolv_conf: Path, port: int, query: bytes, *, tcp: bool) -> bytes:
    last: OSError = OSError(f"{resolv_conf} names no server")
    for line in resolv_conf.read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                async with asyncio.timeout(forward.TIMEOUT / 2):
                    return await forward.exchange(words[1], query, tcp=tcp, port=port)
            except OSError as error:
                last = error
    raise last
