"""A real API server over SQLite in a temporary folder, asked over HTTP on its unix socket."""

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import aiohttp

from netpod.apiserver.authentication import TRUSTED, User
from netpod.apiserver.bootstrap import ControlPlane
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.store.sqlite import SqliteStore
from netpod.store.store import Store

Json = Any
MERGE = "application/merge-patch+json"

CONFIG = ApiServerConfig(
    service_cidrs=(IPv4Network("10.96.0.0/16"),),
    node_ports=range(30000, 32768),
    control_plane=ControlPlane(address=IPv4Address("172.18.0.2")),
    tokens={
        "view": User(name="viewer", groups=frozenset({"viewers"})),
        "add-on": User(
            name="system:serviceaccount:kube-system:ingress",
            groups=frozenset({"system:serviceaccounts:kube-system"}),
        ),
    },
)


@dataclass
class Api:
    """Raw HTTP to one server."""

    session: aiohttp.ClientSession
    server: ApiServer
    base: str = "http://netpod"

    async def __call__(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> tuple[int, Json]:
        """Status code and JSON of an answer."""
        sent = dict(headers or {})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            default = MERGE if method == "PATCH" else "application/json"
            sent.setdefault("Content-Type", default)
        sending = None if data is None else io.BytesIO(data)
        async with self.session.request(
            method, self.base + path, data=sending, headers=sent, params=query
        ) as answer:
            text = await answer.read()
            if answer.content_type != "application/json":
                return answer.status, text
            return answer.status, json.loads(text)

    async def create(self, path: str, body: Json, **query: str) -> Json:
        """Create and insist on success."""
        code, made = await self("POST", path, body, **query)
        assert code == 201, made
        return made

    async def get(self, path: str, **query: str) -> Json:
        """Read and insist on success."""
        code, found = await self("GET", path, **query)
        assert code == 200, found
        return found

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, *, headers: dict[str, str] | None = None, **query: str
    ) -> AsyncIterator[Callable[[], Awaitable[Json]]]:
        """A watch; each call of what it gives waits for the next event."""
        async with self.session.get(
            self.base + path, params={"watch": "true", **query}, headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()

            async def event() -> Json:
                async with asyncio.timeout(5):
                    line = await answer.content.readline()
                return json.loads(line) if line else None

            yield event


@contextlib.asynccontextmanager
async def serving(
    folder: Path, config: ApiServerConfig = CONFIG, store: Store | None = None
) -> AsyncIterator[Api]:
    """A server on FOLDER/sock, over FOLDER/store.db or the store that is given, and a client of it."""
    path = folder / "sock"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1024)
    store = store or await SqliteStore.open(folder / "store.db")
    server = ApiServer(store, config)
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                server.serve([Listener(socket=listening, user=TRUSTED)], ready)
            )
            await ready.wait()
            connector = aiohttp.UnixConnector(str(path), limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Api(session, server)
            task.cancel()
    finally:
        await store.close()


PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def pod(name: str = "p", *, node: str = "", **metadata: Json) -> Json:
    """A Pod manifest."""
    spec: Json = {"containers": [{"name": "c", "image": "nginx"}]}
    if node:
        spec["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def service(name: str = "s", *, ports: Json = None, **spec: Json) -> Json:
    """A Service manifest."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports or [{"port": 80}], **spec},
    }


def deployment(name: str = "web", replicas: int = 2) -> Json:
    """A Deployment manifest."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }


def configmap(name: str, **data: str) -> Json:
    """A ConfigMap manifest."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
