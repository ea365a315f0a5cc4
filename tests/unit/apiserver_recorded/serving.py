"""The API server that is asked the stories."""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from netpod.apiserver.authentication import User
from netpod.apiserver.server import ApiServer, Listener
from netpod.store.sqlite import SqliteStore
from tests.unit.apiserver.support import CONFIG
from tests.unit.apiserver_recorded.story import TOKENS, Teller

USERS = {
    token: User(name=name, groups=frozenset(groups)) for token, (name, groups) in TOKENS.items()
}


@contextlib.asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Teller]:
    """A fresh server whose socket belongs to nobody, so that it asks for tokens."""
    path = folder / "sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(16)
    store = await SqliteStore.open(folder / "store.db")
    server = ApiServer(store, dataclasses.replace(CONFIG, tokens=USERS))
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.serve([Listener(socket=listening)], ready))
            await ready.wait()
            connector = aiohttp.UnixConnector(str(path))
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Teller(session, "http://netpod")
            task.cancel()
    finally:
        await store.close()
