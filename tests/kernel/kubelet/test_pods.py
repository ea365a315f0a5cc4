"""What becomes of pods: real processes, real addresses, real probes."""

import asyncio
import os
import signal

from netpod.api.core import Event
from netpod.api.pod import Pod
from netpod.api.pod_status import ContainerState, ContainerStatus
from netpod.kubelet import runtime
from netpod.linux import netns
from tests.kernel.kubelet import lab as labs
from tests.kernel.kubelet.lab import Lab


def first(pod: Pod) -> ContainerStatus:
    """Status of the pod's only container."""
    return next(iter(pod.status.container_statuses), ContainerStatus())


def test_a_stand_in_pod_becomes_ready_and_answers(lab: Lab) -> None:
    """A bound pod gets an address of the node's pod CIDR and its container answers there."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            pod = await lab.ready("web")
            assert pod.status.pod_ip.startswith("10.244.1.")
            assert pod.status.phase == "Running"
            assert first(pod).container_id.startswith("netpod://")
            assert '"pod":"web"' in await lab.get(pod.status.pod_ip)

            async def told() -> bool:
                events = (await lab.client.list(Event, "default")).items
                return {"StandIn", "Created", "Started"} <= {event.reason for event in events}

            await lab.until(told)

    asyncio.run(main())


def test_a_deleted_pod_leaves_nothing(lab: Lab) -> None:
    """After deletion the object, the namespace and the address are gone."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            pod = await lab.ready("web")
            await lab.client.delete(Pod, "web", "default")
            await lab.gone("web")
            assert netns.list_netns(labs.PATHS.netns_pod(labs.NODE, "default", "web")) == []
            assert await lab.get(pod.status.pod_ip) == ""

    asyncio.run(main())


def test_a_crashed_container_starts_again_at_once_then_waits(lab: Lab) -> None:
    """The first restart is immediate, the second waits as CrashLoopBackOff while the phase stays Running."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            pod = await lab.ready("web")
            await lab.get(pod.status.pod_ip, "/exit?code=3")
            pod = await lab.wait("web", lambda it: first(it).restart_count == 1 and first(it).ready)
            ended = first(pod).last_state.terminated
            assert ended is not None
            assert (ended.exit_code, ended.reason) == (3, "Error")
            await lab.get(pod.status.pod_ip, "/exit?code=0")

            def waits(state: ContainerState) -> bool:
                return state.waiting is not None and state.waiting.reason == "CrashLoopBackOff"

            pod = await lab.wait("web", lambda it: waits(first(it).state))
            assert pod.status.phase == "Running"

    asyncio.run(main())


def test_restart_policy_never_completes(lab: Lab) -> None:
    """A container that ends well under restartPolicy Never makes the pod Succeeded."""

    async def main() -> None:
        async with lab.running():
            await lab.create("job", restartPolicy="Never")
            pod = await lab.ready("job")
            await lab.get(pod.status.pod_ip, "/exit?code=0")
            pod = await lab.wait("job", lambda it: it.status.phase == "Succeeded")
            assert first(pod).restart_count == 0

    asyncio.run(main())


def test_readiness_follows_its_probe(lab: Lab) -> None:
    """A failing readiness probe takes the pod out of service without a restart."""

    async def main() -> None:
        async with lab.running():
            probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
            port = {"name": "http", "containerPort": 80}
            container = {
                "name": "c",
                "image": "x",
                "ports": [port],
                "readinessProbe": {**probe, "failureThreshold": 1},
            }
            await lab.create("web", containers=[container])
            pod = await lab.ready("web")
            await lab.get(pod.status.pod_ip, "/fail-ready?seconds=1")
            pod = await lab.wait("web", lambda it: not labs.is_ready(it))
            assert first(pod).restart_count == 0
            await lab.ready("web")

    asyncio.run(main())


def test_a_failing_liveness_probe_restarts_the_container(lab: Lab) -> None:
    """The kubelet ends a container whose liveness probe fails, and starts it again."""

    async def main() -> None:
        async with lab.running():
            probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
            container = {
                "name": "c",
                "image": "x",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {**probe, "failureThreshold": 1},
            }
            await lab.create("web", containers=[container])
            pod = await lab.ready("web")
            await lab.get(pod.status.pod_ip, "/fail-ready?seconds=60")
            await lab.wait("web", lambda it: first(it).restart_count == 1 and first(it).ready)

    asyncio.run(main())


def test_init_containers_come_first(lab: Lab) -> None:
    """Stood-in init containers complete, then the pod becomes ready."""

    async def main() -> None:
        async with lab.running():
            init = [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]
            await lab.create("web", initContainers=init)
            pod = await lab.ready("web")
            ended = [status.state.terminated for status in pod.status.init_container_statuses]
            assert [it.reason for it in ended if it is not None] == ["Completed", "Completed"]

    asyncio.run(main())


def test_a_killed_pause_process_is_replaced(lab: Lab) -> None:
    """A pod whose sandbox died gets a new one and its container runs again in it."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            await lab.ready("web")
            (pause,) = [
                int(entry)
                for entry in os.listdir("/proc")
                if entry.isdigit() and _command(entry).startswith("catatonit")
            ]
            os.kill(pause, signal.SIGKILL)
            pod = await lab.wait("web", lambda it: first(it).restart_count == 1 and first(it).ready)
            assert '"pod":"web"' in await lab.get(pod.status.pod_ip)

    asyncio.run(main())


