"""Which namespace a probe stands in: `outside`, `node/NAME`, `pod/NAME` (pure)."""

from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.errors import NotFound, UsageError
from netpod.paths import Paths
from netpod.trace.model import Role
from netpod.trace.objects import ClusterObjects
from netpod.trace.topology import Place


def resolve(paths: Paths, objects: ClusterObjects, text: str, namespace: str) -> Place:
    """Return the place that `--from` names.

    Args:
        paths: The cluster's names.
        objects: Its objects.
        text: "outside", "edge", "node/NAME", "pod/NAME" or "pod/NAMESPACE/NAME".
        namespace: Of a pod that is named without one.

    Raises:
        UsageError: it is none of these.
        NotFound: there is no such node or pod, or the pod does not run.
    """
    kind, _, name = text.partition("/")
    if text == "outside":
        return Place(netns=paths.netns_outside, role=Role.OUTSIDE)
    if text == "edge":
        return Place(netns=paths.netns_edge, role=Role.EDGE)
    if kind in ("node", "nodes", "no") and name:
        if all(node.metadata.name != name for node in objects.nodes):
            known = ", ".join(sorted(n.metadata.name for n in objects.nodes)) or "none"
            raise NotFound(f'nodes "{name}" not found; there are {known}')
        return Place(netns=paths.netns_node(name), role=Role.NODE, node=name)
    if kind in ("pod", "pods", "po") and name:
        return pod_place(paths, find_pod(objects, name, namespace))
    raise UsageError(
        f"cannot trace from {text}: say outside, node/NAME or pod/NAME (with -n NAMESPACE)"
    )


def find_pod(objects: ClusterObjects, name: str, namespace: str) -> Pod:
    """Return a pod that runs, by "NAME" or "NAMESPACE/NAME".

    Raises:
        NotFound: there is none, or it has no address yet.
    """
    if "/" in name:
        namespace, _, name = name.partition("/")
    for pod in objects.pods:
        if (pod.metadata.namespace, pod.metadata.name) == (namespace, name):
            if not pod.status.pod_ip or not pod.spec.node_name:
                phase = pod.status.phase or "Pending"
                raise NotFound(f'pods "{name}" in namespace {namespace} has no address ({phase})')
            return pod
    raise NotFound(f'pods "{name}" not found in namespace {namespace}')


def pod_place(paths: Paths, pod: Pod) -> Place:
    """Return where a pod's network is: its own namespace, or its node's."""
    node = pod.spec.node_name
    key = Key(pod.metadata.namespace, pod.metadata.name)
    if pod.spec.host_network:
        return Place(netns=paths.netns_node(node), role=Role.NODE, node=node)
    name = paths.netns_pod(node, key.namespace, key.name)
    return Place(netns=name, role=Role.POD, node=node, pod=key)
