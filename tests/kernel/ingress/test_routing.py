"""The tables of kubenet-facts F through a real HAProxy: the model and the proxy agree, and both with upstream."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.kernel.ingress.conftest import get
from tests.unit.ingress.builders import make_class, make_ingress, make_service, make_slice
from tests.unit.ingress.tables import HOSTS, PATHS

Start = Callable[..., Any]


def test_path_table(proxy: Start, http_server: Start) -> None:
    """HAProxy picks the rule that the table names, for every line, on one host each."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            rules = [
                (f"t{number}.test", *rule.split(" "), "web")
                for number, (rules, _, _) in enumerate(PATHS)
                for rule in rules
            ]
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            slices = [make_slice("web", "127.0.0.1", port=port)]
            await running.serve([make_ingress(*rules, port=port)], [make_class()], [web], slices)
            for number, (_, path, answers) in enumerate(PATHS):
                answer = await running.get(f"t{number}.test", path + "?q=/foo")
                assert (answer.status == 200) == bool(answers), (path, answers, answer)
            for (_, path, answers), line in zip(
                PATHS, await running.logged(len(PATHS)), strict=True
            ):
                assert line["path"] == path
                said = f"{line['rule_path_type']} {line['rule_path']}"
                assert said == (answers or "- -"), line

    asyncio.run(check())


def test_host_table(proxy: Start, http_server: Start) -> None:
    """HAProxy picks the host that the table names: exact, then wildcard of one label, then none."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            for number, (hosts, header, answers) in enumerate(HOSTS):
                one = make_ingress(*((h, "Prefix", "/", "web") for h in hosts), port=port)
                await running.serve([one], [make_class()], [web], [])
                answer = await running.get(header, "/")
                assert answer.status == (404 if answers is None else 200), (hosts, header)
                line = (await running.logged(number + 1))[number]
                if answers is not None:
                    assert line["rule_host"] == (answers or "*"), (hosts, header)
            assert running.haproxy.reloads == 0

    asyncio.run(check())


def test_404_and_503_say_what_happened(proxy: Start) -> None:
    """No rule is 404 and names host and path; a rule without answer is at once 503 and names Ingress and cause."""

    async def check() -> None:
        async with proxy() as running:
            rules = [("a.com", "Prefix", "/missing", "no"), ("a.com", "Prefix", "/empty", "web")]
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", 1),))
            ingresses = [
                make_ingress(rules[0], name="one", port=1),
                make_ingress(rules[1], name="two", port=1),
            ]
            await running.serve(ingresses, [make_class()], [web], [])
            host = await running.get("z.com", "/")
            path = await running.get("a.com", "/x")
            missing = await running.get("a.com", "/missing")
            empty = await running.get("a.com", "/empty/1")
            lines = await running.logged(4)
        # A second try would begin with a pause of a second.
        assert lines[-1]["retries"] == "0"
        assert (host.status, host.body) == (404, "404: no Ingress serves host z.com\n")
        assert path.status == 404
        assert path.body == "404: no rule of host a.com matches path /x\n"
        assert missing.status == 503
        assert missing.body == (
            "503: Ingress default/one matched, but Service default/no:1 does not answer: "
            "Service default/no does not exist\n"
        )
        assert empty.status == 503
        assert empty.body.endswith(
            "default/web has no ready endpoints, and connections to 127.0.0.1:1 fail\n"
        )
        assert empty.headers["content-type"] == "text/plain"

    asyncio.run(check())


def test_request_headers_tell_the_server_about_the_client(proxy: Start, http_server: Start) -> None:
    """X-Forwarded-* are ours, whatever the client claims; X-Request-ID is kept, or made."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            one = make_ingress(("a.com", "Prefix", "/", "web"), port=port)
            await running.serve([one], [make_class()], [web], [])
            first = await running.get("a.com:80", "/", X_Forwarded_For="6.6.6.6")
            second = await running.get("a.com", "/", X_Request_ID="mine")
            lines = await running.logged(2)
        headers = first.seen["headers"]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["x-forwarded-host"] == "a.com:80"
        assert headers["host"] == "a.com:80"
        assert len(headers["x-request-id"]) == 36
        assert second.seen["headers"]["x-request-id"] == "mine"
        assert [line["request_id"] for line in lines] == [headers["x-request-id"], "mine"]

    asyncio.run(check())


def test_traced_request_leaves_from_a_reserved_port_and_is_logged(
    proxy: Start, http_server: Start
) -> None:
    """The twin opens its own connection from 61000-61999; the log joins both connections and names the rule."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            one = make_ingress(("a.com", "Prefix", "/x", "web"), port=port)
            slices = [make_slice("web", "127.0.0.1", port=port)]
            await running.serve([one], [make_class()], [web], slices)
            plain = (await running.get("a.com", "/x")).seen
            traced = [
                (await running.get("a.com", "/x/y", X_Netpod_Trace='t"1')).seen for _ in range(3)
            ]
            lines = await running.logged(4)
        assert not 61000 <= plain["peer"][1] <= 61999
        ports = [seen["peer"][1] for seen in traced]
        assert all(61000 <= number <= 61999 for number in ports)
        assert len(set(ports)) == 3, "each traced request has a connection of its own"
        line = lines[1]
        assert line["trace"] == 't"1'
        assert line["source"] == f"127.0.0.1:{ports[0]}"
        assert line["destination"] == f"127.0.0.1:{port}"
        assert line["backend"] == f"default/web:{port}"
        assert line["ingress"] == "default/site"
        assert (line["rule_host"], line["rule_path"]) == ("a.com", "/x")
        assert line["status"] == 200
        assert lines[0]["trace"] == "-"

    asyncio.run(check())


def test_metrics_count_a_services_requests(proxy: Start, http_server: Start) -> None:
    """Prometheus finds each Service's requests under the name of its section; /healthz is beside it."""

    async def check() -> None:
        async with http_server("web") as server, proxy(health="127.0.0.1:10254") as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            one = make_ingress(("a.com", "Prefix", "/", "web"), port=port)
            slices = [make_slice("web", "127.0.0.1", port=port)]
            await running.serve([one], [make_class()], [web], slices)
            for _ in range(3):
                assert (await running.get("a.com", "/")).status == 200
            assert (await get(10254, "x", "/healthz")).body == "ok\n"
            metrics = (await get(10254, "x", "/metrics")).body.splitlines()
        name = f'haproxy_backend_http_requests_total{{proxy="svc-default:web:{port}"}} 3'
        assert name in metrics

    asyncio.run(check())
