"""Whatever is sent, the server answers, blames the sender, and goes on."""

import asyncio
import gc
import os
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netpod.api import codec, registry
from netpod.errors import BadRequest
from tests.unit.apiserver import fuzzing
from tests.unit.apiserver.support import CONFIGMAPS, Api, configmap, serving

BATCH = 100
REQUESTS = int(os.environ.get("NETPOD_FUZZ_REQUESTS", "3000"))
"""How many requests; before a release run it with 50000, which takes some minutes."""
MODEST = (503, 504)
"""What is no failure of the server: somebody behind it does not answer, or a revision is not there yet."""
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
YAML = {"Content-Type": "application/yaml"}


async def _answer(api: Api, request: fuzzing.Request) -> int:
    """The status code, 0 for what the client itself refuses to send."""
    url = api.base + request.path
    options: dict[str, Any] = {"params": request.query, "headers": request.headers}
    try:
        async with asyncio.timeout(15):
            async with api.session.request(
                request.method, url, data=request.body, allow_redirects=False, **options
            ) as answer:
                await answer.read()
                return answer.status
    except (ValueError, aiohttp.InvalidURL):
        return 0


async def _batch(api: Api, seed: int) -> None:
    fuzzer = fuzzing.Fuzzer(seed)
    for _ in range(BATCH):
        request = fuzzer.request()
        if "timeoutSeconds" in request.query:
            continue  # a watch takes its second
        code = await _answer(api, request)
        assert code < 500 or code in MODEST, (code, request)


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    """Thousands of requests, nearly right and quite wrong, are all answered, none with 500."""

    async def body() -> None:
        async with serving(tmp_path) as api:
            loop = asyncio.get_running_loop()

            @settings(
                max_examples=REQUESTS // BATCH,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.integers(0, 1 << 32))
            def answered(seed: int) -> None:
                asyncio.run_coroutine_threadsafe(_batch(api, seed), loop).result(60)

            await asyncio.to_thread(answered)
            assert await api.get("/api/v1/namespaces/default")

    asyncio.run(body())


def test_what_was_asked_leaves_nothing_behind(tmp_path: Path) -> None:
    """The same requests again, and again: once caches are full, no object stays for every request that was made."""
    rounds, requests = 4, 400

    async def body() -> None:
        async with serving(tmp_path) as api:
            there = []
            for _ in range(rounds):
                fuzzer = fuzzing.Fuzzer(1)
                for request in (fuzzer.request() for _ in range(requests)):
                    if "timeoutSeconds" not in request.query:
                        await _answer(api, request)
                await _clean(api)
                gc.collect()
                there.append(len(gc.get_objects()))
            assert there[-1] - there[-2] < requests, there

    asyncio.run(body())


async def _clean(api: Api) -> None:
    """Remove all objects of the default namespace, also those that hold themselves."""
    for resource in registry.RESOURCES:
        if not resource.namespaced:
            continue
        path = resource.path("default")
        await api("DELETE", path)
        for item in (await api.get(path))["items"]:
            own = f"{path}/{item['metadata']['name']}"
            await api("PATCH", own, {"metadata": {"finalizers": None}})
            await api("DELETE", own, gracePeriodSeconds="0")


@pytest.mark.parametrize(
    "text",
    [
        b"- " * 1_000_000,
        b"[" * 1_000_000,
        b"a: &a [l,l]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]",
        b"a: &a [*a]",
        b"a: " + b"9" * 5000,
        b"a: .inf",
        b"a: !!set {x}",
        b"? [1, 2]\n: 3",
    ],
    ids=lambda text: text[:12].decode(),
)
def test_yaml_that_is_no_json_is_refused(text: bytes) -> None:
    """Neither depth, which would end the process, nor aliases, which would fill it, nor YAML's own types pass."""
    with pytest.raises(BadRequest):
        codec.load_manifests(text)


def test_an_object_cannot_nest_deeper_than_it_can_be_written(run: Any) -> None:
    """Deep nesting is refused in a body and in what patches make of an object step by step."""

    async def body(api: Api) -> None:
        deep = b'{"a":' * 300 + b"1" + b"}" * 300
        for method, path in (("POST", CONFIGMAPS), ("PATCH", f"{CONFIGMAPS}/c")):
            await api("POST", CONFIGMAPS, configmap("c"))
            code, told = await api(method, path, deep)
            assert (code, "nests deeper" in told["message"]) == (400, True)
        nest = [
            {"op": "copy", "from": "", "path": "/x"},
            *({"op": "copy", "from": "/x", "path": "/x/x"} for _ in range(300)),
        ]
        code, told = await api("PATCH", f"{CONFIGMAPS}/c", nest, headers=JSON_PATCH)
        assert code in (400, 413), told

    run(body)


def test_copies_of_a_json_patch_do_not_grow_without_bound(run: Any) -> None:
    """Thirty copies that double the object each time are refused before they fill the memory."""

    async def body(api: Api) -> None:
        await api.create(CONFIGMAPS, configmap("c", a="x" * 100))
        bomb = [
            {"op": "add", "path": "/z", "value": ["x" * 100]},
            *({"op": "copy", "from": "/z", "path": "/z/-"} for _ in range(60)),
        ]
        code, told = await api("PATCH", f"{CONFIGMAPS}/c", bomb, headers=JSON_PATCH)
        assert code in (400, 413), told

    run(body)


def test_names_of_unknown_fields_cannot_break_a_header(run: Any) -> None:
    """The warning about a field with a line break in its name is one header."""

    async def body(api: Api) -> None:
        made = {**configmap("c"), "x\r\nSet-Cookie: y": 1}
        code, _ = await api("POST", CONFIGMAPS, made)
        assert code == 201

    run(body)


def test_a_head_of_a_watch_has_no_body(run: Any) -> None:
    """It is answered as the list, and the connection can be used again."""

    async def body(api: Api) -> None:
        for path in (CONFIGMAPS, "/api/v1/watch/namespaces"):
            async with api.session.head(api.base + path, params={"watch": "true"}) as answer:
                assert answer.status == 200
        assert await api.get(CONFIGMAPS)

    run(body)


GARBAGE = (
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 200,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    b"GET /api/v1/pods?labelSelector=%ff%fe HTTP/1.1\r\nHost: x\r\nUser-Agent: \xff\xfe\r\nAccept: \xff\r\n\r\n",
    b"GET /api/v1/namespaces/\xff\xfe/pods HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1/api HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //x:y@z:99999/api HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:99999 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nImpersonate-User: \xff\r\n\r\n",
    b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff.\xff.\xff\r\n\r\n",
)


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_http_ends_its_own_connection_only(tmp_path: Path, data: bytes) -> None:
    """Malformed or cut short, each is answered below 500 or dropped, at once, and the next client is served."""

    async def body() -> None:
        async with asyncio.timeout(20), serving(tmp_path) as api:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
            writer.write(data)
            answer = b""
            try:
                await writer.drain()
                raw = writer.get_extra_info("socket")
                raw.shutdown(socket.SHUT_WR)
                async with asyncio.timeout(5):
                    answer = await reader.read()
            except (ConnectionError, OSError):
                pass
            writer.close()
            assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), answer[:400]
            assert await api.get("/api/v1/namespaces/default")

    asyncio.run(body())
