"""Typed verbs over HTTP: one Client per process, used by every component.

Source: the API conventions of Kubernetes (resourceVersion, Status, watch events).
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import aiohttp
import orjson

from netpod.api import codec, registry
from netpod.api.meta import Key, Object
from netpod.client import kubeconfig, status
from netpod.client.kubeconfig import Endpoint
from netpod.errors import Unavailable, UsageError

T = TypeVar("T", bound=Object)
MERGE_PATCH = "application/merge-patch+json"
_REQUEST_SECONDS = 30.0
_LOOK_SECONDS = 60.0
"""How often to look whether a kubeconfig is another file."""
_LINE_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """Objects and the revision they were read at."""

    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent(Generic[T]):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK (only metadata.resourceVersion is meant)."""

    type: str
    object: T


class Client:
    """Asks one API server as one user. All methods raise ApiError subclasses.

    Unavailable means that no answer came; whether a write happened is then unknown.
    """

    def __init__(self, endpoint: Endpoint, file: Path | None = None) -> None:
        self._endpoint = endpoint
        self._file = file
        self._loaded = file.stat().st_mtime_ns if file is not None else 0
        self._look = 0.0
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def unix(cls, path: Path) -> "Client":
        """Return a client of the unix socket at `path`."""
        return cls(Endpoint(socket=str(path)))

    @classmethod
    def kubeconfig(cls, path: Path) -> "Client":
        """Return a client of the current context of a kubeconfig file; a newer certificate in it is taken up.

        Raises:
            UsageError: the file cannot be read.
        """
        return cls(kubeconfig.load(path), path)

    async def close(self) -> None:
        """Close all connections; the client can be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        """Read one object."""
        return await self._object(cls, "GET", registry.of(cls).path(namespace, name))

    async def list(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing[T]:
        """Read all objects of a kind, in one namespace or (when "") in all."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        data = orjson.loads(await self._request("GET", registry.of(cls).path(namespace), query))
        resource = registry.of(cls)
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return Listing(
            items=tuple(codec.decode(cls, {**kind, **item}) for item in data["items"] or ()),
            resource_version=data["metadata"].get("resourceVersion", ""),
        )

    async def create(self, obj: T) -> T:
        """Create an object and return it as stored."""
        path = registry.of(type(obj)).path(obj.metadata.namespace)
        return await self._object(type(obj), "POST", path, body=codec.to_json(obj))

    async def update(self, obj: T, *, subresource: str = "") -> T:
        """Replace an object, or its `status`; Conflict when it changed since it was read."""
        key = obj.metadata
        path = registry.of(type(obj)).path(key.namespace, key.name, subresource)
        return await self._object(type(obj), "PUT", path, body=codec.to_json(obj))

    async def patch(
        self,
        cls: type[T],
        name: str,
        namespace: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> T:
        """Apply an RFC 7386 merge patch."""
        path = registry.of(cls).path(namespace, name, subresource)
        body = orjson.dumps(patch)
        return await self._object(cls, "PATCH", path, body=body, content_type=MERGE_PATCH)

    async def delete(
        self,
        cls: type[Object],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str = "",
    ) -> None:
        """Ask for deletion; with `uid`, Conflict when the name belongs to another object by now."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation_policy is not None:
            options["propagationPolicy"] = propagation_policy
        if uid:
            options["preconditions"] = {"uid": uid}
        path = registry.of(cls).path(namespace, name)
        await self._request("DELETE", path, body=orjson.dumps(options))

    async def bind(self, pod: Key, uid: str, node: str) -> None:
        """Assign a pod to a node; Conflict when it has one already."""
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = registry.lookup("pods").path(pod.namespace, pod.name, "binding")
        await self._request("POST", path, body=orjson.dumps(body))

    async def raw(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> bytes:
        """Send any request; for subresources that no typed verb covers."""
        return await self._request(method, path, body=body, content_type=content_type)

    async def watch(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent[T]]:
        """Yield what happens after `resource_version` until the server closes the stream.

        Raises:
            Expired: that revision is compacted; list again.
            Unavailable: the connection was lost.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        url = self._endpoint.url + registry.of(cls).path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        try:
            async with self._open().get(url, params=query, timeout=timeout) as response:
                if response.status >= 300:
                    raise status.error_of(response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise status.error_of_status(event["object"])
                    yield WatchEvent(type=event["type"], object=codec.decode(cls, event["object"]))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"cannot watch {registry.of(cls).plural}: {error}") from error

    async def _object(
        self,
        cls: type[T],
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "",
    ) -> T:
        return codec.from_json(
            cls, await self._request(method, path, body=body, content_type=content_type)
        )

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        content_type: str = "",
    ) -> bytes:
        headers = {"Content-Type": content_type or "application/json"} if body is not None else {}
        url = self._endpoint.url + path
        # A kept-alive connection may be closed by the server just as we use it. A request that
        # reached nobody is sent once more; a read may always be.
        for attempt in (1, 2):
            try:
                async with self._open().request(
                    method, url, params=query, data=body, headers=headers
                ) as response:
                    content = await response.read()
                    if response.status >= 300:
                        raise status.error_of(response.status, content)
                    return content
            except aiohttp.ServerDisconnectedError as error:
                if attempt == 2 or method != "GET":
                    raise Unavailable(f"cannot {method} {path}: {error}") from error
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise Unavailable(f"cannot {method} {path}: {error}") from error
        raise AssertionError("a request either answers or raises")

    def _renew(self) -> None:
        """Show the certificate that the kubeconfig has now to servers we connect to from now on."""
        if self._file is None or time.monotonic() < self._look:
            return
        self._look = time.monotonic() + _LOOK_SECONDS
        with contextlib.suppress(OSError, UsageError):
            found = self._file.stat().st_mtime_ns
            if found != self._loaded:
                kubeconfig.renew(self._endpoint, self._file)
                self._loaded = found

    def _open(self) -> aiohttp.ClientSession:
        self._renew()
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._endpoint.socket:
                connector = aiohttp.UnixConnector(self._endpoint.socket, limit=0)
            else:
                tls: ssl.SSLContext | bool = self._endpoint.tls or True
                connector = aiohttp.TCPConnector(ssl=tls, limit=0)
            headers = {"Accept": "application/json"}
            if self._endpoint.token:
                headers["Authorization"] = f"Bearer {self._endpoint.token}"
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": status.USER_AGENT, **headers},
                timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=5),
                auto_decompress=True,
            )
        return self._session


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines of any length up to 4 MiB."""
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        if b"\n" in chunk:
            *whole, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in whole:
                if line:
                    yield line
        elif len(rest) > _LINE_LIMIT:
            raise Unavailable("cannot watch: an event exceeds 4 MiB")


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


async def wait_ready(client: Client, seconds: float) -> None:
    """Wait until the API server answers /readyz.

    Raises:
        Unavailable: it did not within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await client.raw("GET", "/readyz")
                    return
                except Unavailable:
                    await asyncio.sleep(0.005)
    except TimeoutError:
        raise Unavailable(f"the API server is not ready after {seconds:g} s") from None
