"""The stand-in: listens on every declared port and says who it is and what it saw.

TCP ports speak HTTP/1.1, whatever the real image would speak; UDP ports send each datagram back.

    /            one line of JSON: pod, node, namespace, address, client, method, path, host, headers
    /healthz     ok, or 503 while /fail-ready lasts
    /hostname    the pod's name          /clientip     IP:PORT of the peer
    /echo?msg=   msg                     /exit?code=   ends the container
    /delay?ms=   answers later           /fail-ready?seconds=   probes fail that long

One thread per connection from the standard library: measured against aiohttp after a fork it shares most memory
with its parent, and there are hundreds of these.
"""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from io import BufferedIOBase
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from netpod.api.runtime import AppContext
from netpod.ip import host_port

BODY_LIMIT = 64 << 20
"""Longest request body in bytes; it is read and dropped."""
DELAY_LIMIT_MS = 600_000
LEAVE_SECONDS = 0.5
"""How long connections are accepted after SIGTERM: rules on all nodes follow an endpoint's end within this time."""
DRAIN_SECONDS = 5.0
"""How long requests in work may take after SIGTERM."""
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
_CHUNK = 1 << 16


def main(context: AppContext) -> int:
    """Serve until SIGTERM; return the exit code."""
    # Blocked before the first thread, so that only sigwait below ever sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    echo = Echo(context)
    try:
        listeners = [
            _listen(port.protocol, port.container_port, family)
            for port in context.ports
            for family in _families()
        ]
    except OSError as error:
        print(f"cannot listen: {error.strerror}", file=sys.stderr)
        return 1
    for listener in listeners:
        serve = echo.serve_udp if listener.type == socket.SOCK_DGRAM else echo.serve_tcp
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    context.ready()
    if signal.sigwait(_SIGNALS) == signal.SIGTERM:
        # Whoever has not heard yet that this endpoint is leaving is still served.
        signal.sigtimedwait({signal.SIGUSR1}, LEAVE_SECONDS)
    for listener in listeners:
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    echo.drain(DRAIN_SECONDS)
    return echo.exit_code


def _families() -> tuple[int, ...]:
    """Socket families that this pod's network has; IPv4 always has the loopback address at least."""
    try:
        off = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").read_text().strip() != "0"
    except OSError:
        off = True
    return (socket.AF_INET,) if off else (socket.AF_INET, socket.AF_INET6)


def _listen(protocol: str, port: int, family: int) -> socket.socket:
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    listener = socket.socket(family, kind)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_STREAM:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    if kind == socket.SOCK_STREAM:
        listener.listen(1024)
    return listener


class Echo:
    """State that all connections of one container share."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.exit_code = 0
        self.unready_until = 0.0
        self._busy = 0
        self._idle = threading.Condition()

    def serve_tcp(self, listener: socket.socket) -> None:
        """Accept until the listener is shut down."""
        while True:
            try:
                connection, peer = listener.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection, peer), daemon=True).start()

    def serve_udp(self, listener: socket.socket) -> None:
        """Send every datagram back to where it came from."""
        while True:
            try:
                data, peer = listener.recvfrom(_CHUNK)
                if peer[1]:
                    listener.sendto(data, peer)
            except ConnectionRefusedError:
                continue
            except OSError:
                return

    def _converse(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        try:
            with connection:
                Handler(connection, peer, self)
        except OSError:
            return  # the client went away

    def begin(self) -> None:
        """A request is in work."""
        with self._idle:
            self._busy += 1

    def end(self) -> None:
        """A request is answered."""
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait until no request is in work, at most `seconds`."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, seconds)

    def leave(self, code: int) -> None:
        """End the container with this exit code once requests in work are answered."""
        self.exit_code = code
        os.kill(os.getpid(), signal.SIGUSR1)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "netpod-echo"
    sys_version = ""
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 300

    def __init__(self, connection: socket.socket, peer: tuple[str, int], echo: Echo) -> None:
        self._echo = echo
        self._leave: int | None = None
        super().__init__(connection, peer, None)  # type: ignore[arg-type]

    def _serve(self) -> None:
        self._echo.begin()
        try:
            self._answer()
            self.wfile.flush()
        finally:
            self._echo.end()
        if self._leave is not None:
            self._echo.leave(self._leave)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _answer(self) -> None:
        if not self._drop_body():
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"body too large\n")
            return
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        failing = time.monotonic() < self._echo.unready_until
        probe = self.headers.get("User-Agent", "").startswith("kube-probe/")
        if failing and (probe or url.path == "/healthz"):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"not ready\n")
            return
        try:
            text = self._text(url.path, query)
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, b"not a number\n")
            return
        if text is not None:
            self._send(HTTPStatus.OK, f"{text}\n".encode())
        else:
            self._send(HTTPStatus.OK, self._describe(), "application/json")

    def _text(self, path: str, query: Mapping[str, str]) -> str | None:
        """Answer of a path of our own; None for every other path.

        Raises:
            ValueError: a number of the query is none, or out of range.
        """
        match path:
            case "/healthz":
                return "ok"
            case "/hostname":
                return self._echo.context.pod
            case "/clientip":
                return host_port(*self.client_address[:2])
            case "/echo":
                return query.get("msg", "")
            case "/exit":
                self._leave = _number(query.get("code", "0"), 255)
                self.close_connection = True
                return f"exit {self._leave}"
            case "/delay":
                delay = _number(query.get("ms", "0"), DELAY_LIMIT_MS)
                threading.Event().wait(delay / 1000)
                return f"delayed {delay} ms"
            case "/fail-ready":
                seconds = _number(query.get("seconds", "10"), 86_400)
                self._echo.unready_until = time.monotonic() + seconds
                return f"not ready for {seconds} s"
        return None

    def _describe(self) -> bytes:
        context = self._echo.context
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        answer = {
            "pod": context.pod,
            "node": context.node,
            "namespace": context.namespace,
            "address": context.pod_ip or self.connection.getsockname()[0],
            "client": self.client_address[0],
            "method": self.command,
            "path": self.path,
            "host": self.headers.get("Host", ""),
            "headers": headers,
        }
        return json.dumps(answer, separators=(",", ":")).encode() + b"\n"

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drop_body(self) -> bool:
        """Read the request's body to its end; False when it is too long or malformed."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return _drop_chunks(self.rfile)
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return False
        return 0 <= length <= BODY_LIMIT and _drop(self.rfile, length)

    def log_message(self, format: str, *args: object) -> None:
        """Log requests to the container's log, but not probes, which would drown them."""
        headers = getattr(self, "headers", None)
        if headers is not None and headers.get("User-Agent", "").startswith("kube-probe/"):
            return
        sys.stdout.write(f"{self.client_address[0]} {format % args}\n")


def _number(text: str, limit: int) -> int:
    number = int(text)
    if not 0 <= number <= limit:
        raise ValueError(text)
    return number


def _drop(stream: BufferedIOBase, length: int) -> bool:
    while length > 0:
        piece = stream.read(min(length, _CHUNK))
        if not piece:
            return False
        length -= len(piece)
    return True


def _drop_chunks(stream: BufferedIOBase) -> bool:
    """Read a chunked body and its trailers. Source: RFC 9112 section 7.1."""
    left = BODY_LIMIT
    while True:
        try:
            size = int(stream.readline(256).split(b";")[0], 16)
        except ValueError:
            return False
        if size == 0:
            while stream.readline(8192).strip():
                pass
            return True
        left -= size
        if not 0 <= left <= BODY_LIMIT or not _drop(stream, size) or stream.readline(3).strip():
            return False
