"""Which namespaces of a cluster a request may cross: found by their names and what the objects say."""

from collections.abc import Iterable

from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.linux import netns
from netpod.paths import Paths
from netpod.trace import where
from netpod.trace.model import Role
from netpod.trace.objects import INGRESS_SERVICE, ClusterObjects
from netpod.trace.topology import Place, World

MAX_PODS = 48
"""Pods that are listened to: closing a tap costs the kernel 13 ms, and a node's own taps see its pods' frames too."""


def observe_world(
    paths: Paths,
    objects: ClusterObjects,
    *,
    services: Iterable[Key] = (),
    client: Place | None = None,
    targets: Iterable[Pod] = (),
) -> World:
    """Find the namespaces of a cluster that a request to some Services or pods may cross.

    Args:
        paths: The cluster's names.
        objects: Its objects.
        services: Services the request may reach; their pods are listened to.
        client: Where the request starts; None is outside.
        targets: Other pods to listen to.

    Returns:
        The outside, edge, underlay and node namespaces that are there, the ingress controller's pods, and at most
        MAX_PODS pods of the Services; `note` says what was left out.
    """
    present = set(netns.list_netns(paths.netns_prefix))
    fixed = (
        (paths.netns_outside, Role.OUTSIDE),
        (paths.netns_edge, Role.EDGE),
        (paths.netns_underlay, Role.UNDERLAY),
    )
    places = {name: Place(netns=name, role=role) for name, role in fixed if name in present}
    for node in objects.nodes:
        name = paths.netns_node(node.metadata.name)
        if name in present:
            places[name] = Place(netns=name, role=Role.NODE, node=node.metadata.name)
    ingress = _running(objects.endpoint_pods(INGRESS_SERVICE))
    behind = [p for key in services for p in _running(objects.endpoint_pods(key))]
    wanted = [*_running(targets), *ingress, *behind]
    for pod in wanted[:MAX_PODS]:
        place = where.pod_place(paths, pod)
        if place.netns in present:
            places[place.netns] = place
    if client is not None and client.netns in present:
        places.setdefault(client.netns, client)
    left_out = len(wanted) - MAX_PODS
    return World(
        places=places,
        client=paths.netns_outside if client is None else client.netns,
        objects=objects,
        logs=tuple(
            paths.pod_logs(p.metadata.namespace, p.metadata.name, p.metadata.uid) / container.name
            for p in ingress
            for container in p.spec.containers
        ),
        lock=paths.trace_lock if paths.run.is_dir() else None,
        cache=paths.run / "skbdrop.json" if paths.run.is_dir() else None,
        note=f"{left_out} pods were not listened to" if left_out > 0 else "",
    )


def _running(pods: Iterable[Pod]) -> list[Pod]:
    return [p for p in pods if p.status.pod_ip and p.spec.node_name and not p.spec.host_network]
