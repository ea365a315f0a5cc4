"""A real HAProxy, real servers behind it and a plain HTTP client, all on 127.0.0.0/8 of the test's namespace."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from netpod.ingress import haproxy as compiler
from netpod.ingress import merge
from netpod.ingress.reload import Haproxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: status and body."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def seen(self) -> Any:
        """What the server behind the proxy saw."""
        return json.loads(self.body)


async def get(port: int, host: str, path: str, **headers: str) -> Answer:
    """Send one request on a connection of its own; header names have `_` for `-`."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            body = (await reader.read()).decode()
        finally:
            writer.close()
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return Answer(status=int(head[0].split(" ")[1]), headers=fields, body=body)


@dataclass(slots=True)
class Server:
    """An HTTP server that answers who it is, whom it sees and what it is asked."""

    name: str
    port: int = 0
    delay: float = 0.0
    requests: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the connection ends."""
        self.open.add(writer)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"):
                self.requests += 1
                await asyncio.sleep(self.delay)
                peer = writer.get_extra_info("peername")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                said = {"name": self.name, "peer": list(peer[:2]), "headers": headers}
                body = json.dumps({**said, "path": head[0].split(" ")[1]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open.discard(writer)
            writer.close()


@asynccontextmanager
async def serving(name: str, ip: str = "127.0.0.1", delay: float = 0.0) -> AsyncIterator[Server]:
    """Run a Server."""
    server = Server(name, delay=delay)
    listener = await asyncio.start_server(server.serve, ip, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for writer in list(server.open):
            writer.close()
        await asyncio.sleep(0)


def _listens(pid: int) -> bool:
    """Whether a process holds a socket that listens on TCP."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    listening = {f"socket:[{line.split()[9]}]" for line in lines if line.split()[3] == "0A"}
    return bool(held & listening)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A running HAProxy and its access log."""

    haproxy: Haproxy
    log: Path

    async def get(self, host: str, path: str, **headers: str) -> Answer:
        """Send one request through it."""
        return await get(self.haproxy.port, host, path, **headers)

    async def serve(self, *objects: Iterable[Any]) -> None:
        """Serve Ingresses, IngressClasses, Services, EndpointSlices and Secrets."""
        await self.apply(compiler.compile(merge.merge(*objects)))

    async def apply(self, config: compiler.Config) -> None:
        """Serve a configuration, and wait until the process before a reload takes no more connections."""
        before = self.haproxy.pid
        await self.haproxy.apply(config)
        await self.settled(before)

    async def settled(self, before: int) -> None:
        """Wait until the process `before`, if another one has replaced it, takes no more connections."""
        if before not in (0, self.haproxy.pid):
            async with asyncio.timeout(10):
                while _listens(before):
                    await asyncio.sleep(0.005)

    async def logged(self, count: int) -> list[Any]:
        """Wait until the access log has `count` lines and return them."""
        async with asyncio.timeout(5):
            while len(lines := self.log.read_text().splitlines()) < count:
                await asyncio.sleep(0.005)
        return [json.loads(line) for line in lines]


@pytest.fixture
def proxy(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Proxy]]:
    """Run HAProxy for the length of an `async with`, and see that nothing of it is left."""

    @asynccontextmanager
    async def running(health: str = "", certificate: str = "") -> AsyncIterator[Proxy]:
        log = tmp_path / "access.log"
        stdout = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        directory = Path("/run/netpod-test-ingress")
        haproxy = Haproxy(
            directory,
            listen=("127.0.0.1", 0),
            tls=("127.0.0.1", 0) if certificate else None,
            certificate=certificate,
            sources=("127.0.0.1",),
            health=health,
            stdout=stdout,
        )
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(haproxy.run())
            try:
                yield Proxy(haproxy=haproxy, log=log)
            finally:
                task.cancel()
        os.close(stdout)
        assert not directory.exists()

    return running


@pytest.fixture
def http_server() -> Callable[..., AbstractAsyncContextManager[Server]]:
    """Run a server for the length of an `async with`."""
    return serving
