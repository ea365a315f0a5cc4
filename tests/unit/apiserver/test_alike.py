"""The thousandth pod of a template is made from what the first became, and is what it would have been without that."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from netpod.api import registry
from netpod.apiserver import alike, handlers, routes
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.calls import Call
from netpod.apiserver.storage import Storage
from netpod.store.store import KeyValue, Page
from tests.unit.apiserver.support import PODS, Api, Json, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
NAMESPACES = "/api/v1/namespaces"
IN_DEFAULT = f"{NAMESPACES}/default"
CHANGING = ("uid", "resourceVersion", "creationTimestamp")


def call(body: bytes, path: str = PODS) -> Call:
    """A POST of pods as the handlers see it."""
    route = routes.parse("POST", path, {})
    return Call(route=route, user=TRUSTED, body=body, content_type="application/json")


def raw(value: Json) -> bytes:
    """The bytes of a request; those of a template may be given as such."""
    return value if isinstance(value, bytes) else orjson.dumps(value)


def known(api: Api, value: Json, path: str = PODS) -> bool:
    """Whether a pod of such a body would be made from another one."""
    return api.server.writer.alike.find(call(raw(value), path)) is not None


async def two(api: Api, text: Callable[[str], Json], path: str = PODS) -> None:
    """Create two pods that are alike, so that the third is known."""
    for name in ("first-1", "first-2"):
        await api.create(path, raw(text(name)))


def rest(made: Json) -> Json:
    """A pod without what differs between any two."""
    given = {k: v for k, v in made["metadata"].items() if k not in CHANGING}
    return {**made, "metadata": given}


TEMPLATES: dict[str, Callable[[str], Json]] = {
    "plain": pod,
    "labelled": lambda name: pod(name, labels={"app": "a"}, annotations={"name": "other"}),
    "owned": lambda name: pod(
        name,
        ownerReferences=[
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "r",
                "uid": "u",
                "controller": True,
            }
        ],
    ),
    "with a status": lambda name: {**pod(name), "status": {"phase": "Running"}},
    "name last": lambda name: {
        "spec": {"containers": [{"image": "nginx", "name": "c"}]},
        "metadata": {"labels": {"name": "x"}, "name": name},
    },
    "with spaces": lambda name: orjson.dumps(pod(name), option=orjson.OPT_INDENT_2),
    "in a class": lambda name: {
        **pod(name),
        "spec": {**pod(name)["spec"], "priorityClassName": "system-node-critical"},
    },
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_another_pod_is_what_it_would_have_been(run: Run, template: str) -> None:
    """The third pod equals the first two but for its own name, uid and time; it is stored as it is answered."""

    async def body(api: Api) -> None:
        text = TEMPLATES[template]
        first = [await api.create(PODS, raw(text(name))) for name in ("p-1", "p-2", "p-3", "p.4")]
        assert len({made["metadata"]["uid"] for made in first}) == 4
        for made in first:
            name = made["metadata"]["name"]
            assert orjson.dumps(rest(made)) == orjson.dumps(rest(first[0])).replace(
                b'"p-1"', b'"%b"' % name.encode()
            )
            assert await api.get(f"{PODS}/{name}") == made
            assert (
                first[0]["metadata"]["creationTimestamp"] <= made["metadata"]["creationTimestamp"]
            )

    run(body)


def test_most_templates_are_known(run: Run) -> None:
    """Two requests are enough, whatever a client's JSON looks like; only a name behind another one is not found."""

    async def body(api: Api) -> None:
        found = {}
        for name, text in TEMPLATES.items():
            await two(api, text)
            found[name] = known(api, text("p-3"))
            for made in ("first-1", "first-2"):
                await api("DELETE", f"{PODS}/{made}", gracePeriodSeconds="0")
        assert found == {name: name != "name last" for name in TEMPLATES}

    run(body)


def test_large_bodies_are_not_kept(run: Run) -> None:
    """Nobody fills the server's memory with what it remembers."""

    async def body(api: Api) -> None:
        for size, kept in ((10_000, True), (alike.LARGEST, False)):

            def text(name: str, size: int = size) -> Json:
                return pod(name, annotations={"long": "x" * size})

            await two(api, text)
            assert known(api, text("x")) == kept
            for made in ("first-1", "first-2"):
                await api("DELETE", f"{PODS}/{made}", gracePeriodSeconds="0")

    run(body)


def test_generated_names(run: Run) -> None:
    """Pods without a name are alike too, and each gets one of its own."""

    async def body(api: Api) -> None:
        text = raw({**pod(), "metadata": {"generateName": "web-"}})
        made = [await api.create(PODS, text) for _ in range(20)]
        assert known(api, text)
        names = {it["metadata"]["name"] for it in made}
        assert len(names) == 20
        assert all(name.startswith("web-") and len(name) == 9 for name in names)
        assert all(it["metadata"]["generateName"] == "web-" for it in made)

    run(body)


