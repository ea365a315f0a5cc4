"""From a container of a pod to what the shim is asked to start: image, environment, volumes, limits."""

import dataclasses
import secrets
import time
from typing import TYPE_CHECKING

from netpod.api.cri import ContainerConfig
from netpod.api.pod import Container, EphemeralContainer, Pod
from netpod.kubelet import container as containers
from netpod.kubelet import env as environments
from netpod.kubelet import image_names, images, programs, sources, status
from netpod.kubelet.container import Program
from netpod.kubelet.image import Image
from netpod.kubelet.refusal import CannotStart
from netpod.kubelet.volumes import Volumes

if TYPE_CHECKING:
    from netpod.kubelet.podworker import Node, PodWorker

SHELL = ("sh",)
"""What runs in a debugging container that names no command."""


async def fetch(worker: "PodWorker", item: Container) -> bool:
    """Pull a container's image if that is what its policy wants; True when it was.

    Raises:
        CannotStart: the image cannot be had.
    """
    node = worker.node
    if containers.built_in(item.image) or containers.repository(item.image) == containers.HOST:
        return False
    wrong = image_names.problem(item.image)
    if wrong:
        raise CannotStart("InvalidImageName", wrong, event="InspectFailed")
    if node.config.stand_in:
        return False
    if node.images.find(item.image) is not None and item.image_pull_policy != "Always":
        return False
    began = time.monotonic()
    if item.image_pull_policy != "Never":
        worker.event("Normal", "Pulling", f'Pulling image "{item.image}"')
    await images.pull(node.images, item)
    took = f"{round((time.monotonic() - began) * 1000)}ms"
    message = f'Successfully pulled image "{item.image}" in {took} ({took} including waiting)'
    worker.event("Normal", "Pulled", message)
    return True


def choose(node: "Node", pod: Pod, item: Container) -> tuple[Program, Image | None]:
    """Decide what runs for a container, whose image was pulled if it was to be.

    Raises:
        CannotStart: nothing can.
    """
    debugs = isinstance(item, EphemeralContainer)
    if containers.built_in(item.image):
        return containers.choose(item, stand_in=False, completes=False), None
    if containers.repository(item.image) != containers.HOST:
        image = node.images.find(item.image)
        if image is not None:
            return Program("", stands_in=False), image
    if debugs and (node.config.stand_in or containers.repository(item.image) == containers.HOST):
        # Who debugs wants tools: the machine's, where the image that was to bring them is not here.
        return Program("", stands_in=containers.repository(item.image) != containers.HOST), None
    initializes = item in pod.spec.init_containers and not status.is_sidecar(item)
    return containers.choose(item, stand_in=node.config.stand_in, completes=initializes), None


def only_stand_ins(node: "Node", pod: Pod) -> bool:
    """Whether nothing in the pod reads its volumes."""
    spec = pod.spec
    if spec.ephemeral_containers or not node.config.stand_in:
        return False
    everything = (*spec.init_containers, *spec.containers)
    return all(
        containers.repository(item.image) != containers.HOST
        and node.images.find(item.image) is None
        for item in everything
    )


async def volumes(node: "Node", pod: Pod, pod_ips: tuple[str, ...]) -> Volumes:
    """Prepare a pod's volumes.

    Raises:
        CannotStart: one cannot be had.
    """
    facts = sources.Facts(
        directory=node.sandboxes.files(pod.metadata.uid) / "volumes",
        pod_ips=pod_ips,
        host_ips=node.config.host_ips,
        allowed=node.config.allow_host_path,
        claimed=node.config.paths.volumes,
        lenient=only_stand_ins(node, pod),
    )
    return await sources.prepare(node.client, pod, facts)


async def compile(
    worker: "PodWorker", item: Container, attempt: int
) -> tuple[ContainerConfig, Program]:
    """Return what to ask of the shim.

    Raises:
        CannotStart: an image, a source of the environment or a user cannot be had.
    """
    assert worker.sandbox is not None, "a pod's containers start in its sandbox"
    node, pod = worker.node, worker.pod
    program, image = choose(node, pod, item)
    asked, target = item, ""
    if isinstance(item, EphemeralContainer):
        if image is None and not program.app and not (item.command or item.args):
            item = dataclasses.replace(item, command=SHELL)
        unit = worker.units.get(item.target_container_name)
        target = unit.seen.config.id if unit is not None and unit.seen is not None else ""
    env = await environments.compile(
        node.client,
        node.services,
        pod,
        item,
        hostname=worker.sandbox.config.hostname,
        pod_ips=worker.pod_ips,
        host_ips=node.config.host_ips,
    )
    logs = node.config.paths.pod_logs(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
    config = ContainerConfig(
        id=secrets.token_hex(32),
        sandbox_id=worker.sandbox.config.id,
        name=item.name,
        attempt=attempt,
        image=item.image,
        app=program.app,
        hash=containers.spec_hash(asked),
        args=tuple(environments.expand(arg, env) for arg in item.args),
        env={**(image.env if image is not None else {}), **env},
        ports=containers.ports(item, program),
        pod_ip=worker.pod_ip,
        log=str(logs / item.name / f"{attempt}.log"),
        program=None if program.app else programs.compile(pod, item, env, worker.volumes, image),
        resources=containers.resources(item),
        target=target,
    )
    return config, program
