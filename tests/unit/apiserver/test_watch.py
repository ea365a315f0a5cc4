"""watch: every change once and in order, selections, bookmarks, 410, clients that come and go."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from tests.unit.apiserver.support import (
    CONFIGMAPS,
    PODS,
    Api,
    configmap,
    pod,
    serving,
)

Run = Callable[[Callable[[Api], Awaitable[None]]], None]


def test_a_watch_goes_on_from_a_list(run: Run) -> None:
    """From a list's resourceVersion on, each change arrives once: ADDED, MODIFIED, DELETED."""

    async def body(api: Api) -> None:
        listed = await api.get(CONFIGMAPS)
        version = listed["metadata"]["resourceVersion"]
        made = await api.create(CONFIGMAPS, configmap("a", k="1"))
        async with api.watch(CONFIGMAPS, resourceVersion=version) as event:
            assert await event() == {"type": "ADDED", "object": made}
            _, changed = await api("PATCH", f"{CONFIGMAPS}/a", {"data": {"k": "2"}})
            assert await event() == {"type": "MODIFIED", "object": changed}
            await api("DELETE", f"{CONFIGMAPS}/a")
            last = await event()
            assert (last["type"], last["object"]["data"]) == ("DELETED", {"k": "2"})
            gone = int(last["object"]["metadata"]["resourceVersion"])
            assert gone > int(changed["metadata"]["resourceVersion"])

    run(body)


def test_a_watch_without_a_version_begins_with_what_is_there(run: Run) -> None:
    """No resourceVersion: the present objects as ADDED, then changes."""

    async def body(api: Api) -> None:
        made = await api.create(CONFIGMAPS, configmap("a"))
        async with api.watch(CONFIGMAPS, fieldSelector="metadata.name=a") as event:
            assert await event() == {"type": "ADDED", "object": made}
            await api.create(CONFIGMAPS, configmap("b"))
            await api("DELETE", f"{CONFIGMAPS}/a")
            assert (await event())["type"] == "DELETED"

    run(body)