@pytest.mark.parametrize("name", ["UPPER", "a..b", "-a", "a" * 254, "a\\u0062", ""])
def test_bad_names_are_still_refused(run: Run, name: str) -> None:
    """A name no pod may have is judged as if nothing was known."""

    async def body(api: Api) -> None:
        await two(api, pod)
        value = raw(pod("x")).replace(b'"name":"x"', b'"name":"%b"' % name.encode())
        code, told = await api("POST", PODS, value)
        if name == "a\\u0062":
            assert (code, told["metadata"]["name"]) == (201, "ab")
        else:
            assert (code, told["reason"]) == (422, "Invalid")

    run(body)


def test_a_name_is_given_once(run: Run) -> None:
    """A pod that exists is not made again."""

    async def body(api: Api) -> None:
        await two(api, pod)
        code, told = await api("POST", PODS, raw(pod("first-1")))
        assert known(api, pod("first-1"))
        assert (code, told["message"]) == (409, 'pods "first-1" already exists')

    run(body)


LIMITS = {
    "metadata": {"name": "l"},
    "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "100m"}}]},
}
QUOTA = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "4"}}}
URGENT = {"metadata": {"name": "urgent"}, "value": 7, "globalDefault": True}


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        (f"{IN_DEFAULT}/limitranges", LIMITS, lambda p: p["spec"]["containers"][0]["resources"]),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", URGENT, lambda p: p["spec"]["priority"]),
    ],
)
def test_what_admission_looks_up_counts_at_once(
    run: Run, path: str, change: Json, field: Callable[[Json], Any]
) -> None:
    """The pod after a change of a LimitRange or PriorityClass has it, and so have those alike."""

    async def body(api: Api) -> None:
        await two(api, pod)
        before = field(await api.create(PODS, raw(pod("before"))))
        await api.create(path, change)
        after = [field(await api.create(PODS, raw(pod(f"after-{n}")))) for n in range(4)]
        assert all(value == after[0] != before for value in after)

    run(body)


def test_a_quota_is_counted_each_time(run: Run) -> None:
    """Where a quota is, nothing is taken from another pod."""

    async def body(api: Api) -> None:
        await two(api, pod)
        await api.create(f"{IN_DEFAULT}/resourcequotas", QUOTA)
        codes = [(await api("POST", PODS, raw(pod(f"q-{n}"))))[0] for n in range(4)]
        assert codes == [201, 201, 403, 403]

    run(body)


def test_a_namespace_that_ends_takes_no_more(run: Run) -> None:
    """A pod alike is refused as soon as its namespace is being deleted."""

    async def body(api: Api) -> None:
        await api.create(NAMESPACES, {"metadata": {"name": "gone"}})
        path = f"{NAMESPACES}/gone/pods"
        await two(api, pod, path)
        assert known(api, pod("x"), path)
        await api("DELETE", f"{NAMESPACES}/gone")
        code, told = await api("POST", path, raw(pod("x")))
        assert code == 403, told

    run(body)


def test_warnings_and_queries_are_answered_anew(run: Run) -> None:
    """An unknown field warns each time, and a fieldManager is recorded each time."""

    async def body(api: Api) -> None:
        odd = pod("odd-1")
        odd["spec"]["odd"] = 1
        for n in range(4):
            odd["metadata"]["name"] = f"odd-{n}"
            headers = {"Content-Type": "application/json"}
            async with api.session.post(api.base + PODS, data=raw(odd), headers=headers) as answer:
                assert r"unknown field \"spec.odd\"" in answer.headers["Warning"]
        for n in range(4):
            made = await api.create(PODS, raw(pod(f"m-{n}")), fieldManager="me")
            assert made["metadata"]["managedFields"][0]["manager"] == "me"
            dry = await api.create(PODS, raw(pod("dry")), dryRun="All")
            assert dry["metadata"]["name"] == "dry"

    run(body)


def test_all_that_admission_asks_is_known(run: Run) -> None:
    """What admission of a pod reads is among what is watched for changes."""

    async def body(api: Api) -> None:
        asked: set[registry.Resource] = set()

        class Noting(Storage):
            async def find(
                self, resource: registry.Resource, namespace: str, name: str, **more: Any
            ) -> KeyValue | None:
                asked.add(resource)
                return await super().find(resource, namespace, name, **more)

            async def list(
                self, resource: registry.Resource, namespace: str = "", **more: Any
            ) -> Page:
                asked.add(resource)
                return await super().list(resource, namespace, **more)

        writer = api.server.writer
        writer.storage = writer._quotas._store = Noting(writer.storage._store)
        classes = "/apis/node.k8s.io/v1/runtimeclasses"
        await api.create(classes, {"metadata": {"name": "r"}, "handler": "h"})
        full = pod("full")
        full["spec"] |= {"runtimeClassName": "r", "priorityClassName": "system-node-critical"}
        asked.clear()
        for value in (pod("p"), full):
            await handlers.create(writer, call(raw(value)))
        folders = {alike.objects.prefix(resource) for resource in asked}
        assert folders == set(alike.ASKED)

    run(body)
