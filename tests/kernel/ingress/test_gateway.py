"""HTTPRoutes on a real HAProxy: which rule takes a request."""

from typing import Any

import pytest

from tests.kernel.ingress.gateway import RULE, Gateway, run
from tests.kernel.ingress.test_tls import Start
from tests.unit.ingress.gateways import GATEWAY, route

_MANY_HEADERS = {f"h{number}": f"v{number}" for number in range(16)}
_MANY_PARAMS = "&".join(f"q{number}=v{number}" for number in range(16))


def _many(name: str) -> str:
    """Sixteen conditions, as many as a match may have."""
    return "[" + ", ".join(f"{{name: {name}{n}, value: v{n}}}" for n in range(16)) + "]"


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
        "as many headers and query parameters as there can be",
        [
            f"{{method: GET, path: {{value: /x}}, headers: {_many('h')}, queryParams: {_many('q')}}}",
        ],
        [
            (f"/x?{_MANY_PARAMS}", _MANY_HEADERS, "a"),
            (f"/y?{_MANY_PARAMS}", _MANY_HEADERS, "404"),
            (f"/x?{_MANY_PARAMS}", {**_MANY_HEADERS, "h9": "v"}, "404"),
            (f"/x?{_MANY_PARAMS[:-1]}", _MANY_HEADERS, "404"),
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
        assert await gateway.who("x.com", "/") == "c"

    run(proxy, check)
