"""Pods whose containers an OCI runtime starts: from manifest to log."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from netpod.api import codec
from netpod.api.core import ConfigMap, Event, Secret
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod
from netpod.api.pod_status import ContainerStateTerminated
from netpod.api.service import Service
from netpod.kubelet import runtime
from tests.kernel.kubelet import lab as labs
from tests.kernel.kubelet.lab import Lab
from tests.kernel.kubelet.test_pods import first

pytestmark = pytest.mark.skipif(
    shutil.which("crun") is None and shutil.which("runc") is None, reason="no OCI runtime"
)


def host(script: str, **more: Any) -> dict[str, Any]:
    """A container that runs a shell of the machine."""
    return {"name": "c", "image": "netpod.dev/host", "command": ["sh", "-c", script], **more}


def said(pod: Pod, container: str = "c", attempt: int = 0) -> str:
    """What a container wrote."""
    names = pod.metadata
    folder = labs.PATHS.pod_logs(names.namespace, names.name, names.uid)
    text = (folder / container / f"{attempt}.log").read_text()
    return "".join(line.split(" ", 3)[3] for line in text.splitlines(keepends=True))


def ended(pod: Pod) -> ContainerStateTerminated | None:
    """How the pod's only container ended, now or before."""
    status = first(pod)
    return status.state.terminated or status.last_state.terminated


async def told(lab: Lab, *wanted: str) -> bool:
    """Whether there are Events of these reasons."""
    return await reasons(lab) >= set(wanted)


async def reasons(lab: Lab) -> set[str]:
    """Reasons of all events."""
    return {it.reason for it in (await lab.client.list(Event, "default")).items}


async def completed(lab: Lab, script: str, **spec: Any) -> Pod:
    """Run a script to its end."""
    more = spec.pop("container", {})
    await lab.create("p", containers=[host(script, **more)], restartPolicy="Never", **spec)
    return await lab.wait("p", lambda it: it.status.phase in ("Succeeded", "Failed"))


def test_a_program_serves(lab: Lab) -> None:
    """A server of the machine answers at the pod's address; exec is inside its namespaces; it ends by SIGTERM."""

    async def main() -> None:
        async with lab.running():
            serve = "import http.server as h; h.HTTPServer(('', 80), h.SimpleHTTPRequestHandler)"
            script = f'cd /tmp; echo hello > index.html; exec python3 -c "{serve}.serve_forever()"'
            probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
            check = {"exec": {"command": ["test", "-f", "/tmp/index.html"]}, "periodSeconds": 1}
            item = host(script, readinessProbe=probe, livenessProbe=check)
            await lab.create("p", containers=[item], terminationGracePeriodSeconds=1)
            pod = await lab.ready("p")
            assert await lab.get(pod.status.pod_ip) == "hello\n"
            await lab.client.delete(Pod, "p", "default")
            await lab.gone("p")

    asyncio.run(main())


def test_its_environment(lab: Lab) -> None:
    """Sources, the downward API, expansion, Services; arguments see it too."""

    async def main() -> None:
        async with lab.running():
            await lab.client.create(
                ConfigMap(metadata=ObjectMeta(name="cm", namespace="default"), data={"k": "v"})
            )
            await lab.client.create(
                Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"p": "c2VjcmV0"})
            )
            web: dict[str, Any] = {"apiVersion": "v1", "kind": "Service"}
            web |= {"metadata": {"name": "web", "namespace": "default"}}
            web |= {"spec": {"ports": [{"port": 81}]}}
            await lab.client.create(codec.decode(Service, web))
            env = [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "ALL", "value": "$(A)-$(B)-$(WEB_SERVICE_PORT)"},
            ]
            source = [{"prefix": "X_", "configMapRef": {"name": "cm"}}]
            more = {"env": env, "envFrom": source, "workingDir": "/usr"}
            more |= {"args": ["$(A)"]}
            more |= {"command": ["sh", "-c", "echo $ALL $IP $X_k $0; pwd; hostname"]}
            pod = await completed(lab, "", container=more)
            address = pod.status.pod_ip or "10.244.1"
            words = said(pod).split()
            assert words[0] == "v-secret-81"
            assert words[1].startswith(address[:8])
            assert words[2:] == ["v", "v", "/usr", "p"]

    asyncio.run(main())


