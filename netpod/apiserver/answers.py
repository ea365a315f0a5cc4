"""A Reply becomes an HTTP response: YAML and gzip for those who ask, an error's Status.

Bodies are made as JSON; whoever prefers YAML gets the same values in it. Large bodies are compressed, in a thread,
for clients that come over a network; on the unix socket it would only cost time.

Source: k8s.io/apiserver pkg/endpoints/handlers/responsewriters/writers.go.
"""

import asyncio
import zlib

import orjson
from aiohttp import web

from netpod import errors
from netpod.apiserver import negotiation, status
from netpod.apiserver.calls import Reply

GZIP_BYTES = 128 * 1024
"""Bodies from this size on are compressed. Source: defaultGzipThresholdBytes."""
GZIP_LEVEL = 1


def failed(error: errors.ApiError) -> Reply:
    """What a client is told of an error."""
    data = status.failure(error)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.Unauthorized):
        headers = (("WWW-Authenticate", 'Bearer realm="netpod"'),)
    elif "retryAfterSeconds" in error.details:
        headers = (("Retry-After", str(error.details["retryAfterSeconds"])),)
    return Reply(status=error.code, body=negotiation.dump(data), headers=headers)


async def response(reply: Reply, request: web.BaseRequest, *, near: bool) -> web.Response:
    """The response to a request; a client that is `near` gets nothing compressed."""
    body, content_type = reply.body, reply.content_type
    headers = request.headers
    if content_type == negotiation.JSON and negotiation.is_yaml(headers.get("Accept", "")):
        body, content_type = _yaml(body), negotiation.YAML[0]
    made = web.Response(status=reply.status)
    if not near and len(body) >= GZIP_BYTES and "gzip" in headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(_gzip, body)
        made.headers["Content-Encoding"] = "gzip"
        made.headers.add("Vary", "Accept-Encoding")
    made.body = body
    made.headers["Content-Type"] = content_type
    for name, value in reply.headers:
        made.headers.add(name, value)
    return made


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
