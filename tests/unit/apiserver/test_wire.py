"""Health in detail, metrics, aggregated discovery, YAML, gzip, watches over WebSocket, which state a list is of."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from netpod.api import registry
from netpod.apiserver import answers
from netpod.apiserver.calls import Reply
from tests.unit.apiserver.support import CONFIGMAPS, Api, configmap

Run = Callable[[Callable[[Api], Awaitable[None]]], None]


def test_health_names_its_checks(run: Run) -> None:
    """?verbose prints a line for each check, as upstream's; each has an address of its own."""

    async def body(api: Api) -> None:
        for group in ("healthz", "livez", "readyz"):
            code, text = await api("GET", f"/{group}", verbose="")
            assert code == 200
            lines = text.decode().splitlines()
            assert lines[0] == "[+]ping ok"
            assert "[+]etcd ok" in lines
            assert lines[-1] == f"{group} check passed"
            assert await api("GET", f"/{group}") == (200, b"ok")
            assert await api("GET", f"/{group}/etcd") == (200, b"ok")
            code, text = await api("GET", f"/{group}", verbose="", exclude="etcd")
            assert "[+]etcd excluded: ok" in text.decode()
            code, _ = await api("GET", f"/{group}/nonsense")
            assert code == 404

    run(body)


def test_metrics_count_requests(run: Run) -> None:
    """A scrape tells how many requests were answered how, and how many objects there are."""

    async def body(api: Api) -> None:
        await api.create(CONFIGMAPS, configmap("one"))
        await api("GET", f"{CONFIGMAPS}/two")
        code, text = await api("GET", "/metrics")
        assert code == 200
        lines = text.decode().splitlines()
        made = (
            'apiserver_request_total{code="201",group="",resource="configmaps",'
            'scope="namespace",subresource="",verb="POST",version="v1"} 1.0'
        )
        assert made in _sorted(lines)
        missed = (
            'apiserver_request_total{code="404",group="",resource="configmaps",'
            'scope="resource",subresource="",verb="GET",version="v1"} 1.0'
        )
        assert missed in _sorted(lines)
        assert any(line.startswith("apiserver_request_duration_seconds_bucket") for line in lines)
        found = next(it for it in lines if 'storage_objects{resource="configmaps"}' in it)
        assert float(found.split()[-1]) >= 1
        assert any(line.startswith("process_cpu_seconds_total ") for line in lines)

    run(body)


