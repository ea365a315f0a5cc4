"""The containers of one pod: started, kept, restarted after a back-off, asked how they are.

A container is one entry of the pod's spec; each start of it makes a new instance, whose attempt is the restart count.
"""

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netpod.api import meta
from netpod.api.cri import Container as Seen
from netpod.api.cri import State
from netpod.api.meta import key_of
from netpod.api.pod import Container, Probe
from netpod.errors import NetpodError
from netpod.kubelet import container as containers
from netpod.kubelet import hooks, starting, status
from netpod.kubelet import probe as probes
from netpod.kubelet.backoff import Backoff
from netpod.kubelet.probe import Probes
from netpod.kubelet.refusal import CannotStart

if TYPE_CHECKING:
    from netpod.kubelet.podworker import PodWorker

RISE_SECONDS = 0.5
IMAGE_PROBLEMS = ("ErrImagePull", "ErrImageNeverPull", "InvalidImageName")
FIRST_PULL_DELAY, LONGEST_PULL_DELAY = 10.0, 300.0
PULL_SHOWN_SECONDS = 1.0
"""How long ErrImagePull is shown before it is ImagePullBackOff."""
RETRY_SECONDS = 10.0
"""How long a container that cannot be started waits for the next attempt."""


@dataclass(slots=True, kw_only=True)
class Unit:
    """What a worker knows of one container beside what the shim says.

    Attributes:
        seen: Its latest instance.
        last: The one before, ended.
        waiting: Reason and message while it should run and does not.
        kill_at: When an instance that was asked to end is killed; monotonic seconds.
        pull_at: When an image that could not be pulled is tried again; monotonic seconds.
        pull_delay: How long it waited for that.
        rises_until: When an instance that is not ready yet is no longer waited for; monotonic seconds.
    """

    seen: Seen | None = None
    last: Seen | None = None
    waiting: tuple[str, str] = ("", "")
    backoff: Backoff = field(default_factory=Backoff)
    probes: Probes | None = None
    asking: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    probed: str = ""
    kill_at: float | None = None
    pull_at: float = 0.0
    pull_delay: float = 0.0
    rises_until: float = 0.0

    @property
    def running(self) -> bool:
        """Whether its latest instance runs."""
        return self.seen is not None and self.seen.state == State.RUNNING

    @property
    def ready(self) -> bool:
        """Ready is started, listening, and well by its readiness probe."""
        listens = self.running and self.seen is not None and self.seen.ready
        return listens and self.probes is not None and self.probes.started and self.probes.ready

    @property
    def rising(self) -> bool:
        """Whether it was started a moment ago, or is about to be, and may be ready at once."""
        if self.seen is None:
            return not self.waiting[0]
        return self.running and not self.ready and time.monotonic() < self.rises_until

    def close(self) -> None:
        """Nothing more is done about it."""
        self.stop_asking()
        if self.ending is not None:
            self.ending.cancel()

    def stop_asking(self) -> None:
        """Stop its probes."""
        if self.asking is not None:
            self.asking.cancel()
            self.asking = None


