"""A real API server over SQLite in a folder, and clients of it, for components under test."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.client.rest import Client
from netpod.store.sqlite import SqliteStore


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Client]:
    """A server with its store in `folder`, and a client of it."""
    path = folder / "sock"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(128)
    store = await SqliteStore.open(folder / "store.db")
    server = ApiServer(store, ApiServerConfig())
    ready = asyncio.Event()
    client = Client.unix(path)
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(
                server.serve([Listener(socket=listening, user=TRUSTED)], ready)
            )
            await ready.wait()
            yield client
            await client.close()
            task.cancel()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def running(component: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The component runs while the block does."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(component)
        try:
            yield
        finally:
            task.cancel()


SECONDS = 100.0 if os.environ.get("NETPOD_VM") else 3.0
"""How long to wait; a guest is slow, and IPVS remembers a connection that was never answered for 60 s."""


async def until(fact: Callable[[], bool], seconds: float = SECONDS) -> float:
    """Wait for a fact, asked in a thread; return the seconds that took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not await asyncio.to_thread(fact):
        assert loop.time() - start < seconds, "the fact did not come true in time"
        await asyncio.sleep(0.005)
    return loop.time() - start


async def come(fact: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for a fact that the API server is asked for."""
    async with asyncio.timeout(seconds):
        while not await fact():
            await asyncio.sleep(0.02)
