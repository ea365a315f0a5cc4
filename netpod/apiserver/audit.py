"""The audit log: who did what, when, and how it ended; one line of JSON per request, never a body.

Source: k8s.io/apiserver pkg/apis/audit/v1/types.go, level Metadata, stage ResponseComplete.
"""

import itertools
import json
import logging
import os
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from aiohttp import web

from netpod.api import meta
from netpod.api.meta import Json
from netpod.apiserver.authentication import User
from netpod.apiserver.routes import Route

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seen:
    """What the server finds out about a request while it answers."""

    audit_id: str
    user: User | None = None
    route: Route | None = None


class RequestIds:
    """What one server's requests are called in the log and in their answers."""

    def __init__(self) -> None:
        # A UUID whose last part counts: drawing one for each request takes ten times as long.
        self._run = meta.new_uid()[:24]
        self._count = itertools.count(1)

    def of(self, headers: Mapping[str, str]) -> str:
        """What the client says, or a new UUID."""
        given = headers.get("Audit-Id", "")
        if given and len(given) <= MAX_ID and given.isascii() and given.isprintable():
            return given
        return f"{self._run}{next(self._count):012x}"


UNAUTHORIZED, FORBIDDEN = 401, 403
MAX_BYTES = 100 * 1024 * 1024
"""A file of this size becomes FILE.1, which the next one replaces. Source: --audit-log-maxsize, in MB."""

MAX_ID = 64
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update"}


class Audit:
    """Appends to a file that only root may read; whoever moves it away restarts nothing.

    Args:
        path: The file.
        max_bytes: See MAX_BYTES.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._fd = -1
        self._inode = 0
        self._failed = False

    async def follow(
        self, request: web.BaseRequest, seen: Seen, answer: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        """The answer, noted when it is complete; a client that left is noted as 499."""
        received = meta.now()
        code = 499
        try:
            response = await answer
            code = response.status
            return response
        finally:
            self._write(_event(request, seen, received, code))

    def _write(self, event: dict[str, Json]) -> None:
        try:
            line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # bytes in the URL or a header that are no UTF-8
            line = json.dumps(event).encode() + b"\n"
        try:
            os.write(self._open(), line)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("cannot write audit log %s: %s", self._path, error.strerror)
            self._failed = True

    def _open(self) -> int:
        try:
            found = os.stat(self._path)
            if found.st_size >= self._max_bytes:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            elif self._fd >= 0 and found.st_ino == self._inode:
                return self._fd
        except FileNotFoundError:
            pass
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._inode = os.fstat(self._fd).st_ino
        return self._fd

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _person(user: User) -> dict[str, Json]:
    told: dict[str, Json] = {"username": user.name, "groups": user.listed}
    if user.uid:
        told["uid"] = user.uid
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra}
    return told


def _object(route: Route) -> dict[str, Json]:
    named = {
        "resource": route.resource.plural,
        "namespace": route.namespace,
        "name": route.name,
        "apiGroup": route.resource.group,
        "apiVersion": route.resource.version,
        "subresource": route.subresource,
    }
    return {key: value for key, value in named.items() if value}


def _event(request: web.BaseRequest, seen: Seen, received: datetime, code: int) -> dict[str, Json]:
    route = seen.route
    user = seen.user or User(name="system:anonymous", groups=frozenset({"system:unauthenticated"}))
    event: dict[str, Json] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": seen.audit_id,
        "stage": "ResponseComplete",
        "requestURI": request.raw_path,
        "verb": route.verb if route else _VERBS.get(request.method, request.method.lower()),
        "user": _person(user.actor or user),
        **({"impersonatedUser": _person(user)} if user.actor else {}),
        "sourceIPs": [request.remote] if request.remote else [],
        "userAgent": request.headers.get("User-Agent", ""),
        **({"objectRef": _object(route)} if route else {}),
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": meta.micro_timestamp(received),
        "stageTimestamp": meta.micro_timestamp(meta.now()),
    }
    if code != UNAUTHORIZED:
        decision = "forbid" if code == FORBIDDEN else "allow"
        event["annotations"] = {"authorization.k8s.io/decision": decision}
    return event
