"""Does every pod of a cluster have the MTU that its pod network has room for? One that is too big loses packets."""

from collections.abc import Iterator

from netpod.cluster import cleanup, up
from netpod.cluster import config as configuration
from netpod.cluster.config import ClusterConfig
from netpod.cluster.doctor import Check
from netpod.cni.flannel import LINKS
from netpod.errors import NetpodError
from netpod.linux import link

_OURS = ("cni0", *LINKS.values())


def examine() -> list[Check]:
    """Look at every cluster that runs on this machine."""
    return [_check(it) for it in _running()]


def _running() -> Iterator[ClusterConfig]:
    for name in cleanup.clusters():
        try:
            found = configuration.load(name)
        except NetpodError:
            continue
        if up.is_running(found):
            yield found


def _check(config: ClusterConfig) -> Check:
    sizes = dict(_sizes(config))
    wrong = [f"{name} {size}" for name, size in sizes.items() if size != config.mtu]
    found = f"{config.mtu} of {config.pod_network}, on {len(sizes)} links"
    return Check(
        name=f"MTU of pods of cluster {config.name}",
        ok=not wrong,
        found=f"{config.mtu} wanted, but {', '.join(wrong)}" if wrong else found,
        advice="ip netns exec NODE ip link set LINK mtu, or replace the pod",
        essential=False,
    )


def _sizes(config: ClusterConfig) -> Iterator[tuple[str, int]]:
    """Yield the links of pods and of the pod network on every node; a veth's two ends have one size each."""
    for node in config.running:
        name = config.paths.netns_node(node.name)
        try:
            links = link.observe_links(name)
        except NetpodError:
            continue
        for it in links:
            if it.name in _OURS or it.name.startswith("veth"):
                yield f"{name}/{it.name}", it.mtu
    for pod in cleanup.namespaces(config.name):
        if "." in pod:
            try:
                found = link.observe_link(pod, "eth0")
            except NetpodError:
                continue
            if found is not None:
                yield f"{pod}/eth0", found.mtu
