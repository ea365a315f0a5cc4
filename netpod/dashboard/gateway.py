"""The page's way to the API server: a viewer's for reading, an administrator's for who may edit.

Bodies pass as bytes; what the API server refuses is refused in its own words.
"""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web

from netpod.dashboard.access import Right

VIEWER = {"Impersonate-User": "netpod:dashboard", "Impersonate-Group": "viewers"}
BASE = "http://apiserver"
_KEPT = ("Content-Type", "Warning")
_CHUNK = 1 << 16


class Gateway:
    """One session to the API server's unix socket.

    Args:
        socket: Where it is.
    """

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def ask(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> "aiohttp.client._RequestContextManager":
        """GET as a viewer."""
        headers = {**VIEWER, "Accept": accept}
        return self._session.get(BASE + path, params=query, headers=headers)

    async def forward(self, request: web.Request, right: Right) -> web.StreamResponse:
        """Answer /api and /apis of the page: GET for everybody, the rest for who may edit."""
        reads = request.method in ("GET", "HEAD")
        if not reads and right < Right.EDIT:
            raise web.HTTPForbidden(
                text="this link only looks; netpod dashboard --allow-edit makes one that edits"
            )
        headers = {} if right >= Right.EDIT else dict(VIEWER)
        for name in ("Accept", "Content-Type"):
            if name in request.headers:
                headers[name] = request.headers[name]
        body = None if reads else await request.read()
        try:
            async with self._session.request(
                request.method, BASE + request.path_qs, headers=headers, data=body
            ) as answer:
                kept = [(n, answer.headers[n]) for n in _KEPT if n in answer.headers]
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError as error:
            raise web.HTTPBadGateway(text=f"the API server does not answer: {error}") from error
