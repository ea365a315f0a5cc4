"""Ask an etcd cluster through its own JSON gateway, whichever member answers.

Every member serves the v3 API as JSON over HTTP beside gRPC, so aiohttp is all it takes. Bytes are base64, 64-bit
numbers are strings. A request goes to the member that answered last; who refuses or is silent is left for the next.
A read may be asked again of anybody. A write may not: once it may have been sent, only `Lost` can be said of it.

Sources: etcd v3.4 and v3.5 Documentation/dev-guide/api_grpc_gateway.md; etcdserver/api/v3rpc/rpctypes/error.go (codes).
"""

import asyncio
import base64
import io
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from netpod import errors
from netpod.store.store import KeyValue, Revision

Message = dict[str, Any]
"""One protobuf message as JSON; does not leave the modules that speak to etcd."""

ATTEMPT_SECONDS = 3.0
"""How long one member may think. An election takes one to two seconds with etcd's own settings."""
BOUND_SECONDS = 15.0
"""How long a question is asked again before it is given up: several elections."""
PAUSE_SECONDS = 0.1
CONNECTIONS = 64
_GOODBYE_SECONDS = 0.1
"""TLS connections are closed some turns of the loop after aiohttp says they are."""

_QUESTIONS = 2
"""Questions for the newest revision under way at once: one answer serves all who asked before it was sent."""

_LINEARIZABLE = ("kv/range", "kv/txn")
"""Answers to these are never of an earlier revision than one that was known before."""

