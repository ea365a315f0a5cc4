"""The real API server over SQLite on a unix socket, in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.client.rest import Client
from netpod.store.sqlite import SqliteStore


@asynccontextmanager
async def serving_api(folder: Path) -> AsyncIterator[Client]:
    """Run it for the length of an `async with`; gives a client of system:masters."""
    path = folder / "api.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    store = await SqliteStore.open(folder / "store.db")
    ready = asyncio.Event()
    client = Client.unix(path)
    try:
        async with asyncio.TaskGroup() as tasks:
            server = ApiServer(store, ApiServerConfig())
            listening = [Listener(socket=listener, user=TRUSTED)]
            task = tasks.create_task(server.serve(listening, ready))
            await ready.wait()
            try:
                yield client
            finally:
                await client.close()
                task.cancel()
    finally:
        await store.close()
