"""TLS with the real clients of OpenSSL and curl: SNI, the default certificate, HTTP/2, change without reload."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from netpod.linux import process
from tests.unit.ingress.builders import make_class, make_ingress, make_service
from tests.unit.ingress.certificates import NOW, make_pair, make_secret
from tests.unit.ingress.test_tls import secure

Start = Callable[..., Any]
CLASS = [make_class()]
DEFAULT = "".join(make_pair("default.example"))


async def _subject(port: int, name: str) -> str:
    """Common name of the certificate that openssl is shown when it asks for a name."""
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"]
    argv += ["-servername", name] if name else ["-noservername"]
    said = (await process.arun(argv, stdin=b"")).stdout.decode()
    found = re.search(r"subject=CN ?= ?(\S+)", said)
    assert found, said
    return found[1]


async def _curl(port: int, host: str, *options: str) -> str:
    """Body, HTTP version and status of a request over TLS."""
    argv = ["curl", "-sk", "--resolve", f"{host}:{port}:127.0.0.1", *options]
    argv += ["-w", " %{http_version} %{http_code}", f"https://{host}:{port}/"]
    return (await process.arun(argv)).stdout.decode()


def _objects(port: int) -> tuple[Any, ...]:
    web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
    rules = [(host, "Prefix", "/", "web") for host in ("a.com", "x.b.com")]
    site = secure(make_ingress(*rules, port=port), "a", "a.com")
    return secure(site, "b", "*.b.com"), [web]


def test_name_asked_for_picks_the_certificate(proxy: Start, http_server: Start) -> None:
    """SNI picks it, also by wildcard of one label; no name or an unknown one gets the default."""

    async def check() -> None:
        async with http_server("web") as server, proxy(certificate=DEFAULT) as running:
            site, services = _objects(server.port)
            secrets = [
                make_secret("a", *make_pair("a.com")),
                make_secret("b", *make_pair("*.b.com")),
            ]
            await running.serve([site], CLASS, services, [], secrets)
            port = running.haproxy.tls_port
            names = ("a.com", "x.b.com", "y.x.b.com", "b.com", "")
            assert [await _subject(port, name) for name in names] == [
                "a.com",
                "*.b.com",
                "default.example",
                "default.example",
                "default.example",
            ]

    asyncio.run(check())


def test_http2_and_forwarded_proto(proxy: Start, http_server: Start) -> None:
    """A client that can speaks HTTP/2, another HTTP/1.1; the server is told that it was HTTPS. HTTP is served, too."""

    async def check() -> None:
        async with http_server("web") as server, proxy(certificate=DEFAULT) as running:
            site, services = _objects(server.port)
            await running.serve([site], CLASS, services, [], [])
            port = running.haproxy.tls_port
            said = await _curl(port, "a.com", "--http2")
            assert '"x-forwarded-proto": "https"' in said
            assert said.endswith(" 2 200")
            assert (await _curl(port, "a.com", "--http1.1")).endswith(" 1.1 200")
            assert (await running.get("a.com", "/")).seen["headers"]["x-forwarded-proto"] == "http"
            first, *_ = await running.logged(3)
            assert first["tls"] == "TLSv1.3"

    asyncio.run(check())


def test_unusable_certificates_stop_nobody(proxy: Start, http_server: Start) -> None:
    """A foreign key, an expired certificate, rubbish and no Secret: those hosts get the default, all are served."""

    async def check() -> None:
        async with http_server("web") as server, proxy(certificate=DEFAULT) as running:
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", server.port),))
            names = ("good", "foreign", "old", "rubbish", "none")
            site = make_ingress(
                *((f"{n}.com", "Prefix", "/", "web") for n in names), port=server.port
            )
            for name in names:
                site = secure(site, name, f"{name}.com")
            good, foreign = make_pair("good.com"), make_pair("foreign.com")
            old = make_pair("old.com", ends=NOW - timedelta(hours=1))
            secrets = [
                make_secret("good", *good),
                make_secret("foreign", foreign[0], good[1]),
                make_secret("old", *old),
                make_secret("rubbish", "-----BEGIN CERTIFICATE-----", good[1]),
            ]
            await running.serve([site], CLASS, [web], [], secrets)
            port = running.haproxy.tls_port
            shown = {name: await _subject(port, f"{name}.com") for name in names}
            assert shown == {name: "default.example" for name in names} | {"good": "good.com"}
            for name in names:
                assert (await _curl(port, f"{name}.com")).endswith(" 200")

    asyncio.run(check())


def test_certificate_changes_without_reload(proxy: Start, http_server: Start) -> None:
    """A Secret that comes, changes and goes reaches the same HAProxy process."""

    async def check() -> None:
        async with http_server("web") as server, proxy(certificate=DEFAULT) as running:
            site, services = _objects(server.port)

            async def serve(*secrets: Any) -> str:
                await running.serve([site], CLASS, services, [], secrets)
                return await _subject(running.haproxy.tls_port, "a.com")

            assert await serve() == "default.example"
            pid = running.haproxy.pid
            assert await serve(make_secret("a", *make_pair("a.com"))) == "a.com"
            assert await serve(make_secret("a", *make_pair("new.com", "a.com"))) == "new.com"
            assert await serve() == "default.example"
            assert await serve(make_secret("a", *make_pair("again.com", "a.com"))) == "again.com"
            assert running.haproxy.pid == pid
            assert running.haproxy.reloads == 0

    asyncio.run(check())
