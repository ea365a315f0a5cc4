"""How fast the API server is: `python -m benchmarks.api [NAME ...]`, ratios to an echo handler of the same run.

    creates   durable creates of a typical Pod, 8 clients, against a plain aiohttp handler echoing the same body
    distinct  the same, but no two pods have the same spec, so nothing about it is remembered
    gets      reads of such a Pod, likewise
    lists     5,000 pods as JSON and as Table, milliseconds
    fanout    one write to 1,000 watchers: milliseconds until the last one has it, p99 over 50 writes
    memory    resident bytes per stored pod
    idle      CPU of a server nobody asks, percent
    etcd      all of this over etcd instead of SQLite, creates against etcd's own put; see apietcd.py

Servers run in processes of their own on one core, the clients on another. Rounds of both servers alternate, and the
median of their ratios counts, because other work on the machine hits both.
"""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import uvloop
from aiohttp import web

from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store

Serve = Callable[[Path], Awaitable[None]]
"""Serves on a unix socket until it is killed."""

CLIENTS = 8
WATCHERS = 1000
ROUNDS = 5
SECONDS = 1.5
IDLE_SECONDS = 10
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def pod(name: str) -> bytes:
    """A typical Pod: two containers with ports, probes, resources, environment and a volume."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5}
    container = {
        "name": "app",
        "image": "registry.example.org/shop/app:1.2.3",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "MODE", "value": "production"},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": probe,
        "livenessProbe": probe,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": True}],
    }
    side = {"name": "side", "image": "registry.example.org/shop/side:1", "args": ["--verbose"]}
    return orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "shop", "tier": "front"}},
            "spec": {
                "containers": [container, side],
                "volumes": [{"name": "config", "configMap": {"name": "app"}}],
                "terminationGracePeriodSeconds": 5,
            },
        }
    )


class Connection:
    """One keep-alive HTTP/1.1 connection, as cheap as a client can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, path: Path) -> "Connection":
        """Connect to a unix socket."""
        return cls(*await asyncio.open_unix_connection(str(path), limit=1 << 26))

    async def head(self, method: str, path: str, body: bytes = b"", accept: str = "") -> bytes:
        """Send a request and read the answer's head."""
        extra = f"Accept: {accept}\r\n" if accept else ""
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return await self.reader.readuntil(b"\r\n\r\n")

    async def ask(self, method: str, path: str, body: bytes = b"", accept: str = "") -> bytes:
        """Send a request and read the answer's body.

        Raises:
            AssertionError: it is no success.
        """
        head = await self.head(method, path, body, accept)
        start = head.lower().index(b"content-length:") + 15
        found = await self.reader.readexactly(int(head[start : head.index(b"\r", start)]))
        assert head[9:10] == b"2", found[:300]
        return found


async def echo(path: Path) -> None:
    """The baseline: a handler that sends back what it got."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=await request.read(), content_type="application/json")

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    await asyncio.Event().wait()


async def api(path: Path) -> None:
    """The server that is measured, over SQLite beside its socket."""
    await serve_from(await SqliteStore.open(path.with_suffix(".db")), path)


async def serve_from(store: Store, path: Path) -> None:
    """Serve from a store until killed."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(4096)
    await ApiServer(store, ApiServerConfig()).serve([Listener(socket=listening, user=TRUSTED)])


@contextlib.asynccontextmanager
async def process(serve: Serve, path: Path) -> AsyncIterator[int]:
    """A server in a process of its own on the first core; gives its pid."""
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        try:
            asyncio.set_event_loop(None)
            uvloop.run(_served(serve, path))
        finally:
            os._exit(1)
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, AssertionError, asyncio.IncompleteReadError):
                    await (await Connection.open(path)).ask("GET", "/healthz")
                    break
                await asyncio.sleep(0.05)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it was killed


async def _served(serve: Serve, path: Path) -> None:
    await serve(path)


async def rate(path: Path, request: Callable[[int], tuple[str, str, bytes]]) -> float:
    """Requests a second of all clients together."""
    connections = [await Connection.open(path) for _ in range(CLIENTS)]
    found = await pace([lambda number, c=it: c.ask(*request(number)) for it in connections])
    for connection in connections:
        connection.writer.close()
    return found


async def pace(clients: Sequence[Callable[[int], Awaitable[object]]]) -> float:
    """How often a second clients do their work, all together; each time with another number."""
    done = 0
    end = time.perf_counter() + SECONDS

    async def client(work: Callable[[int], Awaitable[object]]) -> None:
        nonlocal done
        while time.perf_counter() < end:
            number, done = done, done + 1
            await work(number)

    start = time.perf_counter()
    await asyncio.gather(*map(client, clients))
    return done / (time.perf_counter() - start)


