"""A request of the HTTP library as a value, its body within bounds."""

from aiohttp import web

from netpod import errors
from netpod.apiserver import calls
from netpod.apiserver.authentication import User
from netpod.apiserver.calls import Call
from netpod.apiserver.routes import Route

LIMIT = 3 * 1024 * 1024
"""Source: k8s.io/apiserver MaxRequestBodyBytes."""


async def call(request: web.BaseRequest, user: User, route: Route) -> Call:
    """The request as a value.

    Raises:
        TooLarge: its body exceeds the limit.
    """
    return Call(
        route=route,
        user=user,
        query=request.query,
        body=await read(request) if request.body_exists else b"",
        content_type=request.headers.get("Content-Type", ""),
        accept=request.headers.get("Accept", ""),
        user_agent=calls.text(request.headers.get("User-Agent", "")),
    )


async def read(request: web.BaseRequest) -> bytes:
    """The request's body.

    Raises:
        TooLarge: it exceeds the limit.
        BadRequest: it is not in the encoding that the request names.
    """
    if (request.content_length or 0) > LIMIT:
        raise _too_large()
    try:
        return await _content(request)
    except web.RequestPayloadError as error:
        raise errors.BadRequest(
            f"cannot read the request body: {error.__cause__ or error}"
        ) from error


async def _content(request: web.BaseRequest) -> bytes:
    content = request.content
    if content.is_eof() and content.total_bytes <= LIMIT:  # it came with the head
        return content.read_nowait()
    data = bytearray()
    async for chunk in content.iter_any():
        data += chunk
        if len(data) > LIMIT:
            raise _too_large()
    return bytes(data)


def _too_large() -> errors.TooLarge:
    return errors.TooLarge(f"the request body exceeds the limit of {LIMIT} bytes")
