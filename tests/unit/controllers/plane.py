"""A control plane in this process: the real API server over SQLite in a folder, and whoever works on it.

The kubelet is played: nodes are registered, and pods made Ready, by the test itself.
"""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from netpod.api import meta
from netpod.api.core import Namespace
from netpod.api.meta import Condition, Object, ObjectMeta
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.pod_status import PodIP, PodStatus
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.client.rest import Client
from netpod.controllers import run as controllers
from netpod.errors import NotFound
from netpod.store.sqlite import SqliteStore

T = TypeVar("T", bound=Object)
Work = Callable[[Client], Coroutine[Any, Any, None]]

DEADLINE = 10.0


@contextlib.asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines while the block runs; a failure of one ends the test."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one) for one in work]
        yield
        for task in started:
            task.cancel()


@contextlib.asynccontextmanager
async def api(folder: Path) -> AsyncIterator[Client]:
    """An API server over the store in `folder`, and a client of it."""
    path = folder / "apiserver.sock"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(128)
    store = await SqliteStore.open(folder / "store.db")
    client = Client.unix(path)
    server = ApiServer(store, ApiServerConfig())
    try:
        async with running(server.serve([Listener(socket=listening, user=TRUSTED)])):
            try:
                yield client
            finally:
                await client.close()
    finally:
        await store.close()


def all_controllers(
    client: Client, config: controllers.ControllersConfig | None = None
) -> Coroutine[Any, Any, None]:
    """Return what runs every controller."""
    return controllers.run(client, config or controllers.ControllersConfig())


async def until(fact: Callable[[], Awaitable[object]], what: str = "") -> None:
    """Wait until a fact holds; fail after ten seconds."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not await fact():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came true: {what or fact}") from None


async def is_gone(client: Client, cls: type[Object], name: str, namespace: str = "shop") -> bool:
    """Tell whether an object does not exist."""
    try:
        await client.get(cls, name, namespace)
    except NotFound:
        return True
    return False


async def register_node(client: Client, name: str, *, ready: str = "True") -> Node:
    """Register a node with room for many pods, as a kubelet would."""
    await client.create(
        Node(metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name}))
    )
    return await post_node(client, name, ready=ready)


async def post_node(client: Client, name: str, *, ready: str = "True") -> Node:
    """Post a node's status, as a kubelet would."""
    moment = meta.timestamp(meta.now())
    condition = {
        "type": "Ready",
        "status": ready,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    allocatable = {"cpu": "64", "memory": "64Gi", "pods": "1100"}
    patch = {"status": {"conditions": [condition], "allocatable": allocatable}}
    return await client.patch(Node, name, "", patch, subresource="status")


async def make_namespace(client: Client, name: str = "shop") -> None:
    """Create a namespace."""
    await client.create(Namespace(metadata=ObjectMeta(name=name)))


async def pods(client: Client, namespace: str = "shop") -> list[Pod]:
    """Return a namespace's pods by name."""
    items = (await client.list(Pod, namespace)).items
    return sorted(items, key=lambda pod: pod.metadata.name)


async def play_kubelet(client: Client, node: str, namespace: str = "shop") -> None:
    """Take every pod to a node and make it Ready; let those that are deleted go. Never ends."""
    given: dict[str, str] = {}
    while True:
        for pod in await pods(client, namespace):
            with contextlib.suppress(NotFound):
                await _tend(client, pod, node, given)
        await asyncio.sleep(0.01)


async def _tend(client: Client, pod: Pod, node: str, given: dict[str, str]) -> None:
    key, uid = meta.key_of(pod), pod.metadata.uid
    if pod.metadata.deletion_timestamp:
        await client.delete(Pod, key.name, key.namespace, grace_period_seconds=0, uid=uid)
    elif not pod.spec.node_name:
        await client.bind(key, uid, node)
    elif uid not in given:
        address = given[uid] = f"10.244.{len(given) // 250}.{len(given) % 250 + 2}"
        fresh = await client.get(Pod, key.name, key.namespace)
        await client.update(
            dataclasses.replace(fresh, status=ready_status(address)), subresource="status"
        )


def ready_status(address: str, *, ready: bool = True) -> PodStatus:
    """Return the status of a running pod."""
    stamp = meta.timestamp(meta.now())
    return PodStatus(
        phase="Running",
        pod_ip=address,
        pod_ips=(PodIP(ip=address),),
        conditions=(Condition(type="Ready", status=str(ready), last_transition_time=stamp),),
    )


async def set_ready(client: Client, pod: Pod, *, ready: bool) -> None:
    """Flip a pod's readiness, as a kubelet would."""
    key = meta.key_of(pod)
    fresh = await client.get(Pod, key.name, key.namespace)
    status = ready_status(fresh.status.pod_ip, ready=ready)
    await client.update(dataclasses.replace(fresh, status=status), subresource="status")
