"""HTTPRoutes on a real HAProxy: which rule takes a request, and what is done to it."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from netpod.ingress import haproxy as compiler
from netpod.ingress.gateway.plan import Plan
from netpod.ingress.model import Routing
from tests.kernel.ingress.conftest import Answer, get
from tests.kernel.ingress.test_tls import Start
from tests.unit.ingress.builders import make_service, make_slice
from tests.unit.ingress.gateways import GATEWAY, planned, route

RULE = "{matches: [%s], backendRefs: [{name: %s, port: %d}]}"


class Gateway:
    """Routes of Gateway gw in front of servers that say who they are."""

    def __init__(self, running: Any, port: int) -> None:
        self._running = running
        self._port = port
        self.plan = Plan()

    async def serve(self, *texts: str, gateway: str = GATEWAY) -> None:
        """Serve manifests; each Service's name is also the name its server goes by."""
        names = ("a", "b", "c", "d")
        services = [
            make_service(name, cluster_ip=f"127.0.1.{n}", ports=(("", self._port),))
            for n, name in enumerate(names, 1)
        ]
        services.append(make_service("empty", cluster_ip="127.0.1.9", ports=(("", 1),)))
        slices = [make_slice(name, "127.0.0.1", port=self._port) for name in names]
        self.plan = planned(gateway, *texts, services=services, slices=slices)
        config = compiler.compile(Routing(), self.plan.frontends, self.plan.backends)
        await self._running.haproxy.apply(config)

    async def get(self, host: str, path: str, port: int = 80, **headers: str) -> Answer:
        """Send one request."""
        bind = next(b for (_, number), b in self.plan.binds.items() if number == port)
        return await get(bind, host, path, **headers)

    async def who(self, host: str, path: str, **headers: str) -> str:
        """Which Service answers, or the status."""
        answer = await self.get(host, path, **headers)
        if answer.status != 200:
            return str(answer.status)
        return "abcd"[int(answer.seen["local"].rpartition(".")[2]) - 1]


def run(proxy: Start, check: Any) -> None:
    """Run a check in front of one server that listens on all the Services' addresses."""

    async def all_of_it() -> None:
        server = await asyncio.start_server(_answer, "0.0.0.0", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with proxy() as running:
                await check(Gateway(running, port), port, running)
        finally:
            server.close()

    asyncio.run(all_of_it())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = [line.split(": ", 1) for line in head[1:] if line]
        said = {
            "local": writer.get_extra_info("sockname")[0],
            "path": head[0].split(" ")[1],
            "headers": [[name.lower(), value] for name, value in headers],
        }
        body = json.dumps(said).encode()
        extra = b"X-Server: here\r\nConnection: close\r\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)
        )
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


PRECEDENCE: list[tuple[str, list[str], list[tuple[str, dict[str, str], str]]]] = [
    (
        "exact, then regular expression, then the longest prefix",
        [
            "{path: {type: PathPrefix, value: /}}",
            "{path: {type: PathPrefix, value: /foo/bar}}",
            "{path: {type: RegularExpression, value: '/foo/b[ae]r'}}",
            "{path: {type: Exact, value: /foo/bar}}",
        ],
        [
            ("/", {}, "a"),
            ("/foo/barx", {}, "a"),
            ("/foo/bar", {}, "d"),
            ("/foo/ber", {}, "c"),
            ("/foo/bar/", {}, "b"),
            ("/foo/bar/x", {}, "b"),
            ("/xfoo/ber", {}, "a"),
            ("/foo/berx", {}, "a"),
            ("/FOO/BAR", {}, "a"),
        ],
    ),
    (
        "path before method before headers before query",
        [
            "{queryParams: [{name: q, value: '1'}]}",
            "{headers: [{name: X-V, value: '1'}]}",
            "{method: GET}",
            "{path: {value: /p}}",
        ],
        [
            ("/p?q=1", {"X_V": "1"}, "d"),
            ("/x?q=1", {"X_V": "1"}, "c"),
        ],
    ),
    (
        "more headers win, and all of them must fit",
        [
            "{headers: [{name: x-v, value: one}]}",
            "{headers: [{name: X-V, value: one}, {name: X-W, value: two}]}",
            "{headers: [{name: X-W, value: two}]}",
            "{path: {value: /}, headers: [{name: X-N, type: RegularExpression, value: '[0-9]+'}]}",
        ],
        [
            ("/", {"X_V": "one"}, "a"),
            ("/", {"X_V": "one", "X_W": "two"}, "b"),
            ("/", {"X_W": "two"}, "c"),
            ("/", {"X_V": "One"}, "404"),
            ("/", {"X_N": "42"}, "d"),
            ("/", {"X_N": "42x"}, "404"),
        ],
    ),
    (
        "more query parameters win, values are decoded",
        [
            "{queryParams: [{name: a, value: x}]}",
            "{queryParams: [{name: a, value: x}, {name: b, value: 'y z'}]}",
            "{queryParams: [{name: c, value: '}'}]}",
            "{queryParams: [{name: n, type: RegularExpression, value: '[0-9]+'}]}",
        ],
        [
            ("/?a=x", {}, "a"),
            ("/?b=y%20z&a=x", {}, "b"),
            ("/?b=y+z&a=x", {}, "b"),
            ("/?a=xx", {}, "404"),
            ("/?c=%7D", {}, "c"),
            ("/?n=7", {}, "d"),
            ("/?n=7x", {}, "404"),
        ],
    ),
    (
        "the first rule of two alike",
        ["{path: {value: /same}}", "{path: {value: /same/}}"],
        [("/same/x", {}, "a"), ("/samex", {}, "404")],
    ),
]


