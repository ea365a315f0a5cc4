"""Connection tracking tables of a cluster, with the names of what the addresses mean."""

from collections.abc import Iterable
from dataclasses import dataclass

from netpod.api.meta import Key
from netpod.errors import KernelError, NotFound, UsageError
from netpod.ip import Family
from netpod.linux import conntrack, netns
from netpod.paths import Paths
from netpod.trace import where
from netpod.trace.families import cluster_ips, pod_ips
from netpod.trace.objects import ClusterObjects, load_balancer_ips
from netpod.trace.topology import Place
from netpod.trace.world import observe_world

_NODES = ("node", "no", "nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry on one node; `meaning` names the Service and the endpoint, or is ""."""

    place: Place
    flow: conntrack.Flow
    meaning: str


def of_cluster(paths: Paths, objects: ClusterObjects, target: str, namespace: str) -> list[Row]:
    """Return the entries of all nodes and the edge, or of one node, or of one Service.

    Args:
        paths: The cluster's names.
        objects: Its objects.
        target: "", svc/NAME or node/NAME.
        namespace: Of the Service.

    Raises:
        UsageError: the target has no such form.
        NotFound: there is no such object.
    """
    world = observe_world(paths, objects)
    places = [world.place(name) for name in world.ruled()]
    wanted: frozenset[str] | None = None
    kind, _, name = target.partition("/")
    if kind in ("svc", "service", "services"):
        wanted = _addresses(objects, Key(namespace, name))
    elif target:
        if kind not in _NODES or not name:
            raise UsageError(f"cannot list connections of {target!r}: say svc/NAME or node/NAME")
        places = [where.resolve(paths, objects, target, namespace)]
    rows = []
    for place in places:
        for flow in _listed(place.netns):
            ends = {str(flow.original.destination), str(flow.reply.source)}
            if wanted is None or ends & wanted:
                meaning = _meaning(
                    world.name_of(flow.original.destination), world.name_of(flow.reply.source)
                )
                rows.append(Row(place=place, flow=flow, meaning=meaning))
    return rows


def _addresses(objects: ClusterObjects, key: Key) -> frozenset[str]:
    service = objects.service(key)
    if service is None:
        raise NotFound(f'services "{key.name}" not found in namespace {key.namespace}')
    found = {*cluster_ips(service), *load_balancer_ips(service), *service.spec.external_ips}
    found |= {ip for pod in objects.endpoint_pods(key) for ip in pod_ips(pod)}
    return frozenset(found - {"", "None"})


def _listed(name: str) -> Iterable[conntrack.Flow]:
    try:
        if not netns.exists(name):
            return []
        return [flow for it in Family for flow in conntrack.observe(name, family=it)]
    except KernelError:
        return ()


def _meaning(to: str, at: str) -> str:
    return f"{to} → {at}" if to and at and to != at else to or at