def test_pods_survive_a_killed_kubelet(lab: Lab) -> None:
    """A new kubelet adopts running pods: same address, same container, no restart."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            before = await lab.ready("web")
            lab.kill("kubelet")
            assert '"pod":"web"' in await lab.get(before.status.pod_ip)
            await lab.create("later")
            lab.start_kubelet()
            await lab.ready("later")
            after = await lab.pod("web")
            assert first(after).container_id == first(before).container_id
            assert after.status.pod_ip == before.status.pod_ip

    asyncio.run(main())


def test_pods_survive_a_killed_shim(lab: Lab) -> None:
    """A new shim adopts running containers; the kubelet reconnects, starts what came meanwhile, and can end them."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            before = await lab.ready("web")
            lab.kill("shim")
            assert '"pod":"web"' in await lab.get(before.status.pod_ip)
            # Nothing of this one is known to the shim that comes: who waits for it must hear so all the same.
            await lab.create("later")
            await lab.wait("later", lambda it: bool(it.status.start_time))
            lab.start_shim()
            await lab.ready("later")
            after = await lab.pod("web")
            assert first(after).container_id == first(before).container_id
            await lab.client.delete(Pod, "web", "default")
            await lab.gone("web")

    asyncio.run(main())


def test_a_pod_deleted_while_the_kubelet_was_down_is_removed(lab: Lab) -> None:
    """What runs for an object that is gone is an orphan, and ends."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            await lab.ready("web")
            lab.kill("kubelet")
            await lab.client.delete(Pod, "web", "default", grace_period_seconds=0)
            lab.start_kubelet()
            name = labs.PATHS.netns_pod(labs.NODE, "default", "web")
            await lab.until(lambda: netns.list_netns(name) == [])

    asyncio.run(main())


def test_without_stand_in_an_image_is_missing(lab: Lab) -> None:
    """With --no-stand-in an image that is not here is ErrImagePull, not something else."""
    lab.stand_in = False

    async def main() -> None:
        async with lab.running():
            await lab.create("web")

            def missing(pod: Pod) -> bool:
                waiting = first(pod).state.waiting
                return waiting is not None and waiting.reason == "ErrImagePull"

            pod = await lab.wait("web", missing)
            assert pod.status.phase == "Pending"

    asyncio.run(main())


def test_exec_runs_inside_the_pod(lab: Lab) -> None:
    """A host program run by exec sees the pod's host name and resolver, and gives its exit code."""

    async def main() -> None:
        async with lab.running():
            await lab.create("web")
            pod = await lab.ready("web")
            script = (
                f'test "$(hostname)" = web && grep -q 10.96.0.10 /etc/resolv.conf '
                f"&& grep -q {pod.status.pod_ip} /etc/hosts && ! touch /etc/x 2>/dev/null && exit 7"
            )
            code = await asyncio.get_running_loop().run_in_executor(
                None,
                lambda: runtime.exec_in_pod(
                    labs.PATHS.shim_socket(labs.NODE), "default", "web", ["sh", "-c", script]
                ),
            )
            assert code == 7

    asyncio.run(main())


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""
