"""Whether the node takes a pod that was bound to it; the scheduler is not the only one who binds (pure).

Source: kubernetes pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/sysctl.
"""

from collections.abc import Iterable

from netpod.api import hostports
from netpod.api.pod import Pod
from netpod.kubelet import sysctls

PORTS = "NodePorts"

Refusal = tuple[str, str]
"""Reason and message; both "" when the node takes the pod."""


def refusal(pod: Pod, others: Iterable[Pod]) -> Refusal:
    """Say why a pod is refused.

    Args:
        pod: The new pod.
        others: What the node took and has not ended.
    """
    wrong = sysctls.refusal(pod)
    if wrong:
        return sysctls.REFUSED, wrong
    mine = hostports.of(pod)
    taken = (port for other in others for port in hostports.of(other))
    before = pod.status.phase == "Failed" and pod.status.reason == PORTS
    if before or (mine and hostports.conflict(mine, taken)):
        return PORTS, f"Predicate {PORTS} failed"
    return "", ""
