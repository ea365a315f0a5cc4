"""Filters of HTTPRoutes and what they change, weights, and what needs a reload, on a real HAProxy."""

import asyncio
import dataclasses
from typing import Any

import pytest

from netpod.ingress import haproxy as compiler
from netpod.ingress.model import Routing
from tests.kernel.ingress.gateway import RULE, Gateway, run
from tests.kernel.ingress.test_tls import Start
from tests.unit.ingress.gateways import GATEWAY, route


def test_weights_and_what_cannot_answer(proxy: Start) -> None:
    """Requests are shared by weight; the share of what does not exist is 500, nothing at all is 404."""

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        refs = [("a", 3), ("b", 1), ("c", 0)]
        shares = ", ".join(f"{{name: {n}, port: {port}, weight: {w}}}" for n, w in refs)
        await gateway.serve(
            route(
                "r",
                f"{{matches: [{{path: {{value: /shared}}}}], backendRefs: [{shares}]}}",
                f"{{matches: [{{path: {{value: /half}}}}], backendRefs: [{{name: a, port: {port}}}, "
                "{name: missing, port: 80}]}",
                "{matches: [{path: {value: /nothing}}]}",
                f"{{matches: [{{path: {{value: /zero}}}}], backendRefs: [{{name: a, port: {port}, weight: 0}}]}}",
                "{matches: [{path: {value: /empty}}], backendRefs: [{name: empty, port: 1}]}",
            )
        )
        got = [await gateway.who("x.com", "/shared") for _ in range(400)]
        # 300 expected; eight standard deviations away is a defect.
        assert set(got) == {"a", "b"}
        assert 230 < got.count("a") < 370
        halves = {await gateway.who("x.com", "/half") for _ in range(100)}
        assert halves == {"a", "500"}
        said = await gateway.get("x.com", "/nothing")
        assert (said.status, said.body) == (
            500,
            "500: HTTPRoute default/r matched, but the rule names no backend\n",
        )
        assert await gateway.who("x.com", "/zero") == "500"
        assert await gateway.who("x.com", "/empty") == "503"
        assert await gateway.who("x.com", "/else") == "404"

    run(proxy, check)


def test_headers_and_rewrites(proxy: Start) -> None:
    """Headers of request and response are set, added and taken away; servers see another host and path."""
    modifier = """
matches: [{path: {value: /m}}]
filters:
- type: RequestHeaderModifier
  requestHeaderModifier:
    set: [{name: X-Set, value: 'a "50%%" of {it}; #1'}]
    add: [{name: X-Add, value: two}]
    remove: [X-Gone]
- type: ResponseHeaderModifier
  responseHeaderModifier: {set: [{name: X-New, value: made}], remove: [X-Server]}
backendRefs: [{name: a, port: %d}]
"""
    rewrite = """
matches: [{path: {value: %s}}]
filters: [{type: URLRewrite, urlRewrite: {hostname: in.side, path: {%s}}}]
backendRefs: [{name: a, port: %d}]
"""
    prefix, full = (
        "type: ReplacePrefixMatch, replacePrefixMatch: ",
        "type: ReplaceFullPath, replaceFullPath: ",
    )

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        await gateway.serve(
            route(
                "r",
                modifier % port,
                rewrite % ("/one", prefix + "/xyz", port),
                rewrite % ("/two", prefix + "/", port),
                rewrite % ("/three", prefix + "/xyz/", port),
                rewrite % ("/full", full + "/a%20b", port),
            )
        )
        answer = await gateway.get("x.com", "/m", X_Add="one", X_Gone="x")
        seen = answer.seen["headers"]
        assert ["x-set", 'a "50%" of {it}; #1'] in seen
        assert [v for n, v in seen if n == "x-add"] == ["one", "two"]
        assert not [n for n, _ in seen if n == "x-gone"]
        assert ["x-forwarded-port", "80"] in seen
        assert answer.headers["x-new"] == "made"
        assert "x-server" not in answer.headers
        table = {
            "/one": "/xyz",
            "/one/": "/xyz/",
            "/one/two?q=1": "/xyz/two?q=1",
            "/two": "/",
            "/two/a": "/a",
            "/three/a": "/xyz/a",
            "/full/x?q=1": "/a%20b?q=1",
        }
        got = {path: await gateway.get("x.com", path) for path in table}
        assert {path: answer.seen["path"] for path, answer in got.items()} == table
        assert ["host", "in.side"] in got["/one"].seen["headers"]

    run(proxy, check)


@pytest.mark.parametrize(
    ("redirect", "port", "asked", "location", "status"),
    [
        ("scheme: https", 80, "/r/x?q=1", "https://x.com/r/x?q=1", 302),
        ("scheme: https, statusCode: 301", 8080, "/r", "https://x.com/r", 301),
        ("hostname: y.org", 8080, "/r", "http://y.org:8080/r", 302),
        ("hostname: y.org, port: 80", 8080, "/r", "http://y.org/r", 302),
        ("scheme: https, port: 8443", 80, "/r", "https://x.com:8443/r", 302),
        (
            "path: {type: ReplacePrefixMatch, replacePrefixMatch: /n}",
            80,
            "/r/x?q=1",
            "http://x.com/n/x?q=1",
            302,
        ),
        (
            "path: {type: ReplaceFullPath, replaceFullPath: /n}, statusCode: 308",
            80,
            "/r/x?q=1",
            "http://x.com/n?q=1",
            308,
        ),
    ],
)
def test_redirect(
    proxy: Start, redirect: str, port: int, asked: str, location: str, status: int
) -> None:
    """Scheme, host, port and path stay as asked unless the filter says otherwise; usual ports are not written."""
    gateway_text = GATEWAY.replace("port: 80", f"port: {port}")
    rule = (
        "{matches: [{path: {value: /r}}], filters: [{type: RequestRedirect, requestRedirect: {%s}}, "
        "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-New, value: made}]}}]}"
    )

    async def check(gateway: Gateway, _: int, running: Any) -> None:
        await gateway.serve(route("r", rule % redirect), gateway=gateway_text)
        answer = await gateway.get("x.com", asked, port)
        assert (answer.status, answer.headers["location"]) == (status, location)
        assert answer.headers["x-new"] == "made"

    run(proxy, check)


def test_only_what_is_configuration_reloads(proxy: Start) -> None:
    """Endpoints move at run time; a new rule is a reload; a Gateway that goes closes its port."""

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        one = route("r", RULE % ("{}", "a", port))
        await gateway.serve(one)
        assert await gateway.who("x.com", "/") == "a"
        reloads = running.haproxy.reloads
        moved = {
            target: replace_addresses(backend) for target, backend in gateway.plan.backends.items()
        }
        config = compiler.compile(Routing(), gateway.plan.frontends, moved)
        await running.haproxy.apply(config)
        assert await gateway.who("x.com", "/") == "d"
        assert running.haproxy.reloads == reloads
        line = (await running.logged(2))[-1]
        assert (line["kind"], line["ingress"]) == ("HTTPRoute", "default/r")
        await running.haproxy.apply(compiler.compile(Routing()))
        assert running.haproxy.reloads == reloads + 1
        async with asyncio.timeout(5):
            while True:
                try:
                    await gateway.who("x.com", "/")
                except (ConnectionError, asyncio.IncompleteReadError):
                    break
                await asyncio.sleep(0.01)

    run(proxy, check)


def replace_addresses(backend: Any) -> Any:
    """The backend at the last Service's address."""
    addresses = tuple(dataclasses.replace(a, ip="127.0.1.4") for a in backend.addresses)
    return dataclasses.replace(backend, addresses=addresses)
