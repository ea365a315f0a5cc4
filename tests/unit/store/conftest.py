"""Opens stores in temporary folders; one entry per implementation that must keep the contract."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from netpod.store.etcd import EtcdStore
from netpod.store.gateway import Target
from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store
from tests.unit.store.members import Members

Opener = Callable[[], AbstractAsyncContextManager[Store]]
SECONDS = {"sqlite": 10, "etcd": 60}
"""How long one test may take."""

LAG = 1000
"""Events a watcher may be behind, fewer than usual: each write goes through etcd one by one."""


@contextlib.asynccontextmanager
async def sqlite(path: Path) -> AsyncIterator[Store]:
    """An open SQLite store, closed afterwards."""
    store = await SqliteStore.open(path, lag=LAG)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def etcd(target: Target) -> AsyncIterator[Store]:
    """An open etcd store, closed afterwards."""
    store = await EtcdStore.open(target, lag=LAG)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Callable[..., Members]]:
    """Starts etcd members on 127.0.0.1; skips when this machine has no etcd."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd on this machine: apt-get install etcd-server")
    with contextlib.ExitStack() as stack:

        def start(count: int, **options: Path) -> Members:
            return stack.enter_context(Members(tmp_path, count, **options))

        yield start


@pytest.fixture(params=["sqlite", "etcd"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which implementation keeps the contract here."""
    return str(request.param)


@pytest.fixture
def opener(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Opener:
    """Opens the same store each time it is called; one after the other."""
    if kind == "sqlite":
        return lambda: sqlite(tmp_path / "store.db")
    target = request.getfixturevalue("members")(1).target
    return lambda: etcd(target)


@pytest.fixture
def run(kind: str, opener: Opener) -> Callable[[Callable[[Store], Awaitable[None]]], None]:
    """Runs a coroutine function with a fresh store, for a bounded time."""

    async def with_store(body: Callable[[Store], Awaitable[None]]) -> None:
        async with asyncio.timeout(SECONDS[kind]), opener() as store:
            await body(store)

    return lambda body: asyncio.run(with_store(body))
