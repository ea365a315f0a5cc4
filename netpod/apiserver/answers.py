"""A Reply becomes an HTTP response: YAML and gzip for those who ask, an error's Status.

Bodies are made as JSON; whoever prefers YAML gets the same values in it. Large bodies are compressed, in a thread,
for clients that come over a network; on the unix socket it would only cost time. Head and body go out in one write.

Source: k8s.io/apiserver pkg/endpoints/handlers/responsewriters/writers.go; RFC 9110 sections 6.6.1 (Date), 8.6
(Content-Length of HEAD and 304); RFC 9112 section 9.3 (keep-alive).
"""

import asyncio
import functools
import http
import time
import zlib
from email.utils import formatdate

import orjson
from aiohttp import HttpVersion11, web

from netpod import errors
from netpod.apiserver import negotiation, status
from netpod.apiserver.calls import Reply

GZIP_BYTES = 128 * 1024
"""Bodies from this size on are compressed. Source: defaultGzipThresholdBytes."""
GZIP_LEVEL = 1
CACHE = "no-cache, private"
"""Nobody may keep an answer without asking again. Source: pkg/endpoints/filters/cachecontrol.go."""


def failed(error: errors.ApiError) -> Reply:
    """What a client is told of an error."""
    if isinstance(error, errors.UnknownPath):
        nosniff = (("X-Content-Type-Options", "nosniff"),)
        return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8", nosniff)
    data = status.failure(error)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.Unauthorized):
        headers = (("WWW-Authenticate", 'Bearer realm="netpod"'),)
    elif "retryAfterSeconds" in error.details:
        headers = (("Retry-After", str(error.details["retryAfterSeconds"])),)
    return Reply(status=error.code, body=negotiation.dump(data), headers=headers)


class Whole(web.StreamResponse):
    """An answer that is there as a whole, without what the library's own Response does for any other kind."""

    def __init__(self, status: int, content_type: str, body: bytes, audit_id: str = "") -> None:
        super().__init__(status=status)
        self.body = body
        self._type = content_type
        self._audit_id = audit_id
        self._request: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection may be used again."""
        return self._request is not None and self._request.keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Remember whom to answer."""
        self._request = request

    async def write_eof(self, data: bytes = b"") -> None:
        """Send everything; waits while the client is slow to take it."""
        request = self._request
        assert request is not None, "an answer is prepared first"
        body = self.body
        if request.version == HttpVersion11:
            head = _start(1, self.status, self._type)
            connection = b"" if request.keep_alive else b"Connection: close\r\n"
        else:
            head = _start(0, self.status, self._type)
            connection = b"Connection: keep-alive\r\n" if request.keep_alive else b""
        length = b"" if self.status == 304 else b"Content-Length: %d\r\n" % len(body)
        if request.method == "HEAD" or self.status == 304:
            body = b""
        more = b"".join([_field(*item) for item in self.headers.items()]) if self.headers else b""
        date = _date(int(time.time()))
        if self._audit_id:
            more += b"Audit-Id: %b\r\n" % self._audit_id.encode()
        await request.writer.write_eof(
            b"%b%b%b%b%b\r\n%b" % (head, length, date, connection, more, body)
        )


@functools.lru_cache(maxsize=256)
def _start(minor: int, status: int, content_type: str) -> bytes:
    reason = http.HTTPStatus(status).phrase
    line = f"HTTP/1.{minor} {status} {reason}\r\n".encode()
    return line + _field("Cache-Control", CACHE) + _field("Content-Type", content_type)


@functools.lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return _field("Date", formatdate(second, usegmt=True))


def _field(name: str, value: str) -> bytes:
    assert not {"\r", "\n", "\0"}.intersection(value), "a header is one line"
    return f"{name}: {value}\r\n".encode()


async def response(
    reply: Reply, request: web.BaseRequest, *, near: bool, audit_id: str = ""
) -> Whole:
    """The response to a request; a client that is `near` gets nothing compressed."""
    body, content_type = reply.body, reply.content_type
    headers = request.headers
    if content_type == negotiation.JSON and _is_read_by_people(request):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    if content_type == negotiation.JSON and negotiation.is_yaml(headers.get("Accept", "")):
        body, content_type = _yaml(body), negotiation.YAML[0]
    packed = not near and len(body) >= GZIP_BYTES and "gzip" in headers.get("Accept-Encoding", "")
    if packed:
        body = await asyncio.to_thread(_gzip, body)
    made = Whole(reply.status, content_type, body, audit_id)
    for name, value in reply.headers:
        made.headers.add(name, value)
    if packed:
        made.headers["Content-Encoding"] = "gzip"
        made.headers.add("Vary", "Accept-Encoding")
    return made


_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


def _is_read_by_people(request: web.BaseRequest) -> bool:
    """Whether JSON is to be indented: `?pretty` says so, or a browser or a tool of the command line asks.

    Source: k8s.io/apiserver pkg/endpoints/handlers/negotiation/negotiate.go isPrettyPrint.
    """
    if "pretty" in request.query_string and (wanted := request.query.get("pretty", "")):
        return wanted in _TRUE
    return request.headers.get("User-Agent", "").startswith(_PEOPLE)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _yaml(body: bytes) -> bytes:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: bytes = yaml.dump(
        orjson.loads(body), Dumper=dumper, encoding="utf-8", allow_unicode=True, width=10_000
    )
    return text