@pytest.mark.parametrize(("what", "matches", "asked"), PRECEDENCE, ids=lambda v: str(v)[:30])
def test_precedence(
    proxy: Start, what: str, matches: list[str], asked: list[tuple[str, dict[str, str], str]]
) -> None:
    """Of all rules that fit, the one upstream's order puts first takes the request."""

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        rules = [RULE % (match, "abcd"[n], port) for n, match in enumerate(matches)]
        await gateway.serve(route("r", *rules))
        got = [(path, head, await gateway.who("x.com", path, **head)) for path, head, _ in asked]
        assert got == asked, what

    run(proxy, check)


def test_hostnames(proxy: Start) -> None:
    """The most specific listener has a request to itself; in it, the most specific hostname comes first."""
    listeners = (
        "[{name: all, port: 80, protocol: HTTP}, {name: wild, port: 80, protocol: HTTP, hostname: '*.foo.com'},"
        " {name: bar, port: 80, protocol: HTTP, hostname: bar.foo.com}]"
    )
    gateway_text = GATEWAY.replace("[{name: http, port: 80, protocol: HTTP}]", listeners)

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        at = [{"name": "gw", "sectionName": name} for name in ("all", "wild", "bar")]
        await gateway.serve(
            route("a", RULE % ("{path: {value: /a}}", "a", port), parentRefs=at[:1]),
            route("b", RULE % ("{path: {value: /b}}", "b", port), parentRefs=at[1:2]),
            route(
                "c",
                RULE % ("{path: {value: /}}", "c", port),
                parentRefs=at[1:2],
                hostnames=["x.foo.com"],
            ),
            route("d", RULE % ("{path: {value: /d}}", "d", port), parentRefs=at[2:]),
            gateway=gateway_text,
        )
        table = {
            ("bar.foo.com", "/d"): "d",
            ("bar.foo.com", "/a"): "404",
            ("bar.foo.com", "/b"): "404",
            ("BAR.foo.com:80", "/d"): "d",
            ("y.z.foo.com", "/b"): "b",
            ("y.foo.com", "/a"): "404",
            ("x.foo.com", "/b"): "c",
            ("foo.com", "/a"): "a",
            ("other.org", "/a"): "a",
        }
        assert {place: await gateway.who(*place) for place in table} == table

    run(proxy, check)


def test_older_route_wins(proxy: Start) -> None:
    """Of two routes alike the older one takes requests, then the one whose name comes first."""

    async def check(gateway: Gateway, port: int, running: Any) -> None:
        old = route("z", RULE % ("{}", "a", port)).replace(
            "name: z", "creationTimestamp: '2025-01-01T00:00:00Z'\n  name: z"
        )
        new = [
            route(name, RULE % ("{}", to, port)).replace(
                f"name: {name}\n", f"creationTimestamp: '2026-01-01T00:00:00Z'\n  name: {name}\n", 1
            )
            for name, to in (("y", "b"), ("x", "c"))
        ]
        await gateway.serve(*new, old)
        assert await gateway.who("x.com", "/") == "a"
        await gateway.serve(*new)
        async with asyncio.timeout(5):
            # The process before the reload may still answer what it accepted.
            while await gateway.who("x.com", "/") != "c":
                await asyncio.sleep(0.01)

    run(proxy, check)


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