async def rates(folder: Path, names: set[str]) -> None:
    """Creates and gets against the echo handler."""
    body = pod("bench")
    async with process(echo, folder / "echo"), process(api, folder / "api"):
        made = await (await Connection.open(folder / "api")).ask("POST", PODS, body)
        found: dict[str, list[tuple[float, float]]] = {"creates": [], "distinct": [], "gets": []}
        for turn in range(ROUNDS):

            def create(number: int, turn: int = turn) -> tuple[str, str, bytes]:
                return ("POST", PODS, body.replace(b'"bench"', b'"b-%d-%d"' % (turn, number)))

            def other(number: int, turn: int = turn) -> tuple[str, str, bytes]:
                named = body.replace(b'"bench"', b'"d-%d-%d"' % (turn, number))
                return ("POST", PODS, named.replace(b"production", b"%d-%d" % (turn, number)))

            base = await rate(folder / "echo", lambda _: ("POST", "/", body))
            back = await rate(folder / "echo", lambda _: ("POST", "/", made))
            if "creates" in names:
                found["creates"].append((await rate(folder / "api", create), base))
            if "distinct" in names:
                found["distinct"].append((await rate(folder / "api", other), base))
            if "gets" in names:
                gets = await rate(folder / "api", lambda _: ("GET", f"{PODS}/bench", b""))
                found["gets"].append((gets, back))
    for name, pairs in found.items():
        if pairs:
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{name:8} {ours:7.0f}/s  echo {theirs:7.0f}/s  ratio {ratio:.2f}")


async def filled(folder: Path, names: set[str], serve: Serve = api) -> None:
    """Lists, memory and fan-out of a server with 5,000 pods."""
    count = 5000
    async with process(serve, folder / "api") as pid:
        before = _resident(pid)
        connections = [await Connection.open(folder / "api") for _ in range(16)]

        async def fill(connection: Connection, numbers: range) -> None:
            for number in numbers:
                await connection.ask("POST", PODS, pod(f"p-{number}"))

        await asyncio.gather(*(fill(c, range(i, count, 16)) for i, c in enumerate(connections)))
        if "memory" in names:
            print(f"memory   {(_resident(pid) - before) / count / 1000:.1f} kB per pod")
        if "lists" in names:
            for what, accept in (("JSON", "application/json"), ("Table", TABLE)):
                times = []
                for _ in range(5):
                    start = time.perf_counter()
                    answer = await connections[0].ask("GET", PODS, accept=accept)
                    times.append(time.perf_counter() - start)
                size = len(answer) / 1e6
                print(f"list     {statistics.median(times) * 1e3:.0f} ms as {what}, {size:.1f} MB")
        if "fanout" in names:
            await fanout(folder / "api", connections[0])


class Watcher(asyncio.Protocol):
    """A client that notes when it was sent something, and nothing else: a thousand of them share a core."""

    def __init__(self, seen: list[float], enough: asyncio.Event) -> None:
        self.seen = seen
        self.enough = enough

    def data_received(self, data: bytes) -> None:
        """First the answer's head, then one event each time."""
        self.seen.append(time.perf_counter())
        if len(self.seen) == WATCHERS:
            self.enough.set()


async def fanout(path: Path, writer: Connection, writes: int = 50) -> None:
    """One write to many watchers."""
    where = "/api/v1/namespaces/default/configmaps"
    query = "watch=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=false"
    loop = asyncio.get_running_loop()
    seen: list[float] = []
    enough = asyncio.Event()
    for _ in range(WATCHERS):
        transport, _ = await loop.create_unix_connection(lambda: Watcher(seen, enough), str(path))
        transport.write(f"GET {where}?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await enough.wait()
    times: list[float] = []
    for number in range(writes):
        seen.clear()
        enough.clear()
        body = orjson.dumps({"metadata": {"name": f"c-{number}"}, "data": {"a": "b"}})
        start = time.perf_counter()
        await writer.ask("POST", where, body)
        await enough.wait()
        times.extend(moment - start for moment in seen)
    times.sort()
    print(
        f"fanout   p50 {times[len(times) // 2] * 1e3:.0f} ms, p99 "
        f"{times[len(times) * 99 // 100] * 1e3:.0f} ms to {WATCHERS} watchers"
    )


async def idle(folder: Path, serve: Serve = api) -> None:
    """CPU of a server without clients."""
    async with process(serve, folder / "api") as pid:
        await asyncio.sleep(2)
        before = cpu(pid)
        await asyncio.sleep(IDLE_SECONDS)
        print(f"idle     {(cpu(pid) - before) / IDLE_SECONDS * 100:.2f} % CPU")


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """Seconds of CPU a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(names: set[str]) -> None:
    """Measure what is named, or everything."""
    from benchmarks import apietcd

    everything = {"creates", "distinct", "gets", "lists", "fanout", "memory", "idle", "etcd"}
    names = names or everything
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    parts: list[tuple[set[str], Callable[[Path], Awaitable[None]]]] = [
        ({"creates", "distinct", "gets"}, lambda folder: rates(folder, names)),
        ({"lists", "memory", "fanout"}, lambda folder: filled(folder, names)),
        ({"idle"}, idle),
        ({"etcd"}, apietcd.measure),
    ]
    for measured, part in parts:
        if names & measured:
            with tempfile.TemporaryDirectory() as folder:
                await part(Path(folder))


if __name__ == "__main__":
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(set(sys.argv[1:])))
