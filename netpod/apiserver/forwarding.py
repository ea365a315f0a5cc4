"""Hand a request on to somebody else and his answer back: ordinary ones by HTTP, upgrades byte by byte.

Neither side's pace is hidden from the other: at most a few buffers are read ahead. A client that leaves ends the
connection behind it at once, and the other way round.

Source: k8s.io/apimachinery pkg/util/proxy/upgradeaware.go, transport.go.
"""

import asyncio
import contextlib
import http
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from netpod import errors
from netpod.apiserver.dialer import BUFFER, Connector, Target
from netpod.apiserver.rewriting import Rewriter
from netpod.client import upgrade

FAILURES = (aiohttp.ClientError, OSError, asyncio.IncompleteReadError)
"""How it shows that somebody does not answer as he should."""
BODY_LIMIT = 1 << 16
"""Bytes of a refusal's body that are handed back."""
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_OURS = frozenset(("authorization", "host", "content-length", "cookie"))
_FORWARDED = frozenset(("x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"))


def is_upgrade(request: web.BaseRequest) -> bool:
    """Whether the client wants another protocol on this connection."""
    wanted = request.headers.get("Connection", "").lower()
    return "upgrade" in wanted and "Upgrade" in request.headers


async def forward(
    request: web.BaseRequest, connector: Connector, target: Target, path: str, *, prefix: str = ""
) -> web.StreamResponse:
    """Answer a request with the target's answer.

    Args:
        request: The client's.
        connector: Opens the connection.
        target: Who answers.
        path: With query, percent-encoded, as the target is to see it.
        prefix: Where the target's `/` lies for the client; redirections and links of the target are led there.

    Raises:
        Unavailable: the target does not answer.
    """
    extra = _forwarded(request, prefix) if prefix else {}
    try:
        if is_upgrade(request):
            return await _tunnel(request, connector, target, path, extra)
        return await _exchange(request, connector, target, path, prefix, extra)
    except FAILURES as error:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client left") from error
        raise unreachable(target, error) from error


def unreachable(target: Target, error: BaseException) -> errors.Unavailable:
    """What upstream says about a target that does not answer."""
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return errors.Unavailable(
        f"error trying to reach service: dial tcp {target.address}:{target.port}: {cause.lower()}"
    )


async def _exchange(
    request: web.BaseRequest,
    connector: Connector,
    target: Target,
    path: str,
    prefix: str,
    extra: Mapping[str, str],
) -> web.StreamResponse:
    headers = [*_kept(request.headers.items(), _OURS | _FORWARDED), *extra.items()]
    body = request.content if request.body_exists else None
    if body is not None and request.content_length is not None:
        headers.append(("Content-Length", str(request.content_length)))
    asked = connector.http().request(
        request.method,
        URL(target.url + path, encoded=True),
        headers=headers,
        data=body,
        ssl=connector.tls(target) or False,
        allow_redirects=False,
    )
    async with asked as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        page = None
        if prefix and _is_page(answer) and request.method != "HEAD":
            page = Rewriter(lambda url: _led(url, target, prefix))
        counted = frozenset(("content-length",)) if page else frozenset[str]()
        for name, value in _kept(answer.headers.items(), counted):
            if name.lower() == "location" and prefix:
                value = _led(value, target, prefix)
            response.headers.add(name, value)
        # Where the target counts no bytes we count none either.
        if (page or answer.content_length is None) and request.method != "HEAD":
            response.enable_chunked_encoding()
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(page.take(chunk) if page else chunk)
        if page:
            await response.write(page.take(b"", last=True))
        await response.write_eof()
        return response


def _is_page(answer: aiohttp.ClientResponse) -> bool:
    coding = answer.headers.get("Content-Encoding", "identity")
    return answer.content_type == "text/html" and coding == "identity"


def _kept(headers: Iterable[tuple[str, str]], ours: frozenset[str]) -> Iterable[tuple[str, str]]:
    """Headers for the next hop: all but those about this one."""
    found = list(headers)
    named = {
        part.strip().lower()
        for name, value in found
        if name.lower() == "connection"
        for part in value.split(",")
    }
    return [(k, v) for k, v in found if k.lower() not in _HOP_BY_HOP | ours | named]


def _forwarded(request: web.BaseRequest, prefix: str) -> dict[str, str]:
    return {
        "X-Forwarded-Uri": prefix,
        "X-Forwarded-Host": request.headers.get("Host", ""),
        "X-Forwarded-Proto": request.scheme,
    }


def _led(location: str, target: Target, prefix: str) -> str:
    """A redirection or link of the target as the client must see it."""
    parts = urlsplit(location)
    if parts.netloc and f"{parts.scheme}://{parts.netloc}" != target.url:
        return location
    if not parts.path.startswith("/") or parts.path.startswith(prefix.rstrip("/") + "/"):
        return location
    rest = prefix.rstrip("/") + parts.path
    query = f"?{parts.query}" if parts.query else ""
    return rest + query + (f"#{parts.fragment}" if parts.fragment else "")


async def _tunnel(
    request: web.BaseRequest,
    connector: Connector,
    target: Target,
    path: str,
    extra: Mapping[str, str],
) -> web.StreamResponse:
    """Ask the target for the upgrade; when it agrees, join both connections."""
    reader, writer = await connector.connect(target)
    try:
        headers = [
            ("Host", f"{target.address}:{target.port}"),
            ("Connection", "Upgrade"),
            ("Upgrade", request.headers["Upgrade"]),
            ("Content-Length", "0"),
            *_kept(request.headers.items(), _OURS | _FORWARDED),
            *extra.items(),
        ]
        lines = [f"{request.method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers), "", ""]
        writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape"))
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise OSError("its answer is too long") from error
        status = int(answer.split(b" ", 2)[1][:3])
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            return await _refusal(status, answer, reader)
        near, client = upgrade.take(request, answer)
        await _join(near, client, reader, writer)
        return upgrade.done(client)
    finally:
        writer.close()


async def _refusal(status: int, answer: bytes, reader: asyncio.StreamReader) -> web.Response:
    """Hand back an answer that is no upgrade; its body is short, and the connection ends with it."""
    kind, length = "text/plain", BODY_LIMIT
    for line in answer.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-type":
            kind = value.split(";")[0].strip()
        elif name.lower() == "content-length" and value.strip().isdecimal():
            length = min(length, int(value))
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(1):
            body = await reader.readexactly(length)
    return web.Response(status=status, body=body, content_type=kind)


async def _join(
    near: asyncio.StreamReader,
    client: asyncio.StreamWriter,
    far: asyncio.StreamReader,
    target: asyncio.StreamWriter,
) -> None:
    """Copy both ways until either side ends."""
    async with asyncio.TaskGroup() as tasks:
        copying = {
            tasks.create_task(_copy(near, target)),
            tasks.create_task(_copy(far, client)),
        }
        await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        for task in copying:
            task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(BUFFER):
            writer.write(data)
            await writer.drain()
