"""What annotations ask for, with a real HAProxy."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from netpod.api.core import Secret
from netpod.api.meta import ObjectMeta
from tests.unit.ingress.builders import make_class, make_ingress, make_service, make_slice
from tests.unit.ingress.certificates import make_pair
from tests.unit.ingress.test_tls import secure

Start = Callable[..., Any]
CLASS = [make_class()]
DEFAULT = "".join(make_pair("default.example"))
# Of the password "secret". openssl passwd -5 -salt salt secret
HASH = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6"


def _serve(running: Any, port: int, secret: Any = None, path: str = "/a", **said: str) -> Any:
    annotations = {f"netpod.dev/{name.replace('_', '-')}": text for name, text in said.items()}
    web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
    site = make_ingress(("a.com", "Prefix", path, "web"), port=port, annotations=annotations)
    site = secure(site, "cert", "a.com")
    slices = [make_slice("web", "127.0.0.1", "127.0.0.2", port=port)]
    return running.serve([site], CLASS, [web], slices, [secret] if secret else [])


@pytest.mark.parametrize(
    ("path", "target", "asked", "seen"),
    [
        ("/a", "/new", "/a/b?x=%20y", "/new/b?x=%20y"),
        ("/a", "/new/", "/a", "/new"),
        ("/a/", "/", "/a", "/"),
        ("/a", "/", "/a/b/", "/b/"),
        ("/", "/new", "/b", "/new/b"),
        ("/a.b", "/x.y~", "/a.b/c", "/x.y~/c"),
    ],
)
def test_rewrite(
    proxy: Start, http_server: Start, path: str, target: str, asked: str, seen: str
) -> None:
    """The rule's path gives way to another; what follows, and the query, stay."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            await _serve(running, server.port, path=path, rewrite_target=target)
            assert (await running.get("a.com", asked)).seen["path"] == seen

    asyncio.run(check())


def test_redirect_to_https_keeps_path_and_query(proxy: Start, http_server: Start) -> None:
    """A TLS host is redirected with 308 only when asked for, to the host without port."""

    async def check() -> None:
        async with http_server("web") as server, proxy(certificate=DEFAULT) as running:
            await _serve(running, server.port)
            assert (await running.get("a.com", "/a")).status == 200
            await _serve(running, server.port, ssl_redirect="true", rewrite_target="/new")
            answer = await running.get("a.com:8080", "/a/b?c=d")
            assert answer.status == 308
            assert answer.headers["location"] == "https://a.com/a/b?c=d"

    asyncio.run(check())


def test_basic_auth(proxy: Start, http_server: Start) -> None:
    """Without the password 401, with it 200; while the Secret is missing nobody is let in."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            await _serve(running, server.port, auth_secret="users")
            assert (await running.get("a.com", "/a")).status == 503
            data = {"auth": base64.b64encode(f"ann:{HASH}\n".encode()).decode()}
            secret = Secret(metadata=ObjectMeta(name="users", namespace="default"), data=data)
            await _serve(running, server.port, secret, auth_secret="users")
            answer = await running.get("a.com", "/a")
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == 'basic realm="default/site"'
            for password, status in (("wrong", 401), ("secret", 200)):
                word = base64.b64encode(f"ann:{password}".encode()).decode()
                said = {"Authorization": f"Basic {word}"}
                assert (await running.get("a.com", "/a", **said)).status == status

    asyncio.run(check())


def test_allow_source(proxy: Start, http_server: Start) -> None:
    """Clients of other networks get 403."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            many = ",".join(f"192.0.2.{n}" for n in range(100))
            await _serve(running, server.port, allow_source=many)
            answer = await running.get("a.com", "/a")
            assert answer.status == 403
            assert "default/site" in answer.body
            await _serve(running, server.port, allow_source=f"{many},127.0.0.0/8")
            assert (await running.get("a.com", "/a")).status == 200

    asyncio.run(check())


def test_rate_limit(proxy: Start, http_server: Start) -> None:
    """Requests above the rate get 429, traced ones too."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            await _serve(running, server.port, limit_rps="3")
            statuses = [(await running.get("a.com", "/a")).status for _ in range(5)]
            assert statuses == [200, 200, 200, 429, 429]
            assert (await running.get("a.com", "/a", X_Netpod_Trace="t")).status == 429

    asyncio.run(check())


def test_session_cookie_leads_to_the_same_pod(proxy: Start, http_server: Start) -> None:
    """The first answer sets a cookie; with it the pod stays, when another one comes before it, too."""

    async def check() -> None:
        async with http_server("one", "127.0.0.2") as one, proxy() as running:
            listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", one.port)
            await _serve(running, one.port, session_cookie="route")
            for _ in range(8):
                answer = await running.get("a.com", "/a")
                if answer.status == 200:
                    break
            cookie = answer.headers["set-cookie"].partition(";")[0]
            statuses = [(await running.get("a.com", "/a", Cookie=cookie)).status for _ in range(6)]
            assert statuses == [200] * 6
            listener.close()

    asyncio.run(check())


def test_timeout(proxy: Start, http_server: Start) -> None:
    """A server that says nothing for longer than allowed is given up with 504."""

    async def check() -> None:
        async with http_server("web", delay=0.5) as server, proxy() as running:
            await _serve(running, server.port, read_timeout="50ms")
            assert (await running.get("a.com", "/a")).status == 504
            await _serve(running, server.port, read_timeout="5s")
            # The process before may take one more connection while it is told to end.
            async with asyncio.timeout(5):
                while (await running.get("a.com", "/a")).status != 200:
                    pass

    asyncio.run(check())
