"""Containers that are looked into, and containers that must end: what becomes of them and what is said."""

import asyncio
import shutil
from typing import Any

import pytest

from netpod.api import codec
from netpod.api.core import Event
from netpod.api.pod import Pod
from tests.kernel.kubelet import lab as labs
from tests.kernel.kubelet.lab import Lab
from tests.kernel.kubelet.test_pods import first
from tests.kernel.kubelet.test_programs import ended, host, said

pytestmark = pytest.mark.skipif(
    shutil.which("crun") is None and shutil.which("runc") is None, reason="no OCI runtime"
)


def test_a_container_that_fails_its_probe_ends_as_its_author_said(lab: Lab) -> None:
    """preStop, then SIGTERM; the probe's own grace period, not the pod's; the command's words in the event."""

    async def main() -> None:
        async with lab.running():
            check = {"exec": {"command": ["sh", "-c", "echo no table; exit 1"]}}
            check |= {"periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1}
            goodbye = ["sh", "-c", "echo hook > /tmp/said"]
            item = host(
                "trap 'cat /tmp/said; echo term' TERM; while :; do sleep 0.1; done",
                livenessProbe=check,
                lifecycle={"preStop": {"exec": {"command": goodbye}}},
            )
            await lab.create("p", containers=[item], terminationGracePeriodSeconds=600)
            pod = await lab.wait("p", lambda it: first(it).restart_count > 0)
            assert said(pod).split() == ["hook", "term"]
            end = ended(pod)
            assert end is not None
            assert (end.exit_code, end.reason) == (137, "Error")
            events = (await lab.client.list(Event, "default")).items
            words = {it.message.strip() for it in events}
            assert "Liveness probe failed: no table" in words
            assert "Container c failed liveness probe, will be restarted" in words
            await lab.client.delete(Pod, "p", "default", grace_period_seconds=0)

    asyncio.run(main())


async def debug(lab: Lab, name: str, **container: Any) -> None:
    """Add an ephemeral container to pod `p`, beside those it has."""
    pod = await lab.pod("p")
    known = codec.encode(pod)["spec"].get("ephemeralContainers", [])
    change = {"spec": {"ephemeralContainers": [*known, {"name": name, **container}]}}
    await lab.client.patch(Pod, "p", "default", change, subresource="ephemeralcontainers")


def test_an_ephemeral_container_looks_into_a_running_pod(lab: Lab) -> None:
    """It shares the network, and with a target its processes; it runs once, and the pod's phase is not its own."""

    async def main() -> None:
        async with lab.running():
            await lab.create("p", containers=[host("exec sleep 600")])
            await lab.ready("p")
            script = "cat /proc/1/cmdline | tr '\\0' ' '; ip -4 -o addr show eth0; exit 3"
            command = ["sh", "-c", script]
            await debug(lab, "d", image="busybox", command=command, targetContainerName="c")
            pod = await lab.wait("p", lambda it: over(it, 0))
            status = pod.status.ephemeral_container_statuses[0]
            assert status.state.terminated is not None
            assert (status.state.terminated.exit_code, status.restart_count) == (3, 0)
            assert pod.status.phase == "Running"
            assert labs.is_ready(pod)
            words = said(pod, "d")
            assert words.startswith("sleep 600")
            assert pod.status.pod_ip in words
            await debug(lab, "own", image="netpod.dev/host", command=["cat", "/proc/1/cmdline"])
            pod = await lab.wait("p", lambda it: over(it, 1))
            assert "sleep" not in said(pod, "own")
            # A kubelet that starts again does not start them again.
            lab.kill("kubelet")
            lab.start_kubelet()
            await debug(lab, "last", image="netpod.dev/host", command=["true"])
            pod = await lab.wait("p", lambda it: over(it, 2))
            folder = labs.PATHS.pod_logs("default", "p", pod.metadata.uid)
            assert [it.name for it in (folder / "d").iterdir()] == ["0.log"]
            await lab.client.delete(Pod, "p", "default", grace_period_seconds=0)

    asyncio.run(main())


def over(pod: Pod, number: int) -> bool:
    """Whether an ephemeral container has ended."""
    found = pod.status.ephemeral_container_statuses
    return len(found) > number and found[number].state.terminated is not None


def test_a_name_that_is_none_of_an_image_is_said(lab: Lab) -> None:
    """InvalidImageName, though everything else would be stood in for; the words are the kubelet's."""

    async def main() -> None:
        async with lab.running():
            await lab.create("p", containers=[{"name": "c", "image": "Shop/Web:1"}])
            pod = await lab.wait("p", lambda it: first(it).state.waiting is not None)
            pod = await lab.wait("p", lambda it: "Invalid" in str(first(it).state.waiting))
            waiting = first(pod).state.waiting
            assert waiting is not None
            assert (waiting.reason, waiting.message) == (
                "InvalidImageName",
                'Failed to apply default image tag "Shop/Web:1": couldn\'t parse image name '
                '"Shop/Web:1": invalid reference format: repository name must be lowercase',
            )
            await lab.until(lambda: _reasons(lab, {"InspectFailed", "Failed"}))

    asyncio.run(main())


async def _reasons(lab: Lab, wanted: set[str]) -> bool:
    return wanted <= {it.reason for it in (await lab.client.list(Event, "default")).items}


def test_what_the_kernel_calls_a_pod(lab: Lab) -> None:
    """Its full name if it asks for that; the node's on the host's network, with the node's hosts and its aliases."""

    async def main() -> None:
        async with lab.running():
            script = "hostname; echo $HOSTNAME; cat /etc/hosts"
            more: dict[str, Any] = {"restartPolicy": "Never", "containers": [host(script)]}
            full = {"hostname": "db", "subdomain": "sub", "setHostnameAsFQDN": True}
            await lab.create("full", **full, **more)
            aliases = [{"ip": "192.0.2.9", "hostnames": ["other"]}]
            await lab.create("node", hostNetwork=True, hostAliases=aliases, **more)
            pod = await lab.wait("full", lambda it: it.status.phase == "Succeeded")
            name = "db.sub.default.svc.cluster.local"
            lines = said(pod).splitlines()
            assert lines[:2] == [name, name]
            assert any(line.endswith(f"\t{name}\tdb") for line in lines)
            pod = await lab.wait("node", lambda it: it.status.phase == "Succeeded")
            lines = said(pod).splitlines()
            assert lines[:3] == [labs.NODE] * 2 + [
                "# Kubernetes-managed hosts file (host network)."
            ]
            assert lines[-1] == "192.0.2.9\tother"

    asyncio.run(main())
