"""Log records to somebody who collects them: a file of JSON lines, a syslog receiver, an OTLP receiver.

    file:///PATH                      appends
    syslog://HOST:PORT                UDP, one message a datagram
    syslog+tcp://HOST:PORT            octet counting
    otlp://HOST:PORT[/PATH]           HTTP with JSON; PATH is /v1/logs

A batch is sent again until it is taken, so a receiver that is away for a while loses nothing of what comes meanwhile
(over UDP nobody knows).

Source: RFC 5424, RFC 5426, RFC 6587 section 3.4.1; OpenTelemetry protocol 1.3, opentelemetry/proto/logs/v1.
"""

import http.client
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import orjson

from netpod.errors import NetpodError, UsageError

Record = dict[str, Any]
RETRY_SECONDS = 1.0
TRIES = 30
_LOCAL0 = 16
_SEVERITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_OTLP = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}
_LONGEST = 60_000
"""Bytes of a datagram; what is longer is cut."""


class Sink(Protocol):
    """Where records go."""

    def send(self, records: Sequence[Record]) -> None:
        """Send a batch.

        Raises:
            OSError: it was not taken; it may be sent again.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_sink(url: str) -> Sink:
    """The sink that a URL names; nothing is sent yet.

    Raises:
        UsageError: it names none.
    """
    parts = urlsplit(url)
    kinds: dict[str, Callable[[SplitResult], Sink]] = {
        "file": _File,
        "syslog": _Datagrams,
        "syslog+tcp": _Stream,
        "otlp": _Otlp,
    }
    kind = kinds.get(parts.scheme)
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"cannot export to {url}: {error}") from error
    if kind is None or (parts.scheme != "file" and not (parts.hostname and port)):
        raise UsageError(
            f"cannot export to {url}: write file:///PATH, syslog://HOST:PORT, syslog+tcp://HOST:PORT or otlp://HOST:PORT"
        )
    return kind(parts)


def send(sink: Sink, records: Sequence[Record], *, tries: int = TRIES) -> None:
    """Send until it is taken.

    Raises:
        NetpodError: it was not, in `tries` times.
    """
    for attempt in range(1, tries + 1):
        try:
            sink.send(records)
            return
        except OSError as error:
            if attempt == tries:
                cause = error.strerror or str(error)
                raise NetpodError(f"cannot export logs: {cause}, {tries} times") from error
            time.sleep(RETRY_SECONDS)  # noqa: TID251 - the receiver says nothing when it comes back


class _File:
    def __init__(self, url: SplitResult) -> None:
        self._path = Path(url.path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise UsageError(f"cannot export to {self._path}: {error.strerror}") from error

    def send(self, records: Sequence[Record]) -> None:
        data = b"".join(orjson.dumps(record) + b"\n" for record in records)
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        os.close(self._fd)


class _Datagrams:
    def __init__(self, url: SplitResult) -> None:
        self._where = (str(url.hostname), int(url.port or 0))
        self._socket: socket.socket | None = None

    def send(self, records: Sequence[Record]) -> None:
        if self._socket is None:
            family = socket.getaddrinfo(*self._where, type=socket.SOCK_DGRAM)[0][0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.connect(self._where)
        for record in records:
            self._socket.send(syslog(record)[:_LONGEST])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class _Stream:
    def __init__(self, url: SplitResult) -> None:
        self._where = (str(url.hostname), int(url.port or 0))
        self._socket: socket.socket | None = None

    def send(self, records: Sequence[Record]) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._where, timeout=10)
        messages = [syslog(record) for record in records]
        try:
            self._socket.sendall(b"".join(b"%d %s" % (len(each), each) for each in messages))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Otlp:
    def __init__(self, url: SplitResult) -> None:
        self._where = (str(url.hostname), int(url.port or 0))
        self._path = url.path or "/v1/logs"

    def send(self, records: Sequence[Record]) -> None:
        connection = http.client.HTTPConnection(*self._where, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", self._path, orjson.dumps(otlp(records)), headers)
            answer = connection.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the receiver does not speak HTTP: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"the receiver answered {answer.status} {answer.reason}")

    def close(self) -> None:
        return


def syslog(record: Record) -> bytes:
    """A record as an RFC 5424 message; pod and container are structured data of netpod's."""
    severity = _SEVERITIES.get(record.get("level", ""), 6)
    host = record.get("node") or "-"
    app = record.get("component") or record.get("container") or "-"
    named = [(k, record[k]) for k in ("namespace", "pod", "container", "stream") if record.get(k)]
    data = " ".join(f'{name}="{_quoted(value)}"' for name, value in named)
    structured = f"[netpod@32473 {data}]" if data else "-"
    # RFC 5424 has microseconds at most.
    stamp = record["time"][:26] + "Z"
    head = f"<{_LOCAL0 * 8 + severity}>1 {stamp} {host} {app[:48]} - - {structured} "
    return (head + str(record["text"])).encode(errors="replace")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def otlp(records: Sequence[Record]) -> dict[str, Any]:
    """Records as an ExportLogsServiceRequest; attributes are named by OpenTelemetry's conventions for Kubernetes."""
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": [_attribute("service.name", "netpod")]},
                "scopeLogs": [
                    {"scope": {"name": "netpod"}, "logRecords": [_otlp(r) for r in records]}
                ],
            }
        ]
    }


def _otlp(record: Record) -> dict[str, Any]:
    names = {
        "namespace": "k8s.namespace.name",
        "pod": "k8s.pod.name",
        "container": "k8s.container.name",
        "node": "k8s.node.name",
        "component": "netpod.component",
        "stream": "log.iostream",
    }
    moment = datetime.fromisoformat(record["time"][:26] + "+00:00")
    nano = int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    level = record.get("level") or "INFO"
    return {
        "timeUnixNano": str(nano),
        "severityNumber": _OTLP.get(level, 9),
        "severityText": level,
        "body": {"stringValue": record["text"]},
        "attributes": [_attribute(n, record[k]) for k, n in names.items() if record.get(k)],
    }


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}
