"""Lifecycle hooks: what a pod wants done right after a container started and right before it ends.

Source: kubernetes pkg/kubelet/lifecycle/handlers.go.
"""

import asyncio
from typing import TYPE_CHECKING

from netpod.api.cri import Container as Seen
from netpod.api.pod import Container, LifecycleHandler, Probe
from netpod.kubelet import container as containers
from netpod.kubelet import probe as probes
from netpod.kubelet.probe import Answer, Outcome, Target

if TYPE_CHECKING:
    from netpod.kubelet.podworker import PodWorker

LEAST_AFTER_HOOK = 2.0
"""Seconds a container has after a preStop that used its grace period up. Source: minimumGracePeriodInSeconds."""
LONGEST = 24 * 3600
"""Seconds a hook may take that has no limit of its own."""


def target(worker: "PodWorker", item: Container, seen: Seen) -> Target:
    """Return whom probes and hooks of a container ask."""

    async def run(argv: tuple[str, ...], seconds: float) -> tuple[int, str]:
        return await worker.node.runtime.exec_quietly(seen, argv, seconds)

    return Target(
        pod_ip=worker.pod_ip,
        ports=item.ports,
        stands_in=seen.config.program is None and not containers.built_in(item.image),
        run=run,
    )


async def run(
    worker: "PodWorker",
    item: Container,
    seen: Seen,
    hook: LifecycleHandler,
    seconds: float = LONGEST,
) -> Answer:
    """Do what a hook says; a stand-in, which lacks what a command would need, has done it."""
    if hook.sleep:
        await asyncio.sleep(min(seconds, float(hook.sleep.get("seconds", 0))))
        return Answer(Outcome.SUCCESS)
    asked = Probe(
        http_get=hook.http_get,
        tcp_socket=hook.tcp_socket,
        exec_=hook.exec_,
        timeout_seconds=int(seconds) + 1,
    )
    if hook.http_get is not None:
        # A hook comes at once, a server that has just been started not.
        await _listens(worker, item, seen, hook)
    return await worker.node.prober.ask(asked, target(worker, item, seen))


async def pre_stop(worker: "PodWorker", item: Container, seen: Seen, seconds: float) -> bool:
    """Run preStop, if there is one; True when it took all the seconds it had."""
    hook = item.lifecycle.pre_stop if item.lifecycle is not None else None
    if hook is None or seconds <= 0:
        return False
    try:
        async with asyncio.timeout(seconds):
            answer = await run(worker, item, seen, hook, seconds)
    except TimeoutError:
        return True
    if answer.outcome != Outcome.SUCCESS:
        # What a hook says stays out of events: it may be a secret.
        worker.event("Warning", "FailedPreStopHook", "PreStopHook failed")
    return False


async def _listens(
    worker: "PodWorker", item: Container, seen: Seen, hook: LifecycleHandler
) -> None:
    assert hook.http_get is not None, "only HTTP hooks wait"
    place = target(worker, item, seen)
    for _ in range(20):
        try:
            port = probes.resolve(hook.http_get.port, item.ports)
            _, writer = await asyncio.open_connection(hook.http_get.host or place.pod_ip, port)
        except (OSError, ValueError):
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
