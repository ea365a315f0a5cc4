"""The dashboard's server: the page, live objects, traces, rules and history, on 127.0.0.1 only.

GET  /                       the page; ?token=... sets the cookie and comes back without it
GET  /static/...             its parts
GET  /session                what this link may do, and the cluster's name
*    /api/... /apis/...      the API server; anything but reading needs the right to edit
GET  /live                   WebSocket, see live.py
GET  /traces  /traces/NAME?form=json|html|mermaid|pcapng     those that are kept
POST /traces                 a new one, see traces.py
POST /manifests              YAML as the list of objects it holds
GET  /rules/NAMESPACE/NAME   the live rules of a Service on every node, with counters
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from aiohttp import web

from netpod.api import codec
from netpod.dashboard import access
from netpod.dashboard.access import Right
from netpod.dashboard.gateway import Gateway
from netpod.dashboard.links import Link
from netpod.dashboard.live import Page
from netpod.dashboard.traces import Traces
from netpod.errors import BadRequest, NetpodError, NotFound, UsageError
from netpod.paths import Paths

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
BODY_LIMIT = 3 << 20
Json = list[dict[str, object]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MEDIA = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".html": "text/html",
}
_HEADERS = {
    # The page runs its own files and asks its own server; nothing of what it shows can make it do more.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Dashboard:
    """One cluster's dashboard.

    Args:
        paths: The cluster.
        link: Who may look.
        rules: Reads the live rules of a Service, by namespace and name; blocks.
    """

    def __init__(self, paths: Paths, link: Link, rules: Callable[[str, str], Json]) -> None:
        self._paths = paths
        self._link = link
        self._traces = Traces(paths)
        self._rules = rules

    async def serve(self, listening: socket.socket) -> None:
        """Serve on a socket that listens, until cancelled."""
        self._gateway = Gateway(self._paths.api_socket)
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._static),
                web.get("/session", self._session),
                web.get("/live", self._live),
                web.get("/traces", self._list_traces),
                web.post("/traces", self._trace),
                web.get("/traces/{name}", self._read_trace),
                web.post("/manifests", self._manifests),
                web.get("/rules/{namespace}/{name}", self._show_rules),
                web.route("*", "/{root:apis?}", self._forward),
                web.route("*", "/{root:apis?}/{rest:.*}", self._forward),
            ]
        )
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.5)
        try:
            await runner.setup()
            await web.SockSite(runner, listening).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            await self._gateway.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not access.is_local(request):
                raise web.HTTPForbidden(text="this page is for this machine's own address")
            right = access.of_request(self._link, request)
            asks_in = request.path == "/" and "token" in request.query
            if right < Right.VIEW and not asks_in:
                raise web.HTTPUnauthorized(text="open the link that `netpod dashboard` prints")
            request["right"] = right
            response = await handler(request)
        except web.HTTPException as error:
            response = error
        except NotFound as error:
            response = web.Response(status=404, text=str(error))
        except UsageError as error:
            response = web.Response(status=400, text=str(error))
        except NetpodError as error:
            response = web.Response(status=502, text=str(error))
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("token", "")
        if token:
            if access.of_token(self._link, token) < Right.VIEW:
                raise web.HTTPUnauthorized(text="this link is old: run `netpod dashboard` again")
            # The fragment, where in the page the link leads, stays with the browser.
            back = web.Response(status=303, headers={"Location": "/"})
            back.set_cookie(
                access.cookie(self._link), token, httponly=True, samesite="Strict", path="/"
            )
            return back
        return _file("index.html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return _file(request.match_info["name"])

    async def _session(self, request: web.Request) -> web.StreamResponse:
        edits = request["right"] >= Right.EDIT
        return _json({"cluster": self._paths.cluster, "edit": edits})

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.forward(request, request["right"])

    async def _live(self, request: web.Request) -> web.StreamResponse:
        # Nobody gains by compression on the way to the same machine.
        page = web.WebSocketResponse(heartbeat=20, max_msg_size=1 << 16, compress=False)
        await page.prepare(request)
        await Page(self._gateway, page).serve()
        return page

    async def _list_traces(self, request: web.Request) -> web.StreamResponse:
        return _json(await asyncio.to_thread(self._traces.listed))

    async def _read_trace(self, request: web.Request) -> web.StreamResponse:
        form = request.query.get("form", "json")
        body, media, name = self._traces.read(request.match_info["name"], form)
        headers = {"Content-Type": media}
        if "save" in request.query:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return web.Response(body=body, headers=headers)

    async def _trace(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted = orjson.loads(await request.read())
        except ValueError as error:
            raise UsageError(f"the form is no JSON: {error}") from error
        if not isinstance(wanted, dict):
            raise UsageError("the form is no JSON object")
        return _json(await self._traces.run(wanted))

    async def _manifests(self, request: web.Request) -> web.StreamResponse:
        try:
            return _json(codec.load_manifests(await request.read()))
        except BadRequest as error:
            raise UsageError(str(error)) from error

    async def _show_rules(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        return _json(await asyncio.to_thread(self._rules, where["namespace"], where["name"]))


def _file(name: str) -> web.StreamResponse:
    path = STATIC / name
    if path.suffix not in _MEDIA or "/" in name or not path.is_file():
        raise web.HTTPNotFound(text="no such part of the page")
    return web.Response(body=path.read_bytes(), content_type=_MEDIA[path.suffix], charset="utf-8")


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")
