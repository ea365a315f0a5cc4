"""Faults of processes: SIGKILL to a component or to a pod's containers, as a crash would end them.

Nobody is told. The supervisor starts a component again, the kubelet a container, by its restart policy.
"""

import signal
from typing import Any

from netpod.cluster import role
from netpod.cluster.config import ClusterConfig
from netpod.cluster.role import SUPERVISOR, Role
from netpod.errors import KernelError, NotFound
from netpod.linux import pids, process
from netpod.paths import Paths
from netpod.shim import pidfile, records


def component(config: ClusterConfig, word: str) -> int:
    """Kill the process that `supervisor`, `controlplane`, `node/NAME` or `shim/NAME` names; return its pid.

    Raises:
        NotFound: there is no such component, its node is stopped, or it does not run now.
    """
    known = {_word(each): each for each in (SUPERVISOR, *role.roles(config))}
    if word not in known:
        raise NotFound(
            f'component "{word}" not found or stopped; there are {", ".join(known)} and pod/NAME'
        )
    pid = role.holder(config.paths, known[word])
    try:
        started = pids.start_time(pid) if pid else 0
    except KernelError:
        pid = started = 0
    # Asked again: were the number somebody else's by now, the role would not be his.
    if not pid or role.holder(config.paths, known[word]) != pid or not _kill(pid, started):
        raise NotFound(f"cannot kill {word}: it does not run now")
    return pid


def containers(paths: Paths, pod: dict[str, Any], only: str = "") -> dict[str, int]:
    """Kill the running containers of a pod, or one; return pid by container name.

    Args:
        paths: Of the cluster.
        pod: As the API shows it.
        only: Name of the one container; "" for all that run.

    Raises:
        NotFound: the pod has no such container, or none runs now.
    """
    name = pod["metadata"]["name"]
    found = _containers(pod)
    if only and only not in found:
        raise NotFound(
            f"container {only} is not valid for pod {name}; there are {', '.join(found)}"
        )
    killed = {}
    for container, identity in found.items():
        if identity and only in ("", container):
            node = paths.node(pod["spec"]["nodeName"])
            known = pidfile.read(records.containers(node) / identity)
            if known is not None and _kill(known.pid, known.started):
                killed[container] = known.pid
    if not killed:
        what = f"container {only}" if only else "any container"
        raise NotFound(f"cannot kill {what} of pod {name}: it does not run now")
    return killed


def _word(of: Role) -> str:
    return f"{of.kind}/{of.node}" if of.node else of.kind


def _containers(pod: dict[str, Any]) -> dict[str, str]:
    """Id by name, in the order of the spec; "" of one that does not run."""
    spec, status = pod["spec"], pod.get("status", {})
    found = {}
    for kind in ("initContainer", "container", "ephemeralContainer"):
        for container in spec.get(f"{kind}s", ()):
            found[container["name"]] = ""
        for state in status.get(f"{kind}Statuses", ()):
            if "running" in state.get("state", {}):
                found[state["name"]] = state["containerID"].rpartition("//")[2]
    return found


def _kill(pid: int, started: int) -> bool:
    return process.signal_process(pid, started, signal.SIGKILL)
