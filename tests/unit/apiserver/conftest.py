"""A fresh API server per test."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.unit.apiserver.support import Api, serving

Body = Callable[[Api], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Body], None]:
    """Runs a coroutine function against a fresh server, for at most twenty seconds."""

    async def with_server(body: Body) -> None:
        async with asyncio.timeout(20), serving(tmp_path) as api:
            await body(api)

    return lambda body: asyncio.run(with_server(body))
