"""The same API for programs that ask once and end, like the command line.

Over http.client, because importing an asynchronous client costs more than the whole of `netpod get pods`.
"""

import contextlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from netpod.client import status
from netpod.errors import Unavailable

MERGE_PATCH = "application/merge-patch+json"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("apiserver", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class BlockingClient:
    """Requests over the API server's unix socket, as system:masters. Plain JSON values in and out.

    All methods raise ApiError subclasses; Unavailable when nobody answers.
    """

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout
        self._kept: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """Send one request and return the decoded JSON answer."""
        raw = self.raw(
            method, path, query=query, body=body, content_type=content_type, accept=accept
        )
        return orjson.loads(raw) if raw else None

    def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """Send one request and return the answer's bytes. `body` is bytes or a JSON value."""
        if self._kept is None:
            self._kept = _UnixConnection(str(self._path), self._timeout)
        connection = self._kept
        try:
            _send(connection, method, path, query, body, content_type, accept)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._kept = None
            raise self._unavailable(error) from error
        if response.status >= 300:
            raise status.error_of(response.status, content)
        return content

    @contextlib.contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Iterator[Iterator[bytes]]:
        """Open a GET whose answer comes line by line until the server or the caller ends it."""
        connection = _UnixConnection(str(self._path), None)
        try:
            try:
                _send(connection, "GET", path, query, None, "", accept)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unavailable(error) from error
            if response.status >= 300:
                raise status.error_of(response.status, response.read())
            yield iter(response.readline, b"")
        finally:
            connection.close()

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _unavailable(self, error: Exception) -> Unavailable:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unavailable(f"cannot reach the API server at {self._path}: {why.lower()}")


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    body: Any,
    content_type: str,
    accept: str,
) -> None:
    url = f"{path}?{urlencode(query)}" if query else path
    headers = {"Accept": accept, "User-Agent": status.USER_AGENT}
    data: bytes | None = None
    if body is not None:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        headers["Content-Type"] = content_type
    connection.request(method, url, body=data, headers=headers)