def _sorted(lines: list[str]) -> set[str]:
    """Lines with their labels in order."""
    found = set()
    for line in lines:
        name, brace, rest = line.partition("{")
        if brace:
            labels, _, value = rest.rpartition("}")
            line = f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"
        found.add(line)
    return found


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_tells_all_at_once(run: Run, version: str) -> None:
    """Two requests tell what the plain documents tell in fifty, in the order client-go prefers."""

    async def body(api: Api) -> None:
        accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        headers = {"Accept": f"{accept},application/json"}
        for path in ("/api", "/apis"):
            async with api.session.get(api.base + path, headers=headers) as answer:
                assert answer.headers["Content-Type"] == accept
                tag = answer.headers["ETag"]
                found = await answer.json()
            assert found["kind"] == "APIGroupDiscoveryList"
            assert found["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            for group in found["items"]:
                name = group["metadata"].get("name", "")
                for served in group["versions"]:
                    place = f"/apis/{name}/{served['version']}" if name else "/api/v1"
                    plain = (await api.get(place))["resources"]
                    told = {entry["name"]: entry for entry in plain}
                    for entry in served["resources"]:
                        main = told.pop(entry["resource"])
                        assert entry["verbs"] == main["verbs"]
                        assert (entry["scope"] == "Namespaced") == main["namespaced"]
                        for sub in entry.get("subresources", ()):
                            del told[f"{entry['resource']}/{sub['subresource']}"]
                    assert not told
            again = {**headers, "If-None-Match": tag}
            async with api.session.get(api.base + path, headers=again) as answer:
                assert answer.status == 304
        plain = await api.get("/apis")
        assert plain["kind"] == "APIGroupList"

    run(body)


def test_yaml_on_request(run: Run) -> None:
    """Objects, lists and refusals come as YAML when it is asked for first; a watch cannot."""

    async def body(api: Api) -> None:
        await api.create(CONFIGMAPS, configmap("one", answer="yes"))
        headers = {"Accept": "application/yaml"}
        async with api.session.get(f"{api.base}{CONFIGMAPS}/one", headers=headers) as answer:
            assert answer.content_type == "application/yaml"
            found = yaml.safe_load(await answer.text())
            assert found["data"] == {"answer": "yes"}
        async with api.session.get(f"{api.base}{CONFIGMAPS}/two", headers=headers) as answer:
            assert answer.status == 404
            assert yaml.safe_load(await answer.text())["reason"] == "NotFound"
        both = {"Accept": "application/json, application/yaml"}
        async with api.session.get(f"{api.base}{CONFIGMAPS}/one", headers=both) as answer:
            assert answer.content_type == "application/json"
        code, _ = await api("GET", CONFIGMAPS, headers=headers, watch="true")
        assert code == 406

    run(body)


def test_large_answers_are_compressed_over_a_network() -> None:
    """From 128 KiB on, for who can read it; on the unix socket never."""
    large = Reply(body=b'{"a":"%s"}' % (b"x" * answers.GZIP_BYTES))
    accepting = make_mocked_request("GET", "/", headers={"Accept-Encoding": "gzip, deflate"})
    plain = make_mocked_request("GET", "/")

    def encoding(reply: Reply, request: web.BaseRequest, *, near: bool) -> str:
        made = asyncio.run(answers.response(reply, request, near=near))
        assert isinstance(made.body, bytes)
        if "Content-Encoding" in made.headers:
            assert gzip.decompress(made.body) == reply.body
        return made.headers.get("Content-Encoding", "")

    assert encoding(large, accepting, near=False) == "gzip"
    assert encoding(large, accepting, near=True) == ""
    assert encoding(large, plain, near=False) == ""
    assert encoding(Reply(body=b"{}"), accepting, near=False) == ""


def test_an_answer_is_framed_as_http_says(run: Run, tmp_path: Path) -> None:
    """Length and end of the connection are told; HEAD and 304 have no body, so the next answer follows their head."""
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def body(_: Api) -> None:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))

            async def ask(line: str, *headers: str) -> dict[str, str]:
                writer.write("\r\n".join([line, "Host: a", *headers, "", ""]).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                fields = dict(field.split(": ", 1) for field in head[1:-1])
                assert fields["Date"].endswith(" GMT")
                return {"": head[0], **fields}

            async def told(head: dict[str, str]) -> bytes:
                return await reader.readexactly(int(head["Content-Length"]))

            whole = await ask("GET /version HTTP/1.1")
            assert whole[""] == "HTTP/1.1 200 OK"
            assert "Connection" not in whole
            version = await told(whole)
            assert json.loads(version)["major"] == "1"
            alone = await ask("HEAD /version HTTP/1.1")
            assert alone["Content-Length"] == str(len(version))
            found = await ask("GET /apis HTTP/1.1", f"Accept: {aggregated}")
            assert found["Content-Type"] == aggregated
            await told(found)
            known = f"If-None-Match: {found['ETag']}"
            same = await ask("GET /apis HTTP/1.1", f"Accept: {aggregated}", known)
            assert same[""] == "HTTP/1.1 304 Not Modified"
            assert "Content-Length" not in same
            missing = await ask("GET /apis/none/v1/x HTTP/1.1")
            assert missing[""] == "HTTP/1.1 404 Not Found"
            await told(missing)
            old = await ask("GET /version HTTP/1.0", "Connection: keep-alive")
            assert (old[""], old["Connection"]) == ("HTTP/1.0 200 OK", "keep-alive")
            assert await told(old) == version
            last = await ask("GET /version HTTP/1.1", "Connection: close")
            assert last["Connection"] == "close"
            assert await reader.read() == version
            writer.close()

    run(body)


def test_watch_over_a_websocket(run: Run) -> None:
    """One text frame per event, until the client closes."""

    async def body(api: Api) -> None:
        made = await api.create(CONFIGMAPS, configmap("one"))
        url = f"{api.base}{CONFIGMAPS}?watch=true&fieldSelector=metadata.name%3Done"
        async with api.session.ws_connect(url) as socket:
            first = json.loads(await socket.receive_str(timeout=10))
            assert first["type"] == "ADDED"
            assert first["object"]["metadata"]["uid"] == made["metadata"]["uid"]
            await api("DELETE", f"{CONFIGMAPS}/one")
            second = json.loads(await socket.receive_str(timeout=10))
            assert second["type"] == "DELETED"
            await socket.close()
            assert socket.close_code == aiohttp.WSCloseCode.OK
        url = f"{api.base}{CONFIGMAPS}?watch=true&timeoutSeconds=1&resourceVersion=0"
        async with api.session.ws_connect(url) as socket:
            seen = [message.type async for message in socket]
            assert set(seen) <= {aiohttp.WSMsgType.TEXT}

    run(body)


@pytest.mark.parametrize(
    ("query", "code", "word"),
    [
        ({"resourceVersionMatch": "Exact"}, 422, "unless resourceVersion is provided"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 422, "is forbidden for"),
        ({"resourceVersionMatch": "Newest", "resourceVersion": "2"}, 422, "Unsupported value"),
        ({"sendInitialEvents": "true"}, 422, "sendInitialEvents is forbidden for list"),
        ({"watch": "true", "sendInitialEvents": "true"}, 422, "NotOlderThan"),
        (
            {"watch": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "2"},
            422,
            "is forbidden for watch",
        ),
        ({"resourceVersion": "99999999"}, 504, "Too large resource version: 99999999"),
        (
            {"resourceVersion": "99999999", "resourceVersionMatch": "NotOlderThan"},
            504,
            "Too large resource version",
        ),
    ],
)
def test_which_state_a_list_is_of(run: Run, query: dict[str, str], code: int, word: str) -> None:
    """Combinations that mean nothing are named, and the future is not promised."""

    async def body(api: Api) -> None:
        found, told = await api("GET", CONFIGMAPS, **query)
        assert (found, word in told["message"]) == (code, True), told
        if code == 504:
            assert told["reason"] == "Timeout"
            assert told["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    run(body)


def test_root_lists_every_path(run: Run) -> None:
    """What `kubectl get --raw /` prints; each path answers."""

    async def body(api: Api) -> None:
        paths = (await api.get("/"))["paths"]
        assert {f"/apis/{r.api_version}" for r in registry.SERVED if r.group} <= set(paths)
        for path in paths:
            code, _ = await api("GET", path)
            assert code == 200, path

    run(body)


def test_json_is_indented_for_people(run: Run) -> None:
    """For curl and browsers, or who asks by ?pretty; a program gets one line, and always the same values."""

    async def body(api: Api) -> None:
        async def text(agent: str, query: str = "") -> str:
            path = f"{api.base}/api/v1/namespaces/default{query}"
            async with api.session.get(path, headers={"User-Agent": agent}) as answer:
                return await answer.text()

        plain = await text("kubectl/v1.30.0")
        assert plain.count("\n") <= 1
        for agent, query in (
            ("curl/8.0", ""),
            ("Mozilla/5.0 (X11)", ""),
            ("kubectl/v1.30.0", "?pretty=true"),
        ):
            indented = await text(agent, query)
            assert indented.startswith('{\n  "')
            assert json.loads(indented) == json.loads(plain)
        assert await text("curl/8.0", "?pretty=false") == plain

    run(body)
