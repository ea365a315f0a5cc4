"""Whatever is written, cut, compacted and restarted: a watcher that replays its events has what the store has."""

import asyncio
import contextlib
import itertools
import json
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.apiserver.support import Api, Json, serving

NAMESPACES = ("default", "kube-system")
NAMES = tuple("abcd")
COLOURS = ("red", "blue")
Key = tuple[str, str]


class Host:
    """A server that can be restarted, in a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = str(folder / "sock")
        self.api: Api | None = None
        self._again = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Serve, again and again, until `stop`."""
        while not self._ended:
            self._again.clear()
            async with serving(self._folder) as api:
                self.api = api
                await self._again.wait()
                self.api = None

    async def ready(self) -> Api:
        """The server that runs now."""
        while self.api is None:
            await asyncio.sleep(0.002)
        return self.api

    async def restart(self, *, end: bool = False) -> None:
        """Another server over the same store, or none."""
        await self.ready()
        self._ended = end
        self.api = None
        self._again.set()


class Watcher:
    """What any informer does: list or initial events, watch, resume, list again after 410."""

    def __init__(self, path: str, streams: bool, **query: str) -> None:
        self.path = path
        self.query = query
        self.streams = streams
        self.state: dict[Key, Json] = {}
        self.version = ""
        self.wrong = ""

    async def run(self, host: Host) -> None:
        """Follow for ever; ended connections and servers are only interruptions."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
                await self._once(host, await host.ready())
            await asyncio.sleep(0.002)

    async def _once(self, host: Host, api: Api) -> None:
        query = {"watch": "true", "allowWatchBookmarks": "true", **self.query}
        if not self.version and self.streams:
            query["sendInitialEvents"] = "true"
            query["resourceVersionMatch"] = "NotOlderThan"
            self.state = {}
        elif not self.version:
            code, found = await api("GET", self.path, **self.query)
            if code != 200:
                return
            self.state = {_key(item): item["metadata"] for item in found["items"]}
            self.version = found["metadata"]["resourceVersion"]
        initial = not self.version
        if not initial:
            query["resourceVersion"] = self.version
        connector = aiohttp.UnixConnector(host.socket)
        async with (
            aiohttp.ClientSession(connector=connector) as session,  # outlives the server it asks
            session.get(api.base + self.path, params=query) as answer,
        ):
            if answer.status != 200:
                return
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"]["code"] != 410:
                        self.wrong = str(event)
                    self.version = ""
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    initial = False
                    self.version = version
                    continue
                self._replay(event["type"], event["object"], version, initial)
                if not initial:
                    self.version = version

    def _replay(self, kind: str, obj: Json, version: str, initial: bool) -> None:
        key = _key(obj)
        if (kind == "ADDED") == (key in self.state):
            self.wrong = f"{kind} of {key}, of which it knew {self.state.get(key)}"
        if not initial and self.version and int(version) <= int(self.version):
            self.wrong = f"{kind} of {key} at {version} after {self.version}"
        if kind == "DELETED":
            self.state.pop(key, None)
        else:
            self.state[key] = obj["metadata"]


def _key(obj: Json) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


QUERIES: tuple[dict[str, str], ...] = (
    {},
    {},
    {"labelSelector": "colour=red"},
    {"labelSelector": "colour!=red"},
    {"fieldSelector": "metadata.name=a"},
)


class Watches(RuleBasedStateMachine):
    """Random writers, watchers, cuts, compactions and restarts."""

    @initialize()
    def start(self) -> None:
        """A server."""
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.host = Host(self.folder)
        self.serving = self._go(self.host.run())
        self.watchers: list[Watcher] = []
        self.following: list[Future[None]] = []
        self.numbers = itertools.count()

    def _go(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    @rule(
        writes=st.lists(
            st.tuples(
                st.sampled_from(NAMESPACES),
                st.sampled_from(NAMES),
                st.sampled_from(COLOURS),
                st.sampled_from(("put", "put", "delete", "hold", "release")),
            ),
            min_size=1,
            max_size=12,
        )
    )
    def write(self, writes: list[tuple[str, str, str, str]]) -> None:
        """Several writers at once."""

        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as group:
                for number, one in enumerate(writes):
                    group.create_task(self._write(number, *one))

        self._go(all_of_them()).result(20)

    async def _write(self, number: int, ns: str, name: str, colour: str, what: str) -> None:
        api = await self.host.ready()
        folder = f"/api/v1/namespaces/{ns}/configmaps"
        metadata: Json = {"labels": {"colour": colour, "n": str(next(self.numbers))}}
        if what == "delete":
            await api("DELETE", f"{folder}/{name}")
        elif what == "put":
            made = {"metadata": {"name": name, **metadata}}
            code, _ = await api("POST", folder, made)
            if code == 409:
                await api("PATCH", f"{folder}/{name}", {"metadata": metadata})
        else:
            held = ["example.com/hold"] if what == "hold" else None
            await api("PATCH", f"{folder}/{name}", {"metadata": {"finalizers": held}})

    @rule(everywhere=st.booleans(), streams=st.booleans(), query=st.sampled_from(QUERIES))
    def follow(self, everywhere: bool, streams: bool, query: dict[str, str]) -> None:
        """One more watcher."""
        if len(self.watchers) < 12:
            path = "/api/v1/configmaps" if everywhere else "/api/v1/namespaces/default/configmaps"
            watcher = Watcher(path, streams, **query)
            self.watchers.append(watcher)
            self.following.append(self._go(watcher.run(self.host)))

    @rule(which=st.integers(0, 11), late=st.booleans())
    def cut(self, which: int, late: bool) -> None:
        """A watcher loses its connection, and with `late` comes back after the next writes."""
        if which < len(self.watchers):
            watcher = self.watchers[which]
            self.following[which].cancel()
            if late:
                self.write([("default", name, "blue", "put") for name in NAMES])
            self.following[which] = self._go(watcher.run(self.host))

    @rule()
    def compact(self) -> None:
        """All history is forgotten."""

        async def work() -> None:
            store = (await self.host.ready()).server._store
            await store.compact(store.revision)

        self._go(work()).result(20)

    @rule()
    def restart(self) -> None:
        """The server ends and another one starts over the same store."""
        self._go(self.host.restart()).result(20)

    @rule()
    def agree(self) -> None:
        """Soon after the last write every watcher has exactly what a list has."""

        async def work() -> None:
            api = await self.host.ready()
            for watcher in self.watchers:
                found = await api.get(watcher.path, **watcher.query)
                wanted = {_key(item): item["metadata"] for item in found["items"]}
                async with asyncio.timeout(10):
                    while watcher.state != wanted and not watcher.wrong:
                        await asyncio.sleep(0.005)
                assert not watcher.wrong, watcher.wrong

        self._go(work()).result(30)

    def teardown(self) -> None:
        """Agree a last time, and leave nothing."""
        try:
            self.agree()
        finally:
            for future in self.following:
                future.cancel()
            self._go(self.host.restart(end=True)).result(20)
            self.serving.result(20)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()
            shutil.rmtree(self.folder)


TestWatches = Watches.TestCase
TestWatches.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
