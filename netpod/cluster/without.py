"""Components of Kubernetes that are left out of a cluster, so that somebody else's can be run in their place.

    kube-scheduler, kube-controller-manager     run where 127.0.0.1 is the machine's
    kube-proxy                                  runs in a node's network namespace

Each gets a kubeconfig of the user that kubeadm gives it, in the cluster's folder of /run/netpod. docs/components.md has
the command lines.
"""

from pathlib import Path

from netpod.errors import UsageError
from netpod.paths import Paths

KUBE_PROXY, CONTROLLERS, SCHEDULER = "kube-proxy", "kube-controller-manager", "kube-scheduler"
COMPONENTS = (SCHEDULER, CONTROLLERS, KUBE_PROXY)


def parse(text: str) -> tuple[str, ...]:
    """Read "kube-scheduler,kube-proxy": the components that are left out, in the order of COMPONENTS.

    Raises:
        UsageError: there is no component of that name.
    """
    named = [part.strip() for part in text.split(",") if part.strip()]
    for name in named:
        if name not in COMPONENTS:
            known = ", ".join(COMPONENTS)
            raise UsageError(f"cannot leave out {name!r} (--without): there are {known}")
    return tuple(name for name in COMPONENTS if name in named)


def kubeconfig(paths: Paths, component: str) -> Path:
    """Where the kubeconfig for somebody else's component lies."""
    return paths.run / f"{component}.kubeconfig"


def require_own(text: str, component: str, what: str) -> None:
    """Raise UsageError where something is asked of a component that is not ours.

    Args:
        text: What is left out.
        component: Who would have to do it.
        what: That cannot be done, e.g. "change the proxy mode".
    """
    if component in parse(text):
        raise UsageError(f"cannot {what}: this cluster was started --without {component}")
