"""Logs of containers that the runtime has no more, or not yet: whether there is one, and where.

A finished pod's sandbox is gone; what its containers wrote stays until the pod goes. A container that is being started
may have its file before this kubelet knows of the container: until it is reported to run it is waiting, and has no log.

Source: pkg/kubelet/kubelet_pods.go validateContainerLogStatus.
"""

from pathlib import Path

from netpod.api.pod import Pod
from netpod.api.pod_status import ContainerStatus
from netpod.errors import BadRequest
from netpod.paths import Paths

_CAUSES = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def status_of(pod: Pod | None, container: str) -> ContainerStatus | None:
    """What was last reported of a container."""
    if pod is None:
        return None
    statuses = (
        *pod.status.init_container_statuses,
        *pod.status.container_statuses,
        *pod.status.ephemeral_container_statuses,
    )
    return next((item for item in statuses if item.name == container), None)


def find(paths: Paths, pod: Pod | None, container: str, name: str) -> Path:
    """Where the log of a container is that nobody but the API server remembers.

    Args:
        paths: The cluster's.
        pod: As it was last reported; None when it is gone.
        container: Which of its containers.
        name: The pod's, to be said.

    Raises:
        BadRequest: it has none.
    """
    status = status_of(pod, container)
    state = status.state if status is not None else None
    ended = state is not None and state.terminated is not None
    if pod is not None and status is not None and (ended or (state is not None and state.running)):
        meta = pod.metadata
        folder = paths.pod_logs(meta.namespace, meta.name, meta.uid)
        path = folder / container / f"{status.restart_count}.log"
        if path.exists():
            return path
    subject = f'container "{container}" in pod "{name}"'
    if ended:
        raise BadRequest(f"{subject} is terminated")
    waiting = state.waiting if state is not None else None
    reason = waiting.reason if waiting is not None else "ContainerCreating"
    raise BadRequest(f"{subject} is waiting to start: {_CAUSES.get(reason, reason)}")
