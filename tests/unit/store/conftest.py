"""Opens stores in temporary folders; one entry per implementation that must keep the contract."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store

Opener = Callable[[], AbstractAsyncContextManager[Store]]


@contextlib.asynccontextmanager
async def sqlite(path: Path) -> AsyncIterator[Store]:
    """An open SQLite store, closed afterwards."""
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["sqlite"])
def opener(tmp_path: Path) -> Opener:
    """Opens the same store each time it is called; one after the other."""
    return lambda: sqlite(tmp_path / "store.db")


@pytest.fixture
def run(opener: Opener) -> Callable[[Callable[[Store], Awaitable[None]]], None]:
    """Runs a coroutine function with a fresh store, for at most ten seconds."""

    async def with_store(body: Callable[[Store], Awaitable[None]]) -> None:
        async with asyncio.timeout(10), opener() as store:
            await body(store)

    return lambda body: asyncio.run(with_store(body))