def test_moving_into_a_selection_is_an_addition(run: Run) -> None:
    """A pod that gets a node appears to that node's watcher; relabelled, it leaves its selector's watcher."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod("a", labels={"app": "x"}))
        version = made["metadata"]["resourceVersion"]
        async with (
            api.watch(
                "/api/v1/pods", resourceVersion=version, fieldSelector="spec.nodeName=w"
            ) as node,
            api.watch("/api/v1/pods", resourceVersion=version, labelSelector="app=x") as label,
        ):
            target = {"apiVersion": "v1", "kind": "Node", "name": "w"}
            code, _ = await api(
                "POST", f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": target}
            )
            assert code == 201
            assert (await node())["type"] == "ADDED"
            assert (await label())["type"] == "MODIFIED"
            _, relabelled = await api("PATCH", f"{PODS}/a", {"metadata": {"labels": {"app": "y"}}})
            assert (await node())["type"] == "MODIFIED"
            left = await label()
            assert left["type"] == "DELETED"
            assert left["object"]["metadata"]["labels"] == {"app": "x"}
            assert (
                left["object"]["metadata"]["resourceVersion"]
                == relabelled["metadata"]["resourceVersion"]
            )

    run(body)


def test_a_table_that_cannot_be_made_is_refused_before_the_watch_begins(run: Run) -> None:
    """A wrong includeObject is a 400; found in the middle of a stream it would only cut it."""

    async def body(api: Api) -> None:
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        code, _ = await api("GET", CONFIGMAPS, headers=headers, watch="true", includeObject="x")
        assert code == 400

    run(body)


def test_compacted_versions_are_gone(run: Run) -> None:
    """A watch from before compaction gets one ERROR event with a 410 Status, and ends."""

    async def body(api: Api) -> None:
        for i in range(3):
            await api.create(CONFIGMAPS, configmap(f"a{i}"))
        await api.server._store.compact(api.server._store.revision)
        async with api.watch(CONFIGMAPS, resourceVersion="3") as event:
            error = await event()
            assert error["type"] == "ERROR"
            assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")
            assert await event() is None

    run(body)


def test_a_watch_ends_in_time_with_a_bookmark(run: Run) -> None:
    """timeoutSeconds ends the stream; with allowWatchBookmarks it says how far it has read."""

    async def body(api: Api) -> None:
        version = str(api.server._store.revision)
        query = {"resourceVersion": version, "timeoutSeconds": "1"}
        async with api.watch(PODS, allowWatchBookmarks="true", **query) as event:
            made = await api.create(CONFIGMAPS, configmap("a"))
            bookmark = await event()
            assert bookmark["type"] == "BOOKMARK"
            assert bookmark["object"]["kind"] == "Pod"
            version = made["metadata"]["resourceVersion"]
            assert bookmark["object"]["metadata"]["resourceVersion"] == version
            assert await event() is None

    run(body)


def test_a_watch_ends_in_time_though_events_never_cease(run: Run) -> None:
    """Its time is over also while somebody writes without a pause."""

    async def body(api: Api) -> None:
        async def write() -> None:
            number = 0
            while True:
                await api.create(CONFIGMAPS, configmap(f"c-{number}"))
                number += 1

        writing = asyncio.ensure_future(write())
        try:
            query = {"watch": "true", "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
            async with api.session.get(api.base + CONFIGMAPS, params=query) as answer:
                lines = (await answer.text()).splitlines()
            assert len(lines) > 10
            assert json.loads(lines[-1])["type"] == "BOOKMARK"
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    run(body)


def test_initial_events_end_with_a_bookmark(run: Run) -> None:
    """sendInitialEvents=true streams the list and marks its end."""

    async def body(api: Api) -> None:
        async with api.watch(
            "/api/v1/namespaces",
            sendInitialEvents="true",
            allowWatchBookmarks="true",
            resourceVersionMatch="NotOlderThan",
        ) as event:
            assert [(await event())["type"] for _ in range(4)] == ["ADDED"] * 4
            mark = await event()
            assert mark["type"] == "BOOKMARK"
            annotations = mark["object"]["metadata"]["annotations"]
            assert annotations == {"k8s.io/initial-events-end": "true"}

    run(body)


def test_a_watch_as_table_sends_one_row_each(run: Run) -> None:
    """kubectl get -w gets Tables; only the first carries the columns."""

    async def body(api: Api) -> None:
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        version = str(api.server._store.revision)
        async with api.watch(CONFIGMAPS, headers=accept, resourceVersion=version) as event:
            for name in ("a", "b"):
                await api.create(CONFIGMAPS, configmap(name))
                table = (await event())["object"]
                assert (table["kind"], len(table["rows"])) == ("Table", 1)
                assert bool(table["columnDefinitions"]) == (name == "a")

    run(body)


def test_many_watchers_see_the_same_in_the_same_order(run: Run) -> None:
    """Twenty watchers over concurrent writers agree on every event."""

    async def body(api: Api) -> None:
        version = str(api.server._store.revision)

        async def follow() -> list[str]:
            async with api.watch(CONFIGMAPS, resourceVersion=version) as event:
                return [(await event())["object"]["metadata"]["resourceVersion"] for _ in range(40)]

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(follow()) for _ in range(20)]
            for i in range(40):
                group.create_task(api.create(CONFIGMAPS, configmap(f"c{i}")))
        seen = [task.result() for task in followers]
        assert all(one == seen[0] for one in seen)
        assert seen[0] == sorted(seen[0], key=int)

    run(body)


def test_a_storm_of_clients_is_let_in(run: Run) -> None:
    """Three hundred watches opened in one moment all connect: none is refused for a short queue."""

    async def body(api: Api) -> None:
        version = str(api.server._store.revision)

        async def follow() -> str:
            async with api.watch(CONFIGMAPS, resourceVersion=version) as event:
                return str((await event())["type"])

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(follow()) for _ in range(300)]
            await api.create("/api/v1/namespaces", {"metadata": {"name": "x"}})
            await api.create(CONFIGMAPS, configmap("a"))
        assert {task.result() for task in followers} == {"ADDED"}

    run(body)


def test_a_client_that_leaves_ends_its_watch(run: Run) -> None:
    """Closing the connection frees the server's side of the watch at once."""

    async def body(api: Api) -> None:
        async with api.watch(CONFIGMAPS, resourceVersion="2"):
            assert len(api.server._streams) == 1
        async with asyncio.timeout(5):
            while api.server._streams:
                await asyncio.sleep(0.01)

    run(body)


def test_a_watch_resumes_over_a_restart(tmp_path: Path) -> None:
    """After a restart a watch from the last seen version misses nothing; open watches end."""

    async def body() -> None:
        async with serving(tmp_path) as api:
            version = str(api.server._store.revision)
            made = await api.create(CONFIGMAPS, configmap("a"))
        async with (
            serving(tmp_path) as api,
            api.watch(CONFIGMAPS, resourceVersion=version) as event,
        ):
            assert await event() == {"type": "ADDED", "object": made}

    asyncio.run(body())


def test_stopping_does_not_wait_for_watchers(tmp_path: Path) -> None:
    """A server that stops ends its watches itself: clients see the end of the stream, at once."""

    async def body() -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(tmp_path / "sock"))
        ) as outside:
            async with serving(tmp_path):
                query = {"watch": "true", "resourceVersion": "2"}
                answer = await outside.get(f"http://netpod{PODS}", params=query)
                before = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - before < 1.0
            async with asyncio.timeout(1):
                assert await answer.content.read() == b""

    asyncio.run(body())