def test_a_missing_source_is_a_config_error(lab: Lab) -> None:
    """Upstream's reason and words; the container starts once the source is there."""

    async def main() -> None:
        async with lab.running():
            env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}]
            await lab.create("p", containers=[host("exec sleep 60", env=env)])
            pod = await lab.wait("p", lambda it: _waits(it, "CreateContainerConfigError"))
            waiting = first(pod).state.waiting
            assert waiting is not None
            assert waiting.message == 'secret "s" not found'

    asyncio.run(main())


def _waits(pod: Pod, reason: str) -> bool:
    waiting = first(pod).state.waiting
    return waiting is not None and waiting.reason == reason


def test_volumes(lab: Lab, tmp_path: Path) -> None:
    """Files of ConfigMaps, Secrets and of the pod change with them; an emptyDir is shared; a hostPath needs leave."""

    async def main() -> None:
        lab.allow_host_path = (tmp_path,)
        (tmp_path / "given").write_text("given\n")
        async with lab.running():
            names = ObjectMeta(name="cm", namespace="default")
            await lab.client.create(ConfigMap(metadata=names, data={"k": "old"}))
            volumes = [
                {"name": "cm", "configMap": {"name": "cm"}},
                {"name": "e", "emptyDir": {}},
                {"name": "h", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
                {
                    "name": "d",
                    "downwardAPI": {
                        "items": [
                            {"path": "n", "fieldRef": {"fieldPath": "metadata.name"}},
                            {"path": "a", "fieldRef": {"fieldPath": "metadata.annotations"}},
                        ]
                    },
                },
            ]
            mounts = [
                {"name": "cm", "mountPath": "/etc/my-config"},
                {"name": "cm", "mountPath": "/srv/one", "subPath": "k"},
                {"name": "e", "mountPath": "/shared"},
                {"name": "h", "mountPath": "/given", "readOnly": True},
                {"name": "d", "mountPath": "/pod"},
            ]
            script = (
                "cat /etc/my-config/k /srv/one /given/given /pod/n; echo; touch /given/x;"
                "touch /etc/my-config/x; touch /shared/mine;"
                "until grep -q new /etc/my-config/k; do sleep 0.05; done; cat /srv/one;"
                "until grep noted /pod/a; do sleep 0.05; done; exit 7"
            )
            other = host("until test -f /shared/mine; do sleep 0.05; done", name="o")
            item = host(script, volumeMounts=mounts)
            other["volumeMounts"] = [{"name": "e", "mountPath": "/x"}]
            other["command"][2] = "until test -f /x/mine; do sleep 0.05; done"
            spec = {"containers": [item, other], "volumes": volumes, "restartPolicy": "Never"}
            await lab.create("p", **spec)
            await lab.wait("p", lambda it: len(it.status.container_statuses) == 2)
            await lab.until(lambda: _written("given"))
            await lab.client.patch(ConfigMap, "cm", "default", {"data": {"k": "new"}})
            note = {"metadata": {"annotations": {"noted": "yes"}}}
            await lab.client.patch(Pod, "p", "default", note)
            pod = await lab.wait("p", lambda it: it.status.phase == "Failed")
            text = said(pod)
            assert text.startswith("oldoldgiven\np\n")
            assert text.count("Read-only file system") == 2
            assert text.endswith('oldnoted="yes"\n')
            assert not (tmp_path / "x").exists()

    asyncio.run(main())


def _written(text: str) -> bool:
    return any(text in path.read_text() for path in labs.PATHS.run.glob("pods/*/c/0.log"))


def test_a_volume_without_its_source_holds_the_pod_up(lab: Lab) -> None:
    """FailedMount says so; the pod starts as soon as the source is there."""

    async def main() -> None:
        async with lab.running():
            volumes = [{"name": "v", "configMap": {"name": "cm"}}]
            await lab.create("p", volumes=volumes)

            async def told() -> bool:
                return "FailedMount" in await reasons(lab)

            await lab.until(told)
            assert (await lab.pod("p")).status.pod_ip == ""
            names = ObjectMeta(name="cm", namespace="default")
            await lab.client.create(ConfigMap(metadata=names, data={"k": "v"}))
            await lab.ready("p")

    asyncio.run(main())


def test_a_command_that_is_not_there(lab: Lab) -> None:
    """StartError with 128, told in an event, then the back-off."""

    async def main() -> None:
        async with lab.running():
            item = {"name": "c", "image": "netpod.dev/host", "command": ["no-such-program"]}
            await lab.create("p", containers=[item])
            pod = await lab.wait("p", lambda it: _waits(it, "CrashLoopBackOff"))
            how = ended(pod)
            assert how is not None
            assert (how.exit_code, how.reason) == (128, "StartError")
            assert "executable file not found in $PATH" in how.message
            await lab.until(lambda: told(lab, "Failed"))

    asyncio.run(main())


def test_hooks(lab: Lab, tmp_path: Path) -> None:
    """postStart and preStop run inside the container; the pod is not Running before postStart is done."""

    async def main() -> None:
        lab.allow_host_path = (tmp_path,)
        async with lab.running():
            after = {"exec": {"command": ["sh", "-c", "sleep 0.2; echo after > /tmp/a"]}}
            before = {"exec": {"command": ["sh", "-c", "echo stop > /tmp/stop; sleep 0.3"]}}
            script = (
                "trap 'cat /tmp/a /tmp/stop > /out/said; exit 0' TERM; while :; do sleep 0.05; done"
            )
            item = host(script, lifecycle={"postStart": after, "preStop": before})
            item["volumeMounts"] = [{"name": "out", "mountPath": "/out"}]
            volumes = [{"name": "out", "hostPath": {"path": str(tmp_path)}}]
            await lab.create("p", containers=[item], volumes=volumes)
            await lab.ready("p")
            await lab.client.delete(Pod, "p", "default")
            await lab.gone("p")
            assert (tmp_path / "said").read_text().split() == ["after", "stop"]

    asyncio.run(main())


def test_a_failing_post_start_hook_ends_the_container(lab: Lab) -> None:
    """It is killed and starts again; an event says why."""

    async def main() -> None:
        async with lab.running():
            hook = {"postStart": {"exec": {"command": ["false"]}}}
            item = host("exec sleep 60", lifecycle=hook)
            await lab.create("p", containers=[item], terminationGracePeriodSeconds=0)

            async def told() -> bool:
                return "FailedPostStartHook" in await reasons(lab)

            await lab.until(told)
            await lab.wait("p", lambda it: first(it).restart_count > 0)

    asyncio.run(main())


def test_kernel_parameters(lab: Lab) -> None:
    """Safe ones are set in the pod's own namespace; a pod that asks for another one is refused, and stays so."""

    async def main() -> None:
        async with lab.running():
            wanted = {"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"}
            script = "cat /proc/sys/net/ipv4/ip_local_port_range"
            pod = await completed(lab, script, securityContext={"sysctls": [wanted]})
            assert said(pod).split() == ["2000", "3000"]
            unsafe = {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}
            await lab.create("q", containers=[host("exec sleep 60")], securityContext=unsafe)
            pod = await lab.wait("q", lambda it: it.status.phase == "Failed")
            words = 'Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted'
            assert (pod.status.reason, pod.status.message) == ("SysctlForbidden", words)
            assert pod.status.container_statuses == ()
            await lab.until(lambda: told(lab, "SysctlForbidden"))

    asyncio.run(main())


def test_the_deadline(lab: Lab) -> None:
    """A pod that is active for too long fails as DeadlineExceeded."""

    async def main() -> None:
        async with lab.running():
            spec = {"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 0}
            await lab.create("p", containers=[host("exec sleep 60")], **spec)
            pod = await lab.wait("p", lambda it: it.status.phase == "Failed")
            assert pod.status.reason == "DeadlineExceeded"

    asyncio.run(main())


def test_init_containers_and_sidecars(lab: Lab) -> None:
    """Init containers run in order and to their end; a sidecar starts before what follows and outlives it."""

    async def main() -> None:
        async with lab.running():
            volumes = [{"name": "e", "emptyDir": {}}]
            mounts = {"volumeMounts": [{"name": "e", "mountPath": "/e"}]}
            init = [
                host("echo one > /e/log", name="one", **mounts),
                host(
                    "echo side >> /e/log; exec sleep 60",
                    name="side",
                    restartPolicy="Always",
                    startupProbe={
                        "exec": {"command": ["grep", "side", "/e/log"]},
                        "periodSeconds": 1,
                    },
                    **mounts,
                ),
                host("echo two >> /e/log", name="two", **mounts),
            ]
            item = host("cat /e/log", **mounts)
            spec = {"containers": [item], "initContainers": init, "volumes": volumes}
            await lab.create("p", restartPolicy="Never", **spec)
            pod = await lab.wait("p", lambda it: it.status.phase == "Succeeded")
            assert said(pod).split() == ["one", "side", "two"]

    asyncio.run(main())


def test_shared_processes_and_last_words(lab: Lab) -> None:
    """The containers of the pod see each other's processes; the message file ends up in the status."""

    async def main() -> None:
        async with lab.running():
            # The pattern does not match itself, in the command lines of shell and grep.
            wait = "until grep -q '[o]ther' /proc/*/cmdline; do sleep 0.05; done"
            script = f"{wait}; echo bye > /dev/termination-log; exit 3"
            other = host("sleep 61; : other", name="o")
            spec = {"containers": [host(script), other], "shareProcessNamespace": True}
            await lab.create("p", restartPolicy="Never", **spec)
            pod = await lab.wait("p", lambda it: ended(it))
            how = ended(pod)
            assert how is not None
            assert (how.exit_code, how.message) == (3, "bye\n")

    asyncio.run(main())


def test_exec_from_outside(lab: Lab) -> None:
    """`exec_in_pod` enters the container's own file system."""

    async def main() -> None:
        async with lab.running():
            await lab.create("p", containers=[host("echo x > /tmp/mine; exec sleep 60")])
            await lab.ready("p")
            loop = asyncio.get_running_loop()
            argv = ["sh", "-c", "until test -f /tmp/mine; do sleep 0.02; done; exit 5"]
            code = await loop.run_in_executor(
                None,
                lambda: runtime.exec_in_pod(
                    labs.PATHS.shim_socket(labs.NODE), "default", "p", argv, timeout=3
                ),
            )
            assert code == 5

    asyncio.run(main())


def test_a_program_and_its_volumes_survive_the_kubelet(lab: Lab) -> None:
    """A new kubelet adopts a pod as it is, even when the source of its volume is gone meanwhile."""

    async def main() -> None:
        async with lab.running():
            names = ObjectMeta(name="cm", namespace="default")
            await lab.client.create(ConfigMap(metadata=names, data={"k": "v"}))
            volumes = [{"name": "v", "configMap": {"name": "cm"}}]
            mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
            await lab.create("p", containers=[host("exec sleep 60", **mounts)], volumes=volumes)
            before = await lab.ready("p")
            lab.kill("kubelet")
            await lab.client.delete(ConfigMap, "cm", "default")
            lab.start_kubelet()
            await lab.create("later")
            await lab.ready("later")
            after = await lab.ready("p")
            assert first(after).container_id == first(before).container_id
            assert after.status.pod_ip == before.status.pod_ip

    asyncio.run(main())
