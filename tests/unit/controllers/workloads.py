"""What the tests of the workload controllers share: a played cluster of several nodes with the real scheduler."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

from netpod.api import codec, meta
from netpod.api.meta import Object
from netpod.api.pod import Pod
from netpod.api.pod_status import ContainerState, ContainerStateTerminated, ContainerStatus
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.controllers import run
from netpod.controllers.controller import Context
from netpod.errors import ApiError, NotFound
from netpod.scheduler import scheduler
from tests.unit.controllers import plane

STANDARD = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: netpod.dev/host-path
"""

Play = Callable[[Pod], str]
"""Says what becomes of a pod: "run", "wait", "succeed" or "fail"."""


def runs(_: Pod) -> str:
    """Every pod runs."""
    return "run"


async def play_kubelets(client: Client, play: Play = runs) -> None:
    """Do with every bound pod what `play` says; let those that are deleted go. Never ends."""
    count = 0
    done: dict[str, str] = {}
    while True:
        for pod in await plane.pods(client):
            wish, uid = play(pod), pod.metadata.uid
            with contextlib.suppress(NotFound, ApiError):
                if pod.metadata.deletion_timestamp:
                    about = pod.metadata
                    await client.delete(
                        Pod, about.name, about.namespace, grace_period_seconds=0, uid=uid
                    )
                elif pod.spec.node_name and done.get(uid) != wish and wish != "wait":
                    count += 1
                    await post(client, pod, wish, f"10.244.{count // 250}.{count % 250 + 2}")
                    done[uid] = wish
        await asyncio.sleep(0.01)


async def post(client: Client, pod: Pod, wish: str, address: str = "10.244.9.9") -> None:
    """Post one pod's status."""
    status = plane.ready_status(address, ready=wish == "run")
    if wish in ("succeed", "fail"):
        code = 0 if wish == "succeed" else 3
        ended = ContainerStateTerminated(
            exit_code=code, finished_at=meta.timestamp(meta.now()), reason="Completed"
        )
        status = dataclasses.replace(
            status,
            phase="Succeeded" if wish == "succeed" else "Failed",
            container_statuses=(ContainerStatus(name="c", state=ContainerState(terminated=ended)),),
        )
    fresh = await client.get(Pod, pod.metadata.name, pod.metadata.namespace)
    await client.update(dataclasses.replace(fresh, status=status), subresource="status")


async def controllers(
    client: Client, clock: Callable[[], datetime] = meta.now, **options: Any
) -> None:
    """Run all controllers and the scheduler over one set of informers, by a clock of the test's."""
    informers = Informers(client)
    recorder = EventRecorder(client, "controller-manager")
    context = Context(client=client, informers=informers, recorder=recorder, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        for loop in run.loops(context, run.ControllersConfig(**options)):
            tasks.create_task(loop())
        for each in context.recorders():
            tasks.create_task(each.run())
        tasks.create_task(informers.run())
        tasks.create_task(scheduler.run(client))


@contextlib.asynccontextmanager
async def cluster(
    folder: Path,
    *,
    nodes: int = 3,
    play: Play = runs,
    clock: Callable[[], datetime] = meta.now,
    **options: Any,
) -> AsyncIterator[Client]:
    """A control plane, nodes node-0, node-1, ... and namespace shop."""
    async with plane.api(folder) as client:
        await plane.make_namespace(client)
        await client.create(made(STANDARD))
        options.setdefault("volumes", folder / "volumes")
        for number in range(nodes):
            await plane.register_node(client, f"node-{number}")
        async with plane.running(
            controllers(client, clock, **options), play_kubelets(client, play)
        ):
            yield client


def tell(
    folder: Path, story: Callable[[Client], Coroutine[Any, Any, None]], **options: Any
) -> None:
    """Run a story in a cluster."""

    async def told() -> None:
        async with cluster(folder, **options) as client:
            await story(client)

    asyncio.run(told())


def made(manifest: str) -> Any:
    """Read one object from YAML, into namespace shop."""
    (data,) = codec.load_manifests(manifest)
    data["metadata"].setdefault("namespace", "shop")
    return codec.decode_object(data)


async def events(client: Client, obj: Object) -> list[tuple[str, str, str]]:
    """Return (component, reason, message) of the events about an object."""
    from netpod.api.core import Event

    found = (await client.list(Event, "shop")).items
    return [
        (e.source.component, e.reason, e.message)
        for e in found
        if (e.involved_object.kind, e.involved_object.name) == (obj.kind, obj.metadata.name)
    ]
