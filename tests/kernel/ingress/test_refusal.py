"""HAProxy refuses what was made of one object: that object is left out and told so, everything else is served.

No object is known that it refuses; so what is made of some is broken here on purpose.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netpod.api.core import Event
from netpod.api.gateway import HTTPRoute
from netpod.api.networking import Ingress
from netpod.ingress import merge, sections
from netpod.ingress.controller import Controller
from netpod.ingress.gateway import frontend
from netpod.ingress.gateway.model import Match
from netpod.ingress.refusal import Kind, Refusals, Sources
from tests.kernel.ingress.api import serving_api
from tests.kernel.ingress.conftest import get
from tests.kernel.ingress.test_controller import until
from tests.kernel.ingress.test_tls import Start
from tests.unit.ingress.builders import make_class, make_ingress, make_service
from tests.unit.ingress.gateways import GATEWAY, conditions, objects, planned, route

BROKEN = "{ nonsense }"
REWRITTEN = {"netpod.dev/rewrite-target": "/broken"}


@pytest.fixture(autouse=True)
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths /broken of routes, Gateways named broken and Ingresses that rewrite to /broken are compiled wrongly."""
    path, text, rewrite = frontend._path, frontend.text, sections.rewrite

    def of_path(match: Match) -> Iterator[str]:
        yield from [BROKEN] if match.path == "/broken" else path(match)

    def of_frontend(made: Any, *rest: Any) -> str:
        return text(made, *rest) + ("    nonsense\n" if made.gateway.name == "broken" else "")

    def of_rewrite(before: str, after: str, condition: str = "") -> str:
        return rewrite(before, after, BROKEN if after == "/broken" else condition)

    monkeypatch.setattr(frontend, "_path", of_path)
    monkeypatch.setattr(frontend, "text", of_frontend)
    monkeypatch.setattr(sections, "rewrite", of_rewrite)


def _rule(path: str, port: int) -> str:
    return f"{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: web, port: {port}}}]}}"


def _ingress(name: str, **more: Any) -> Ingress:
    return make_ingress((f"{name}.com", "Prefix", "/", "web"), name=name, **more)


def test_only_what_is_refused_is_left_out(proxy: Start, http_server: Start) -> None:
    """A Gateway, a route and two Ingresses are refused among others, which are served; mended ones come back."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            services = [make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))]
            refusals = Refusals(running.haproxy)

            async def serve(gateways: list[str], paths: list[str], *ingresses: Ingress) -> Any:
                texts = [GATEWAY.replace("name: gw", f"name: {name}") for name in gateways]
                texts += [route(f"r{n}", _rule(path, port)) for n, path in enumerate(paths)]
                plan = planned(*texts, services=services)

                def merged(kept: Any) -> Any:
                    return merge.merge(kept, [make_class()], services, [])

                sources = Sources(
                    ingresses=ingresses,
                    routing=merged(ingresses),
                    merge=merged,
                    frontends=plan.frontends,
                    backends=plan.backends,
                )
                before = running.haproxy.pid
                await refusals.apply(sources)
                await running.settled(before)
                return {key.name: bind for (key, _), bind in plan.binds.items()}

            def refused() -> list[str]:
                return [key.name for kind in Kind for key in sorted(refusals.why(kind))]

            good = [_ingress(name, port=port) for name in "abc"]
            bad = [_ingress(name, port=port, annotations=REWRITTEN) for name in ("d", "e")]
            binds = await serve(
                ["broken", "gw"], ["/x", "/broken", "/y"], bad[0], *good[:2], bad[1]
            )
            assert refused() == ["broken", "r1", "d", "e"]
            assert "nonsense" in refusals.why(Kind.ROUTE)[("default", "r1")]  # type: ignore[index]
            assert all("parsing [" not in text for text in refusals.why(Kind.INGRESS).values())
            for path, status in (("/x", 200), ("/y", 200), ("/broken", 404)):
                assert (await get(binds["gw"], "any.com", path)).status == status
            hosts = {"a.com": 200, "b.com": 200, "d.com": 404, "e.com": 404}
            for host, status in hosts.items():
                assert (await running.get(host, "/")).status == status

            # Others change: they are served, and nothing is searched again.
            started = running.haproxy.reloads
            await serve(["broken", "gw"], ["/x", "/broken", "/y"], bad[0], *good, bad[1])
            assert (await running.get("c.com", "/")).status == 200
            assert running.haproxy.reloads == started
            assert refused() == ["broken", "r1", "d", "e"]

            # One is mended, one is gone.
            mended = _ingress("d", port=port)
            binds = await serve(["gw"], ["/x", "/z"], mended, *good, bad[1])
            assert refused() == ["e"]
            assert (await get(binds["gw"], "any.com", "/z")).status == 200
            assert (await running.get("d.com", "/")).status == 200

    asyncio.run(check())


def test_refused_objects_are_told_and_later_ones_are_served(
    proxy: Start, http_server: Start, tmp_path: Path
) -> None:
    """The route is not Accepted, the Ingress has an event, and an Ingress that comes after them answers."""

    async def check() -> None:
        ready = asyncio.Event()
        async with (
            proxy() as running,
            serving_api(tmp_path) as client,
            asyncio.TaskGroup() as tasks,
        ):
            task = tasks.create_task(Controller(client, running.haproxy, ready=ready.set).run())
            async with asyncio.timeout(10):
                await ready.wait()
            await client.create(make_class())
            for text in (GATEWAY, route("r", _rule("/broken", 80))):
                for obj in objects(text):
                    await client.create(obj)

            async def told() -> dict[str, str]:
                found = await client.get(HTTPRoute, "r", "default")
                return (
                    conditions(found.status.parents[0].conditions) if found.status.parents else {}
                )

            assert (await until(told))["Accepted"] == "False UnsupportedValue"
            await client.create(_ingress("bad", annotations=REWRITTEN))

            async def events() -> list[Event]:
                listing = await client.list(Event, "default")
                return [e for e in listing.items if e.reason == "ConfigurationRefused"]

            (event,) = await until(events)
            assert event.involved_object.name == "bad"
            assert event.message.startswith("not served, HAProxy refuses it: ")
            await client.create(_ingress("later"))

            async def served() -> bool:
                # Its Service does not exist: 503, where no rule would be 404.
                return (await running.get("later.com", "/")).status == 503

            assert await until(served)
            task.cancel()

    asyncio.run(check())