_INVALID, _NOT_FOUND, _EXHAUSTED, _OUT_OF_RANGE = 3, 5, 8, 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where etcd is, and who we are to it.

    Attributes:
        endpoints: host:port of each member's client address, at least one.
        ca: PEM file of who signed the members' certificates; None speaks plain HTTP unless `cert` is given.
        cert: PEM file of our client certificate, and `key` of its key; both or none.
    """

    endpoints: tuple[str, ...]
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Lost(Exception):
    """No answer came though the request may have been sent: it may have been carried out, or may yet be."""


class Unreachable(errors.Unavailable):
    """No member takes connections; nothing was sent, so the same may be asked again."""


class LeaseGone(Exception):
    """The lease named in a write is no more; nothing was written."""


class Gateway:
    """The members of one etcd cluster. Belongs to the loop it was made in."""

    def __init__(self, target: Target) -> None:
        assert target.endpoints, "etcd has at least one endpoint"
        tls = self._tls = _tls(target)
        self._bases = [f"{'https' if tls else 'http'}://{it}/v3/" for it in target.endpoints]
        self._current = 0
        self._name = ",".join(target.endpoints)
        self._closed = False
        self._turn = asyncio.Semaphore(CONNECTIONS)
        connect = aiohttp.ClientTimeout(total=None, sock_connect=ATTEMPT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls or True), timeout=connect
        )
        self._streams = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=tls or True),
            timeout=connect,
        )
        self.revision = Revision(0)
        """The greatest revision any answer has named, since etcd went back last."""
        self.on_rewind: Callable[[], None] = lambda: None
        """Called when an answer says that etcd has gone back to an earlier revision."""
        self._question: asyncio.Future[Revision] | None = None
        self._asking = asyncio.Semaphore(_QUESTIONS)

    async def close(self) -> None:
        """Close all connections; repeating it changes nothing."""
        self._closed = True
        await self._session.close()
        await self._streams.close()
        if self._tls is not None:
            await asyncio.sleep(_GOODBYE_SECONDS)

    async def newest(self) -> Revision:
        """The revision etcd is at, at a moment after this call.

        Raises:
            Unavailable: as for `read`.
        """
        if self._question is None:
            self._question = asyncio.ensure_future(self._ask())
            self._question.add_done_callback(lambda it: it.cancelled() or it.exception())
        return await asyncio.shield(self._question)

    async def _ask(self) -> Revision:
        async with self._asking:
            self._question = (
                None  # who comes from now on may know of a write that this one does not see
            )
            answer = await self.read("kv/range", {"key": encode("/"), "count_only": True})
        return revision_of(answer["header"], "revision")

    async def read(self, path: str, body: Message) -> Message:
        """Ask what changes nothing, of member after member until one answers.

        Raises:
            Expired: the revision asked for is compacted or still to come.
            Unavailable: no member answered within the bound, or there is no quorum.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BOUND_SECONDS
        while True:
            try:
                return await self.write(path, body)
            except (Lost, Unreachable) as error:
                if loop.time() >= deadline:
                    raise errors.Unavailable(f"cannot read store {self._name}: {error}") from error
                await asyncio.sleep(PAUSE_SECONDS)

    async def write(self, path: str, body: Message) -> Message:
        """Send a request that is carried out at most once.

        Raises:
            Lost: it may have been carried out.
            Unreachable: no member takes connections; nothing was written.
            InsufficientStorage: etcd has no room, or has none after this; it may have been carried out.
            Unavailable: etcd refuses; nothing was written.
            TooLarge: the value exceeds what etcd takes; nothing was written.
        """
        data = orjson.dumps(body)
        cause: Exception | None = None
        for _ in range(len(self._bases)):
            if self._closed:
                raise errors.Unavailable(f"cannot reach store {self._name}: the store is closed")
            member = self._current
            try:
                # Waiting for our own turn is not the member's silence.
                async with self._turn, asyncio.timeout(ATTEMPT_SECONDS):
                    return await self._post(self._bases[member], path, data)
            except aiohttp.ClientConnectorError as error:
                self._leave(member)  # never sent, so the next one may have it
                cause = error
            except Lost:
                self._leave(member)
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._leave(member)
                raise Lost(str(error) or "no answer in time") from error
        raise Unreachable(f"cannot reach store {self._name}: {cause}") from cause

    async def _post(self, base: str, path: str, data: bytes) -> Message:
        known = self.revision
        # aiohttp warns of bytes beyond a megabyte: they are copied at once. A file in memory is sent piece by piece.
        async with self._session.post(base + path, data=io.BytesIO(data)) as response:
            text = await response.read()
        try:
            answer: Message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Lost(f"HTTP status {response.status} without JSON") from error
        # The gateway of 3.4 names an error twice, later ones only by code and message.
        if response.status != HTTPStatus.OK or "error" in answer:
            _refuse(self._name, answer)
        revision = revision_of(answer.get("header", {}), "revision")
        if revision < known and path in _LINEARIZABLE:
            self.revision = revision
            self.on_rewind()
        self.revision = max(self.revision, revision)
        return answer

    def _leave(self, member: int) -> None:
        """Let the next request try the next member, unless somebody has moved on already."""
        if self._current == member:
            self._current = (member + 1) % len(self._bases)

    async def stream(self, body: Message, *, member: int) -> AsyncGenerator[Message, None]:
        """Watch responses from one member, until the connection ends.

        Args:
            body: A WatchCreateRequest.
            member: Counts on from call to call to try another one.

        Raises:
            Lost: the stream broke, or its member lost the leader.
            Expired: the revision to start from is compacted.
        """
        # Without hasleader a member cut off from the others keeps the stream open and stays silent.
        headers = {"Grpc-Metadata-hasleader": "true"}
        data = orjson.dumps({"create_request": body})
        base = self._bases[member % len(self._bases)]
        try:
            async with self._streams.post(base + "watch", data=data, headers=headers) as response:
                rest: list[bytes] = []
                async for chunk in response.content.iter_any():
                    head, newline, tail = chunk.rpartition(b"\n")
                    if not newline:
                        rest.append(chunk)
                        continue
                    rest.append(head)
                    lines, rest = b"".join(rest).split(b"\n"), [tail] if tail else []
                    for line in filter(None, lines):
                        yield self._result(orjson.loads(line))
        except (aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
            raise Lost(str(error)) from error
        raise Lost("the stream ended")

    def _result(self, line: Message) -> Message:
        if "error" in line or "code" in line:
            _refuse(self._name, line.get("error") or line)
        result: Message = line.get("result", {})
        if int(result.get("compact_revision", 0)):
            raise errors.Expired(
                f"cannot watch store {self._name}: the required revision has been compacted: "
                f"now {result['compact_revision']}"
            )
        if result.get("canceled"):
            raise Lost(str(result.get("cancel_reason", "canceled")))
        return result


def _refuse(name: str, answer: Message) -> None:
    """Raise what an error's gRPC code means for the request it answers."""
    code = int(answer.get("code") or answer.get("grpc_code") or 0)
    said = str(answer.get("message") or answer.get("error"))
    if code == _OUT_OF_RANGE:
        raise errors.Expired(f"cannot read store {name}: {said}")
    if code == _NOT_FOUND and "lease" in said:
        raise LeaseGone(said)
    if (code == _INVALID and "too large" in said) or (code == _EXHAUSTED and "larger than" in said):
        raise errors.TooLarge(f"cannot write store {name}: {said}")
    if code == _EXHAUSTED and "space exceeded" in said:
        raise errors.InsufficientStorage(f"cannot write store {name}: {said}")
    if code in (_INVALID, _EXHAUSTED, _NOT_FOUND):
        raise errors.Unavailable(f"cannot use store {name}: {said}")
    raise Lost(said)


def _tls(target: Target) -> ssl.SSLContext | None:
    if target.ca is None and target.cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=target.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if target.cert is not None:
            context.load_cert_chain(target.cert, target.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(it) for it in (target.ca, target.cert, target.key) if it is not None)
        raise errors.NetpodError(f"cannot open store: cannot read {files}: {error}") from error
    return context


def encode(data: str | bytes) -> str:
    """A key or value as the gateway writes it."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return base64.b64encode(raw).decode()


def revision_of(message: Message, field: str) -> Revision:
    """A revision out of a message; 0 is left out on the wire."""
    return Revision(int(message.get(field, 0)))


def key_value(message: Message) -> KeyValue:
    """An mvccpb.KeyValue. Keys of others that are not UTF-8 keep their bytes as surrogates."""
    return KeyValue(
        base64.b64decode(message["key"]).decode("utf-8", "surrogateescape"),
        base64.b64decode(message.get("value", "")),
        revision_of(message, "create_revision"),
        revision_of(message, "mod_revision"),
    )


def key_range(prefix: str, after: str = "") -> Message:
    """`key` and `range_end` of all keys below `prefix` that are greater than `after`.

    Source: etcd clientv3/op.go, getPrefix.
    """
    raw = prefix.encode("utf-8", "surrogateescape")
    first = after.encode("utf-8", "surrogateescape") + b"\0" if after >= prefix and after else raw
    end = raw.rstrip(b"\xff")
    last = end[:-1] + bytes([end[-1] + 1]) if end else b"\0"
    return {"key": encode(first or b"\0"), "range_end": encode(last)}


def first_of(kvs: Sequence[Message] | None) -> KeyValue | None:
    """The one key a range of one key gave, or None."""
    return key_value(kvs[0]) if kvs else None
