"""One worker per pod: compare what the pod asks for with what the shim runs, and correct the difference.

    sync   deletion asked for?       -> termination.py
           sandbox dead or missing?  -> a new one, with a new address
           init containers           -> one after the other
           containers                -> start, restart after a back-off, kill what fails its probes

Level-triggered: a pass looks at everything and may be cut short anywhere; whatever changes pokes the next one. The
status is written beside it, so that an API server that is down holds nothing up.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from netpod.api import meta
from netpod.api.cri import Container as Seen
from netpod.api.cri import Sandbox, State
from netpod.api.meta import key_of
from netpod.api.pod import Container, Pod
from netpod.api.pod_status import PodStatus
from netpod.client.events import EventRecorder
from netpod.client.rest import Client
from netpod.errors import NetpodError
from netpod.kubelet import status, termination
from netpod.kubelet.admission import Refusal
from netpod.kubelet.config import KubeletConfig
from netpod.kubelet.deadline import Deadline
from netpod.kubelet.env import Services
from netpod.kubelet.files import Changes, Files
from netpod.kubelet.images import Images
from netpod.kubelet.instances import Instances, Unit, succeeded
from netpod.kubelet.probe import Prober
from netpod.kubelet.probemetrics import ProbeMetrics
from netpod.kubelet.report import Reporter
from netpod.kubelet.runtime import Runtime
from netpod.kubelet.sandbox import Sandboxes
from netpod.kubelet.status import ContainerFacts, PodFacts
from netpod.kubelet.volumes import Volumes

log = logging.getLogger(__name__)
RETRY_SECONDS = (0.1, 10.0)
FOREVER = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all workers of a node share."""

    config: KubeletConfig
    client: Client
    runtime: Runtime
    sandboxes: Sandboxes
    prober: Prober
    probed: ProbeMetrics
    events: EventRecorder
    services: Services
    images: Images
    changes: Changes


