"""`python -m benchmarks.api etcd`: the API server over etcd, against etcd's own put of the same bytes.

One member on 127.0.0.1 with its data in the benchmark's folder, on whichever core is free; 8 clients for everything.

    put           as any client of etcd does: gRPC, no condition, nothing returned
    gateway put   the same through the JSON gateway, as netpod speaks to etcd
    creates       a Pod is admitted, put under two conditions, and told to a watch of everything
    gets          linearizable, against the echo handler
"""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import orjson

from benchmarks import api
from netpod.store.etcd import EtcdStore
from netpod.store.gateway import Target

PORT = 22379
START_SECONDS = 20
Client = Callable[[int], Awaitable[object]]
"""Puts once, under a key with that number."""


@contextlib.asynccontextmanager
async def member(folder: Path) -> AsyncIterator[int]:
    """An etcd of one member; gives its pid."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (PORT, PORT + 1))
    argv = ["etcd", "--name", "m", "--data-dir", str(folder / "etcd"), "--initial-cluster"]
    argv += [f"m={peer}", "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
    actions = [
        (os.POSIX_SPAWN_OPEN, fd, str(folder / "etcd.log"), os.O_CREAT | os.O_WRONLY, 0o600)
        for fd in (1, 2)
    ]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    pid = os.posix_spawnp("etcd", argv, os.environ, file_actions=actions)  # noqa: ASYNC221 - it returns at once
    os.sched_setaffinity(0, cores)
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
                    break
                await asyncio.sleep(0.05)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it was killed


async def over_etcd(path: Path) -> None:
    """The server that is measured, over that member."""
    target = Target(endpoints=(f"127.0.0.1:{PORT}",))
    await api.serve_from(await EtcdStore.open(target), path)


@contextlib.asynccontextmanager
async def native(name: str, value: bytes) -> AsyncIterator[list[Client]]:
    """Clients that put by gRPC, over one connection as upstream's does."""
    import grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{PORT}") as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")

        async def work(number: int) -> None:
            await put(_field(1, f"/bench/{name}/{number}".encode()) + _field(2, value))

        yield [work] * api.CLIENTS


@contextlib.asynccontextmanager
async def gateway(name: str, value: bytes) -> AsyncIterator[list[Client]]:
    """Clients that put through the gateway, each over a connection of its own."""
    found = [
        api.Connection(*await asyncio.open_connection("127.0.0.1", PORT))
        for _ in range(api.CLIENTS)
    ]

    def client(connection: api.Connection) -> Client:
        async def work(number: int) -> None:
            key = base64.b64encode(f"/bench/{name}/{number}".encode()).decode()
            body = {"key": key, "value": base64.b64encode(value).decode()}
            await connection.ask("POST", "/v3/kv/put", orjson.dumps(body))

        return work

    yield list(map(client, found))
    for connection in found:
        connection.writer.close()


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes of a protobuf message."""
    size, rest = b"", len(data)
    while rest > 127:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return bytes((number << 3 | 2,)) + size + bytes((rest,)) + data


async def rates(folder: Path) -> None:
    """Creates against puts, gets against the echo handler; rounds alternate, medians of their ratios count."""
    server, echo = folder / "api", folder / "echo"
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    async with api.process(api.echo, echo), api.process(over_etcd, server) as pid:
        made = await (await api.Connection.open(server)).ask("POST", api.PODS, api.pod("bench"))
        for turn in range(api.ROUNDS):
            for name, baseline in (("put", native), ("gateway", gateway)):
                async with baseline(f"{name}{turn}", made) as clients:
                    note(name, await api.pace(clients))
            used, begun = api.cpu(pid), time.monotonic()
            pods = lambda number, turn=turn: ("POST", api.PODS, api.pod(f"b-{turn}-{number}"))  # noqa: E731
            note("creates", await api.rate(server, pods))
            busy = (api.cpu(pid) - used) / (time.monotonic() - begun)
            note("cpu", busy / found["creates"][-1] * 1e6)
            note("echo", await api.rate(echo, lambda _: ("POST", "/", made)))
            note("gets", await api.rate(server, lambda _: ("GET", f"{api.PODS}/bench", b"")))

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(a / b for a, b in zip(found[ours], found[theirs], strict=True))

    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"put      {middle['put']:7.0f}/s by gRPC, {middle['gateway']:.0f}/s through the gateway")
    print(
        f"creates  {middle['creates']:7.0f}/s  ratio {ratio('creates', 'put'):.2f} to gRPC, "
        f"{ratio('creates', 'gateway'):.2f} to the gateway; {middle['cpu']:.0f} us of our CPU each"
    )
    print(
        f"gets     {middle['gets']:7.0f}/s  echo {middle['echo']:7.0f}/s  ratio {ratio('gets', 'echo'):.2f}"
    )


async def latency(folder: Path) -> None:
    """From the beginning of a write to its event, for one watcher of a server that does nothing else."""
    async with api.process(over_etcd, folder / "api"):
        writer = await api.Connection.open(folder / "api")
        watching = await api.Connection.open(folder / "api")
        where = "/api/v1/namespaces/default/configmaps"
        query = "watch=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=false"
        await watching.head("GET", f"{where}?{query}")
        written, told = [], []

        async def listen() -> None:
            while len(told) < len(written) or len(told) < 300:
                if b'"ADDED"' in await watching.reader.readline():
                    told.append(time.perf_counter())

        listening = asyncio.ensure_future(listen())
        answered = []
        for number in range(300):
            begun = time.perf_counter()
            body = orjson.dumps({"metadata": {"name": f"c-{number}"}})
            await writer.ask("POST", where, body)
            answered.append(time.perf_counter() - begun)
            written.append(begun)
        await listening
        events = sorted(b - a for a, b in zip(written, told, strict=True))
        answered.sort()
        print(
            f"latency  answer p50 {answered[150] * 1e3:.1f} ms, p99 {answered[297] * 1e3:.1f} ms; "
            f"event p50 {events[150] * 1e3:.1f} ms, p99 {events[297] * 1e3:.1f} ms"
        )


async def measure(_: Path) -> None:
    """Everything, each part with an etcd of its own."""
    if shutil.which("etcd") is None:
        print("etcd     not on this machine: apt-get install etcd-server")
        return
    filled = {"lists", "memory", "fanout"}
    parts: tuple[Callable[[Path], Awaitable[None]], ...] = (
        rates,
        latency,
        lambda folder: api.filled(folder, filled, over_etcd),
        lambda folder: api.idle(folder, over_etcd),
    )
    print("over etcd:")
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            async with member(Path(folder)):
                await part(Path(folder))