class Instances:
    """What a pod's worker does about its containers."""

    def __init__(self, worker: "PodWorker") -> None:
        self._worker = worker

    async def ensure(self, item: Container, unit: Unit) -> None:
        """See to it that a container runs, as far as its restart policy and back-off allow now."""
        if unit.running and unit.seen is not None:
            await self._keep(item, unit, unit.seen)
        elif unit.seen is None or await self._may_restart(item, unit, unit.seen):
            await self._start(item, unit)

    async def ensure_once(self, item: Container, unit: Unit) -> None:
        """Start an ephemeral container that never ran; nothing starts it again."""
        ran = self._next_attempt(item, unit) > 0
        if unit.seen is None and not ran:
            await self._start(item, unit)

    async def _keep(self, item: Container, unit: Unit, seen: Seen) -> None:
        """A running container: end it if it must be another one, or fails its probes."""
        why = ""
        if seen.config.hash != containers.spec_hash(item):
            why = f"Container {item.name} definition changed, will be restarted"
        elif unit.probes is not None and unit.probes.failed:
            why = f"Container {item.name} {unit.probes.failed}, will be restarted"
        if unit.kill_at is None and why:
            self._end(item, unit, seen, why)
        if unit.kill_at is not None:
            left = unit.kill_at - time.monotonic()
            if left <= 0:
                await self._worker.node.runtime.signal(seen.config.id, signal.SIGKILL)
            self._worker.wake_in(max(left, 0.05))

    def _end(self, item: Container, unit: Unit, seen: Seen, why: str) -> None:
        """Begin to end an instance that another one follows: preStop, SIGTERM, and SIGKILL when its grace is over."""
        self._worker.event("Normal", "Killing", why)
        grace = self._grace(item, unit)
        unit.kill_at = time.monotonic() + grace
        assert self._worker.tasks is not None, "a worker ends containers while it runs"

        async def end() -> None:
            with contextlib.suppress(NetpodError):
                if await hooks.pre_stop(self._worker, item, seen, grace):
                    unit.kill_at = time.monotonic() + hooks.LEAST_AFTER_HOOK
                # A shim that is away is back before the grace is over, and then it is SIGKILL.
                await self._worker.node.runtime.signal(seen.config.id, signal.SIGTERM)
            self._worker.poke()

        name = f"end {key_of(self._worker.pod)} {item.name}"
        unit.ending = self._worker.tasks.create_task(end(), name=name)

    async def _may_restart(self, item: Container, unit: Unit, seen: Seen) -> bool:
        """Whether an ended container starts again now; if later, when."""
        assert self._worker.sandbox is not None, "a pod's containers start in its sandbox"
        policy = (
            "Always"
            if status.is_sidecar(item)
            else self._worker.pod.spec.restart_policy or "Always"
        )
        initializes = item in self._worker.pod.spec.init_containers and not status.is_sidecar(item)
        again = policy == "Always" or (policy == "OnFailure" and not succeeded(seen))
        if initializes:
            moved = seen.config.sandbox_id != self._worker.sandbox.config.id
            again = moved or (policy != "Never" and not succeeded(seen))
        if not again:
            return False
        if seen.config.hash != containers.spec_hash(item):
            unit.backoff = Backoff()
            return True
        now, ended = time.time(), meta.parse_timestamp(seen.finished_at).timestamp()
        left = unit.backoff.remaining(ended, now)
        if left <= 0:
            unit.backoff.next(ended, now)
            return True
        if unit.waiting[0] != "CrashLoopBackOff":
            names = self._worker.pod.metadata
            key = f"{names.name}_{names.namespace}({names.uid})"
            delay = f"{unit.backoff.delay:g}s"
            message = f"back-off {delay} restarting failed container={item.name} pod={key}"
            unit.waiting = ("CrashLoopBackOff", message)
            about = f"Back-off restarting failed container {item.name} in pod {key}"
            self._worker.event("Warning", "BackOff", about)
        self._worker.wake_in(left)
        return False

    async def _start(self, item: Container, unit: Unit) -> None:
        assert self._worker.sandbox is not None, "a pod's containers start in its sandbox"
        if not self._may_pull(item, unit):
            return
        try:
            attempt = self._next_attempt(item, unit)
            pulled = await starting.fetch(self._worker, item)
            config, program = await starting.compile(self._worker, item, attempt)
        except CannotStart as error:
            self._cannot(item, unit, error)
            return
        if program.stands_in:
            what = "the built-in stand-in" if program.app else "a shell of this machine"
            message = f'Image "{item.image}" is not on this machine: {what} runs instead'
            self._worker.event("Normal", "StandIn", message)
        elif not pulled:
            message = f'Container image "{item.image}" already present on machine'
            self._worker.event("Normal", "Pulled", message)
        try:
            seen = await self._worker.node.runtime.start_container(config)
        except NetpodError as error:
            unit.waiting = ("RunContainerError", str(error))
            self._worker.event("Warning", "Failed", f"Error: {error}")
            raise
        unit.last, unit.seen, unit.waiting, unit.kill_at = unit.seen, seen, ("", ""), None
        self._worker.event("Normal", "Created", f"Created container {item.name}")
        if seen.reason == "StartError":
            self._worker.event("Warning", "Failed", f"Error: {seen.message}")
            self._worker.poke()
            return
        self._worker.event("Normal", "Started", f"Started container {item.name}")
        if seen.unlimited:
            lacking = " and ".join(seen.unlimited)
            message = (
                f"Limits of container {item.name} are not enforced: no usable {lacking} cgroup"
            )
            self._worker.event("Warning", "CgroupUnavailable", message)
        self.observe(item, unit)
        await self._post_start(item, unit, seen)
        if unit.last is not None and unit.last.config.sandbox_id == seen.config.sandbox_id:
            await self._worker.node.runtime.remove_container(unit.last.config.id)

    def _may_pull(self, item: Container, unit: Unit) -> bool:
        """Whether an image that could not be pulled is tried again now; if later, when."""
        left = unit.pull_at - time.monotonic()
        if left <= 0 or unit.waiting[0] not in ("ErrImagePull", "ImagePullBackOff"):
            return True
        shown = unit.pull_at - unit.pull_delay + PULL_SHOWN_SECONDS - time.monotonic()
        if unit.waiting[0] == "ErrImagePull" and shown > 0:
            left = shown
        elif unit.waiting[0] == "ErrImagePull":
            message = f'Back-off pulling image "{item.image}"'
            unit.waiting = ("ImagePullBackOff", message)
            self._worker.event("Normal", "BackOff", message)
            self._worker.event("Warning", "Failed", "Error: ImagePullBackOff")
        self._worker.wake_in(left)
        return False

    def _cannot(self, item: Container, unit: Unit, error: CannotStart) -> None:
        """A container cannot be started as things are: say so once, try again later."""
        seconds = RETRY_SECONDS
        pulled = error.reason == "ErrImagePull"
        if pulled:
            unit.pull_delay = min(unit.pull_delay * 2 or FIRST_PULL_DELAY, LONGEST_PULL_DELAY)
            unit.pull_at = time.monotonic() + unit.pull_delay
            seconds = PULL_SHOWN_SECONDS
        if unit.waiting != (error.reason, str(error)):
            of_image = error.reason in IMAGE_PROBLEMS
            self._worker.event(
                "Warning", error.event, str(error) if of_image else f"Error: {error}"
            )
            if of_image:
                self._worker.event("Warning", "Failed", f"Error: {error.reason}")
        unit.waiting = (error.reason, str(error))
        self._worker.wake_in(seconds)

    async def _post_start(self, item: Container, unit: Unit, seen: Seen) -> None:
        """Run postStart; the containers after this one wait for it, and it ends with the pod."""
        hook = item.lifecycle.post_start if item.lifecycle is not None else None
        if hook is None:
            return
        work = asyncio.ensure_future(hooks.run(self._worker, item, seen, hook))
        unit.waiting = ("ContainerCreating", "")
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=0.1)
                if self._worker.must_end or not self._worker.lives(seen):
                    return
        finally:
            work.cancel()
            unit.waiting = ("", "")
        answer = work.result()
        if answer.outcome != probes.Outcome.SUCCESS:
            self._worker.event("Warning", "FailedPostStartHook", "PostStartHook failed")
            self._end(item, unit, seen, "FailedPostStartHook")
            self._worker.poke()

    def _next_attempt(self, item: Container, unit: Unit) -> int:
        if unit.seen is not None:
            return unit.seen.config.attempt + 1
        old = self._worker.pod.status
        for known in (
            *old.container_statuses,
            *old.init_container_statuses,
            *old.ephemeral_container_statuses,
        ):
            if known.name == item.name and known.container_id:
                return known.restart_count + 1
        return 0

    def _grace(self, item: Container, unit: Unit) -> float:
        grace = self._worker.pod.spec.termination_grace_period_seconds
        failed = unit.probes.failed if unit.probes is not None else ""
        asked = item.startup_probe if "startup" in failed else item.liveness_probe
        if failed and asked is not None and asked.termination_grace_period_seconds is not None:
            grace = asked.termination_grace_period_seconds
        return 30.0 if grace is None else float(grace)

    def observe(self, item: Container, unit: Unit) -> None:
        """Ask a new instance, stop asking one that ended."""
        running = unit.seen if unit.running else None
        if unit.asking is not None and (running is None or running.config.id != unit.probed):
            unit.stop_asking()
        if running is None:
            return
        if unit.probed != running.config.id:
            unit.probed = running.config.id
            unit.kill_at = None
            unit.rises_until = time.monotonic() + RISE_SECONDS
            unit.probes = self._probes(item, running)
            if unit.probes.needed and self._worker.tasks is not None:
                name = f"probes {key_of(self._worker.pod)} {item.name}"
                unit.asking = self._worker.tasks.create_task(unit.probes.run(), name=name)
        if running.ready and unit.probes is not None:
            unit.probes.listening.set()

    def _probes(self, item: Container, seen: Seen) -> Probes:
        target = hooks.target(self._worker, item, seen)

        async def ask(kind: str, asked: Probe) -> probes.Answer:
            node, began = self._worker.node, time.monotonic()
            answer = await node.prober.ask(asked, replace(target, pod_ip=self._worker.pod_ip))
            seconds = time.monotonic() - began
            node.probed.note(self._worker.pod, item.name, kind, answer.outcome, seconds)
            return answer

        known = next(
            (
                known
                for known in self._worker.pod.status.container_statuses
                if known.name == item.name and known.container_id.endswith(f"//{seen.config.id}")
            ),
            None,
        )
        return Probes(
            item.startup_probe,
            item.liveness_probe,
            item.readiness_probe,
            ask=ask,
            changed=self._worker.poke,
            unhealthy=lambda _, why: self._worker.event("Warning", "Unhealthy", why),
            was_started=known is not None and bool(known.started),
            was_ready=known is not None and known.ready,
        )


def succeeded(seen: Seen) -> bool:
    """Whether an instance ended, and well."""
    return seen.state == State.EXITED and seen.exit_code == 0
