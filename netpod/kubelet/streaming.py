"""exec, attach and port-forward over HTTP: negotiate, upgrade, serve until one side is done.

The API server hands its client's connection through unchanged, so what is spoken here is spoken with kubectl.

Source: k8s.io/kubelet pkg/cri/streaming/server.go, remotecommand/exec.go; k8s.io/apimachinery pkg/util/httpstream.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from netpod.client import upgrade
from netpod.errors import BadRequest, Forbidden
from netpod.kubelet import channels, portforward, session, spdy_session
from netpod.kubelet.channels import Channels, ChannelSession
from netpod.kubelet.session import Options, Outcome, Session
from netpod.kubelet.spdy import Connection
from netpod.kubelet.spdy_session import SpdySession
from netpod.kubelet.wire import StreamWire, WebSocketWire

SPDY = "SPDY/3.1"
_CLOSE_SECONDS = 2.0
_MESSAGE_LIMIT = 4 << 20

Program = Callable[[Session], Coroutine[Any, Any, Outcome]]


async def serve_program(
    request: web.BaseRequest, options: Options, program: Program
) -> web.StreamResponse:
    """Give a program the client's streams.

    Raises:
        BadRequest: the request asks for no stream, or for no upgrade we know.
        Forbidden: the client speaks no version of the protocol that we do.
    """
    if not (options.stdin or options.stdout or options.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    if _upgrade(request) == "websocket":
        websocket, framing = await _websocket(request, channels.PROTOCOLS)
        first = next(
            number
            for number, wanted in (
                (channels.STDOUT, options.stdout),
                (channels.STDERR, options.separate_stderr),
                (channels.ERROR, True),
            )
            if wanted
        )
        own = ChannelSession(Channels(websocket, framing), first=first)
        await _until_done(own, program, own.run(), linger=0.0)
        await websocket.close()
        return websocket
    version, headers = _spdy_version(request, spdy_session.PROTOCOLS)
    reader, writer = upgrade.take(request, _switching(headers))
    spoken = SpdySession(options, spdy_session.PROTOCOLS[version])
    connection = Connection(StreamWire(reader, writer), spoken.opened)

    async def complete(streams: Session) -> Outcome:
        async with asyncio.timeout(session.CREATION_SECONDS):
            await spoken.complete.wait()
        outcome = await program(streams)
        return outcome

    with contextlib.suppress(TimeoutError):
        await _until_done(spoken, complete, connection.run(), linger=session.LINGER_SECONDS)
    return upgrade.done(writer)


async def serve_ports(
    request: web.BaseRequest, ports: Sequence[int], name: str, pod: str, uid: str
) -> web.StreamResponse:
    """Carry connections into a pod.

    Args:
        request: Asks for an upgrade.
        ports: Those of a client that names them in advance, in its query.
        name: The pod's network namespace.
        pod: For messages, as `uid`.
        uid: The pod's.

    Raises:
        BadRequest: no upgrade we know, or no ports where they are needed.
        Forbidden: the client speaks no version of the protocol that we do.
    """
    if _upgrade(request) == "websocket":
        known = {portforward.TUNNEL: None, **channels.PROTOCOLS}
        websocket, framing = await _websocket(request, known)
        if framing is not None and not ports:
            await websocket.close(
                code=aiohttp.WSCloseCode.UNSUPPORTED_DATA, message=b"port: required"
            )
        elif framing is None:
            await portforward.serve_spdy(WebSocketWire(websocket), name, pod, uid)
        else:
            await portforward.serve_channels(Channels(websocket, framing), ports, name, pod, uid)
        await websocket.close()
        return websocket
    _, headers = _spdy_version(request, [portforward.PROTOCOL])
    reader, writer = upgrade.take(request, _switching(headers))
    await portforward.serve_spdy(StreamWire(reader, writer), name, pod, uid)
    return upgrade.done(writer)


async def _until_done(
    own: Session, program: Program, reading: Coroutine[Any, Any, None], *, linger: float
) -> None:
    """Run a program until it ends or its client leaves, whatever comes first; then the other one ends, too."""
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(_quietly(reading))
        work = tasks.create_task(_finished(own, program))
        await asyncio.wait({reader, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not reader.done():
            await asyncio.wait({reader}, timeout=linger)
        work.cancel()
        reader.cancel()


async def _finished(own: Session, program: Program) -> None:
    outcome = await program(own)
    with contextlib.suppress(ConnectionError):
        await own.finish(outcome)


async def _quietly(work: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError):
        await work


def _upgrade(request: web.BaseRequest) -> str:
    wanted = request.headers.get("Upgrade", "").lower()
    connection = request.headers.get("Connection", "").lower()
    if "upgrade" not in connection or wanted not in ("websocket", SPDY.lower()):
        raise BadRequest("unable to upgrade: missing upgrade headers in request")
    return wanted


async def _websocket(
    request: web.BaseRequest, known: dict[str, Any]
) -> tuple[web.WebSocketResponse, Any]:
    """Accept a WebSocket and return what the client's first known subprotocol stands for."""
    offered = _listed(request.headers.getall("Sec-WebSocket-Protocol", []))
    chosen = spdy_session.choose(offered, known)
    if offered and chosen is None:
        raise Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
            f"server accepts {list(known)}"
        )
    websocket = web.WebSocketResponse(
        protocols=[chosen] if chosen else (),
        timeout=_CLOSE_SECONDS,
        max_msg_size=_MESSAGE_LIMIT,
        compress=False,
    )
    await websocket.prepare(request)
    return websocket, known[chosen] if chosen else channels.DEFAULT


def _spdy_version(
    request: web.BaseRequest, known: Iterable[str]
) -> tuple[str, list[tuple[str, str]]]:
    """Return the protocol spoken and the headers that say so; the oldest for a client that names none."""
    offered = _listed(request.headers.getall("X-Stream-Protocol-Version", []))
    served = list(known)
    if not offered:
        return served[-1], []
    chosen = spdy_session.choose(offered, served)
    if chosen is None:
        raise Forbidden(
            f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
            f"server accepts {served}"
        )
    return chosen, [("X-Stream-Protocol-Version", chosen)]


def _listed(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _switching(headers: Iterable[tuple[str, str]]) -> bytes:
    usual = (("Connection", "Upgrade"), ("Upgrade", SPDY))
    return upgrade.head("101 Switching Protocols", (*usual, *headers))
