"""Facts that a program sees from inside its pod, and that hold while the pod ends."""

import asyncio
import shutil

import pytest

from netpod.api.pod import Pod
from netpod.kubelet import runtime
from netpod.linux import iptables
from tests.kernel.kubelet import lab as labs
from tests.kernel.kubelet.lab import Lab
from tests.kernel.kubelet.test_pods import first
from tests.kernel.kubelet.test_programs import completed, host, said

pytestmark = pytest.mark.skipif(
    shutil.which("crun") is None and shutil.which("runc") is None, reason="no OCI runtime"
)
SHARED = {"volumeMounts": [{"name": "e", "mountPath": "/e"}]}
VOLUMES = [{"name": "e", "emptyDir": {}}]


async def run_in(name: str, script: str) -> int:
    """Run a script in a pod's container; its exit code."""
    return await asyncio.get_running_loop().run_in_executor(
        None,
        lambda: runtime.exec_in_pod(
            labs.PATHS.shim_socket(labs.NODE), "default", name, ["sh", "-c", script], timeout=5
        ),
    )


def test_names_are_asked_as_dns_config_says(lab: Lab) -> None:
    """With dnsPolicy None /etc/resolv.conf has what dnsConfig names, and nothing else."""

    async def main() -> None:
        async with lab.running():
            config = {
                "nameservers": ["192.0.2.53", "192.0.2.54"],
                "searches": ["shop.example", "example"],
                "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
            }
            pod = await completed(lab, "cat /etc/resolv.conf", dnsPolicy="None", dnsConfig=config)
            assert said(pod).splitlines() == [
                "search shop.example example",
                "nameserver 192.0.2.53",
                "nameserver 192.0.2.54",
                "options ndots:1 edns0",
            ]

    asyncio.run(main())


@pytest.mark.parametrize("share", [True, False])
def test_two_programs_see_each_other_only_if_they_share(lab: Lab, share: bool) -> None:
    """Sharing, process 1 is the sandbox's and the other program is there; else each is process 1 and alone."""

    async def main() -> None:
        async with lab.running():
            look = (  # In a manifest $$ is $.
                "until test -e /e/there; do sleep 0.02; done; echo $$$$; "
                "grep -l '61[.]5' /proc/[0-9]*/cmdline | wc -l; readlink /proc/self/ns/pid"
            )
            other = "readlink /proc/self/ns/pid > /e/new; mv /e/new /e/there; exec sleep 61.5"
            await lab.create(
                "p",
                containers=[
                    host(f"{look}; cat /e/there", **SHARED),
                    host(other, **{**SHARED, "name": "other"}),
                ],
                volumes=VOLUMES,
                shareProcessNamespace=share,
                restartPolicy="Never",
                terminationGracePeriodSeconds=1,
            )
            pod = await lab.wait(
                "p", lambda it: any(s.state.terminated for s in it.status.container_statuses)
            )
            pid, seen, mine, others = said(pod).split()
            assert (pid == "1", int(seen) > 0, mine == others) == (not share, share, share)

    asyncio.run(main())


def test_a_host_port_goes_with_its_pod(lab: Lab) -> None:
    """The node's port leads to the pod, and no other pod gets it; afterwards nothing answers, and no rule is left."""

    async def main() -> None:
        async with lab.running():
            port = {"containerPort": 80, "hostPort": 8888}
            container = {"name": "c", "image": "nginx:1.27", "ports": [port]}
            await lab.create("web", containers=[container], terminationGracePeriodSeconds=1)
            pod = await lab.ready("web")

            async def answers() -> bool:
                return '"web"' in await lab.get(node_address(pod), port=8888)

            await lab.until(answers)
            await lab.create("rival", containers=[container])
            rival = await lab.wait("rival", lambda it: it.status.phase == "Failed")
            words = "Pod was rejected: Predicate NodePorts failed"
            assert (rival.status.reason, rival.status.message) == ("NodePorts", words)
            await lab.client.delete(Pod, "web", "default")
            await lab.gone("web")
            await lab.until(lambda: "8888" not in iptables.save(labs.NETNS, "nat"))
            assert await lab.get(node_address(pod), port=8888) == ""

    asyncio.run(main())


def node_address(pod: Pod) -> str:
    """The node's own address on the pod network: the bridge's, the first of the pod CIDR."""
    return pod.status.pod_ip.rpartition(".")[0] + ".1"


def test_readiness_is_asked_while_a_pod_ends(lab: Lab) -> None:
    """Between SIGTERM and the end the pod becomes unready and ready as its probe says, without a restart."""

    async def main() -> None:
        async with lab.running():
            check = {"exec": {"command": ["test", "-f", "/e/well"]}, "periodSeconds": 1}
            item = host(
                "trap '' TERM; touch /e/well; until test -e /e/end; do sleep 0.05; done",
                startupProbe={**check, "failureThreshold": 20},
                readinessProbe={**check, "failureThreshold": 1},
                livenessProbe={**check, "failureThreshold": 1},
                **SHARED,
            )
            spec = {"volumes": VOLUMES, "terminationGracePeriodSeconds": 60}
            await lab.create("p", containers=[item], **spec)
            await lab.ready("p")
            await lab.client.delete(Pod, "p", "default")
            await lab.wait("p", lambda it: it.metadata.deletion_timestamp)
            # Unready by the probe, not by the deletion: it comes back with what the probe asks for.
            assert await run_in("p", "rm /e/well") == 0
            await lab.wait("p", lambda it: not labs.is_ready(it))
            assert await run_in("p", "touch /e/well") == 0
            pod = await lab.ready("p")
            assert (bool(pod.metadata.deletion_timestamp), first(pod).restart_count) == (True, 0)
            assert await run_in("p", "touch /e/end") == 0
            await lab.gone("p")

    asyncio.run(main())
