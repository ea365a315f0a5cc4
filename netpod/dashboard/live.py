"""Live objects over one WebSocket: the page names collections, and gets their lists and then every change.

    page    {"open": ID, "path": "/api/v1/pods", "as": "" | "table", "resourceVersion": ""}    {"close": ID}
    server  {"id": ID, "list": LIST}  {"id": ID, "event": WATCH EVENT}  {"id": ID, "error": TEXT}

A page that comes back says the resourceVersion it has seen last, and gets what came after, or, when that is
compacted, the whole list again. Nothing is kept here: a page that reads slowly makes its own watches wait, and the API
server ends those that fall too far behind, which begins with a list again.

Source: the watch protocol, k8s.io/apimachinery pkg/watch; RFC 6455.
"""

import asyncio
import logging
import re
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from netpod.dashboard.gateway import Gateway

log = logging.getLogger(__name__)
COLLECTIONS = 40
"""That one page may follow at once."""

RETRY_SECONDS = 0.5
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_LINE_LIMIT = 4 << 20
_VERSION = re.compile(rb'"resourceVersion":"([0-9]+)"')


class Page:
    """One open page.

    Args:
        gateway: To the API server.
        socket: The page's.
    """

    def __init__(self, gateway: Gateway, socket: web.WebSocketResponse) -> None:
        self._gateway = gateway
        self._socket = socket
        self._following: dict[int, asyncio.Task[None]] = {}
        # A page that does not read holds up one list, not all it asked for.
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Follow what the page asks for until it goes away."""
        async with asyncio.TaskGroup() as tasks:
            async for message in self._socket:
                if message.type != aiohttp.WSMsgType.TEXT:
                    break
                try:
                    self._take(tasks, orjson.loads(message.data))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    log.info("a page said what nobody understands: %r", error)
                    break
            for task in self._following.values():
                task.cancel()
            await self._socket.close()

    def _take(self, tasks: asyncio.TaskGroup, wanted: dict[str, Any]) -> None:
        if "close" in wanted:
            task = self._following.pop(int(wanted["close"]), None)
            if task is not None:
                task.cancel()
            return
        number, path = int(wanted["open"]), str(wanted["path"])
        if number in self._following or len(self._following) >= COLLECTIONS:
            raise ValueError("too many collections, or one twice")
        if not path.startswith(("/api/", "/apis/")):
            raise ValueError(f"no collection of the API: {path}")
        accept = _TABLE if wanted.get("as") == "table" else "application/json"
        version = str(wanted.get("resourceVersion") or "")
        self._following[number] = tasks.create_task(self._follow(number, path, accept, version))

    async def _follow(self, number: int, path: str, accept: str, version: str) -> None:
        said = ""
        while not self._socket.closed:
            try:
                if not version:
                    version = await self._list(number, path, accept)
                version = await self._watch(number, path, accept, version)
                said = ""
            except _Refused as refused:
                await self._send(number, "error", orjson.dumps(str(refused)))
                return
            except ConnectionResetError:
                return  # the page is gone
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                # Once for each outage; the page shows it until the next list or event.
                if not said:
                    said = str(error) or "the API server does not answer"
                    await self._send(number, "error", orjson.dumps(said))
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self, number: int, path: str, accept: str) -> str:
        async with self._turn, self._gateway.ask(path, accept=accept) as answer:
            body = await answer.read()
            if answer.status in (400, 401, 403, 404, 405, 406):
                raise _Refused(_message(body))
            if answer.status != 200:
                raise aiohttp.ClientError(_message(body))
            await self._send(number, "list", body)
            return str(orjson.loads(body)["metadata"].get("resourceVersion") or "")

    async def _watch(self, number: int, path: str, accept: str, version: str) -> str:
        """Send what happens; return where the next watch begins, "" for a new list."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        async with self._gateway.ask(path, query=query, accept=accept) as answer:
            if answer.status == 410:
                return ""
            if answer.status != 200:
                raise aiohttp.ClientError(_message(await answer.read()))
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LINE_LIMIT:
                    return ""
                for line in lines:
                    if line.startswith(b'{"type":"ERROR"'):
                        return ""
                    if line:
                        await self._send(number, "event", line)
                        version = _version(line) or version
        return version

    async def _send(self, number: int, what: str, body: bytes) -> None:
        # Waits while the page does not read.
        text = b'{"id":%d,"%s":%s}' % (number, what.encode(), body)
        await self._socket.send_frame(text, aiohttp.WSMsgType.TEXT)


class _Refused(Exception):
    """The API server will not show it, whenever it is asked."""


def _version(line: bytes) -> str:
    """The first resourceVersion of an event: its object's, or its Table's, which the API server writes in front."""
    found = _VERSION.search(line)
    return found[1].decode() if found else ""


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
