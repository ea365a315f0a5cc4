"""One call of grpc.health.v1.Health/Check: a request, its answer, goodbye.

gRPC is HTTP/2 (the h2 library speaks it) with messages of five bytes of prefix and a protobuf body; the two messages of
this service have one field each.

Source: grpc/grpc doc/health-checking.md, doc/PROTOCOL-HTTP2.md; kubernetes pkg/probe/grpc/grpc.go for the words.
"""

import asyncio
from collections.abc import Iterable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

PATH = "/grpc.health.v1.Health/Check"
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
"""Names of gRPC's status codes, as Go prints them."""
UNIMPLEMENTED = 12
LONGEST_ANSWER = 1 << 16


class Unhealthy(Exception):
    """The server did not say SERVING; the text is upstream's."""


async def check(host: str, port: int, service: str, user_agent: str, seconds: float) -> None:
    """Ask a server whether a service is well; comes back when it says SERVING.

    Raises:
        Unhealthy: it says something else, is no server of this kind, or cannot be reached.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        # Upstream's client tries again until the time is up, and says so.
        raise Unhealthy(
            f'timeout: failed to connect service "{host}:{port}" within {seconds:g}s: '
            "context deadline exceeded"
        ) from error
    try:
        call = _Call(f"{host}:{port}", service, user_agent)
        writer.write(call.start())
        while not call.done:
            data = await reader.read(1 << 16)
            if not data:
                raise Unhealthy("error: health rpc probe failed: the connection was closed")
            writer.write(call.take(data))
    except h2.exceptions.ProtocolError as error:
        raise Unhealthy(
            f"error: health rpc probe failed: {error or type(error).__name__}"
        ) from error
    finally:
        writer.close()
    call.judge()


class _Call:
    """The bytes of one call, and what came back."""

    def __init__(self, authority: str, service: str, user_agent: str) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._connection = h2.connection.H2Connection(config)
        self._authority, self._service, self._user_agent = authority, service, user_agent
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self.done = False

    def start(self) -> bytes:
        self._connection.initiate_connection()
        stream = self._connection.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", self._user_agent),
        ]
        self._connection.send_headers(stream, headers)
        self._connection.send_data(stream, _message(self._service), end_stream=True)
        return self._connection.data_to_send()

    def take(self, data: bytes) -> bytes:
        for event in self._connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    self._note(event.headers)
                case h2.events.DataReceived():
                    self._body += event.data
                    if len(self._body) > LONGEST_ANSWER:
                        raise Unhealthy("error: health rpc probe failed: the answer is too long")
                    if event.flow_controlled_length:
                        self._connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                case h2.events.StreamEnded():
                    self.done = True
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    code = event.error_code
                    if not self.done:
                        raise Unhealthy(
                            f"error: health rpc probe failed: the stream was reset ({code})"
                        )
        if self.done:
            self._connection.close_connection()
        return self._connection.data_to_send()

    def _note(self, headers: Iterable[tuple[str | bytes, str | bytes]] | None) -> None:
        for name, value in headers or ():
            self._headers[str(name)] = str(value)

    def judge(self) -> None:
        """Raise unless the answer is SERVING."""
        text = self._headers.get("grpc-status", "")
        if not text.isdigit():
            status = self._headers.get(":status", "none")
            raise Unhealthy(
                f"error: health rpc probe failed: no gRPC status (HTTP status {status})"
            )
        code, said = int(text), self._headers.get("grpc-message", "")
        name = CODES[code] if code < len(CODES) else f"Code({code})"
        if code == UNIMPLEMENTED:
            raise Unhealthy(
                "error: this server does not implement the grpc health protocol "
                f"(grpc.health.v1.Health): {said}"
            )
        if code:
            raise Unhealthy(
                f"error: health rpc probe failed: rpc error: code = {name} desc = {said}"
            )
        status = _status(bytes(self._body))
        if status != "SERVING":
            raise Unhealthy(f'service unhealthy (responded with "{status}")')


def _message(service: str) -> bytes:
    """HealthCheckRequest {string service = 1}, with its prefix."""
    name = service.encode()
    body = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(body).to_bytes(4, "big") + body


def _status(data: bytes) -> str:
    """HealthCheckResponse {ServingStatus status = 1}, from behind its prefix."""
    body = data[5:]
    value = body[1] if len(body) >= 2 and body[0] == 0x08 else 0
    return STATUSES[value] if value < len(STATUSES) else str(value)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