class PodWorker:
    """Follows one pod from its binding to its end."""

    def __init__(self, node: Node, pod: Pod, refused: Refusal = ("", "")) -> None:
        self.node = node
        self.pod = pod
        self.gone = False
        self.sandbox: Sandbox | None = None
        self.pod_ips: tuple[str, ...] = ()
        self.volumes = Volumes(paths={})
        self.units: dict[str, Unit] = {}
        self.ending: termination.Termination | None = None
        self._started_at = meta.timestamp(meta.now())
        self._poked = asyncio.Event()
        self._wake_at = FOREVER
        self._retry = RETRY_SECONDS[0]
        self._deadline = Deadline(self)
        self.refused = refused
        if refused[0] and pod.status.phase not in status.FINISHED:
            self.event("Warning", *refused)
        self._files = Files(self)
        self._reporter = Reporter(node.client, pod, self._status)
        self.tasks: asyncio.TaskGroup | None = None
        self._instances = Instances(self)

    def update(self, pod: Pod) -> None:
        """The API server has a newer version of the pod."""
        old, self.pod = self.pod, pod
        self._files.pod_changed(old, pod)
        self._reporter.update(pod)
        self.poke()

    def remove(self) -> None:
        """The API server has the pod no more: it ends without further words."""
        self.gone = True
        self.poke()

    def poke(self) -> None:
        """Something changed."""
        self._poked.set()

    async def run(self) -> None:
        """Work until the pod has ended and nothing of it is left."""
        async with asyncio.TaskGroup() as tasks:
            self.tasks = tasks
            reporting = tasks.create_task(self._reporter.run(), name=f"status {key_of(self.pod)}")
            while True:
                self._poked.clear()
                self._wake_at = time.monotonic() + FOREVER
                try:
                    if await self._sync():
                        break
                    self._retry = RETRY_SECONDS[0]
                except NetpodError as error:
                    self._failed(error)
                self._reporter.poke(settled=self._settled())
                try:
                    async with asyncio.timeout(max(0.0, self._wake_at - time.monotonic())):
                        await self._poked.wait()
                except TimeoutError:
                    continue
            reporting.cancel()
            self._files.close()
            for unit in self.units.values():
                unit.close()

    def wake_in(self, seconds: float) -> None:
        """Look again after so many seconds at the latest."""
        self._wake_at = min(self._wake_at, time.monotonic() + seconds)

    @property
    def must_end(self) -> bool:
        """Whether the pod is to go."""
        return self.gone or bool(self.pod.metadata.deletion_timestamp)

    def lives(self, seen: Seen) -> bool:
        """Whether this instance of a container still runs, as far as the shim has said."""
        now = self.node.runtime.containers.get(seen.config.id)
        return now is not None and now.state == State.RUNNING

    def event(self, type_: str, reason: str, message: str) -> None:
        """Say something about the pod."""
        self.node.events.event(self.pod, type_, reason, message)

    def specs(self) -> list[Container]:
        """Return all containers of the pod, init containers first."""
        spec = self.pod.spec
        return [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]

    async def delete_sandbox(self, sandbox: Sandbox) -> None:
        """Take a sandbox away; how its containers ended is kept for the status."""
        ended = await self.node.sandboxes.delete(sandbox)
        for seen in sorted(ended, key=lambda item: item.config.attempt):
            unit = self.units.setdefault(seen.config.name, Unit())
            if unit.seen is None or unit.seen.config.attempt <= seen.config.attempt:
                unit.seen = seen
        if self.sandbox is not None and self.sandbox.config.id == sandbox.config.id:
            self.sandbox = None
            self.pod_ips = ()

    @property
    def pod_ip(self) -> str:
        """The pod's primary address, "" while it has none."""
        return self.pod_ips[0] if self.pod_ips else ""

    async def report_last(self) -> None:
        """Write the status a last time."""
        await self._reporter.write()

    def _failed(self, error: NetpodError) -> None:
        log.info("pod %s: %s", key_of(self.pod), error)
        self.wake_in(self._retry)
        self._retry = min(self._retry * 2, RETRY_SECONDS[1])

    async def _sync(self) -> bool:
        """One pass; True when the pod has ended and nothing of it is left."""
        if not self.node.runtime.connected.is_set():
            return False  # the runtime pokes when it is back
        await self._observe()
        if self.must_end:
            if self.ending is None:
                self.ending = termination.Termination(self)
            return await self.ending.sync()
        if await self._deadline.sync():
            return False
        if status.compile(self.pod, self._facts()).phase in ("Succeeded", "Failed"):
            if self.sandbox is not None:
                await self.delete_sandbox(self.sandbox)
            return False
        if not self.node.sandboxes.networked and not self.pod.spec.host_network:
            return False  # the agent pokes when the node has its pod CIDR
        complete = await self._files.sync()
        if not complete and self.sandbox is None:
            return False
        # One that runs already, and that this kubelet took over, keeps its address whatever its volumes lack now.
        await self._ensure_sandbox()
        if complete:
            for debugger in self.pod.spec.ephemeral_containers:
                await self._instances.ensure_once(debugger, self.units[debugger.name])
        if complete and await self._initialize():
            for item in self.pod.spec.containers:
                await self._instances.ensure(item, self.units[item.name])
        return False

    async def _observe(self) -> None:
        sandboxes, seen = self.node.runtime.of_pod(self.pod.metadata.uid)
        for instance in seen:
            unit = self.units.setdefault(instance.config.name, Unit())
            if unit.seen is not None and unit.seen.config.id != instance.config.id:
                if unit.seen.config.attempt > instance.config.attempt:
                    continue
                unit.last = unit.seen
            unit.seen = instance
        current = {unit.seen.config.id for unit in self.units.values() if unit.seen is not None}
        for instance in seen:
            if instance.state == State.EXITED and instance.config.id not in current:
                await self.node.runtime.remove_container(instance.config.id)
        self.sandbox = sandboxes[-1] if sandboxes else None
        for old in sandboxes[:-1]:
            await self.delete_sandbox(old)
        for item in self.specs():
            self._instances.observe(item, self.units.setdefault(item.name, Unit()))

    async def _ensure_sandbox(self) -> None:
        attempt = 0
        if self.sandbox is not None and self.sandbox.state == State.EXITED:
            attempt = self.sandbox.config.attempt + 1
            reason = "Pod sandbox changed, it will be killed and re-created."
            self.event("Normal", "SandboxChanged", reason)
            await self.delete_sandbox(self.sandbox)
        try:
            if self.sandbox is None:
                self.sandbox = await self.node.sandboxes.create(self.pod, attempt)
                self.pod_ips = ()
            if not self.pod_ips:
                pod_ips = await self.node.sandboxes.connect(self.pod, self.sandbox)
                if self.node.config.isolate is not None:
                    await self.node.config.isolate(self.pod, pod_ips)
                self.pod_ips = pod_ips
        except NetpodError as error:
            message = f"Failed to create pod sandbox: {error}"
            self.event("Warning", "FailedCreatePodSandBox", message)
            raise

    async def _initialize(self) -> bool:
        """Run init containers in order; True once all have done their part."""
        assert self.sandbox is not None, "a pod's containers start in its sandbox"
        for item in self.pod.spec.init_containers:
            unit = self.units[item.name]
            here = unit.seen is not None and unit.seen.config.sandbox_id == self.sandbox.config.id
            if status.is_sidecar(item):
                await self._instances.ensure(item, self.units[item.name])
                if not (unit.running and unit.probes is not None and unit.probes.started):
                    return False
            elif not (here and unit.seen is not None and succeeded(unit.seen)):
                await self._instances.ensure(item, self.units[item.name])
                return False
        return True

    def _settled(self) -> bool:
        """Whether no container is on its way up, so that the status will not change again at once."""
        if self.ending is not None:
            return False
        units = (self.units.get(item.name, Unit()) for item in self.pod.spec.containers)
        return not any(unit.rising for unit in units)

    def _failure(self) -> tuple[str, str]:
        reason, message = self.refused
        if reason:
            return reason, f"Pod was rejected: {message}"
        return self._deadline.failed

    def _facts(self) -> PodFacts:
        return PodFacts(
            host_ips=self.node.config.host_ips,
            pod_ips=self.pod_ips,
            sandbox_ready=bool(self.sandbox is not None and self.pod_ips),
            started_at=self._started_at,
            now=meta.timestamp(meta.now()),
            failed=self._failure(),
            rejected=bool(self.refused[0]),
            ended=self.ending is not None and self.ending.stopped,
            containers={
                name: ContainerFacts(
                    seen=unit.seen,
                    last=unit.last,
                    restarts=unit.seen.config.attempt if unit.seen is not None else 0,
                    waiting=unit.waiting if not unit.running else ("", ""),
                    started=unit.running and unit.probes is not None and unit.probes.started,
                    ready=unit.ready,
                )
                for name, unit in self.units.items()
            },
        )

    def _status(self, pod: Pod) -> PodStatus:
        return status.compile(pod, self._facts())
