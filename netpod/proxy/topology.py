"""Which endpoints of a service port may serve this node's traffic (pure).

Two lists, decided independently of each other:

    cluster   traffic policy Cluster: ready endpoints, narrowed by topology hints; if there is none, those that
              terminate but still serve
    local     traffic policy Local: the same over this node's endpoints; hints never apply

Source: kubernetes pkg/proxy/topology.go CategorizeEndpoints.
"""

from dataclasses import dataclass

from netpod.proxy.model import Endpoint, ServicePort


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """Usable endpoints of one service port; every tuple keeps the order of the endpoints given.

    Attributes:
        cluster: For traffic policy Cluster; empty when nothing uses that policy.
        local: For traffic policy Local; empty when nothing uses that policy.
        reachable: Union of both: the endpoints this node needs a chain for.
        anywhere: Some endpoint, on whatever node, could serve.
    """

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    reachable: tuple[Endpoint, ...]
    anywhere: bool


def categorize(
    port: ServicePort, endpoints: tuple[Endpoint, ...], *, node_name: str, zone: str = ""
) -> Categories:
    """Sort a service port's endpoints by who may use them on the node `node_name` of `zone`."""
    cluster: tuple[Endpoint, ...] = ()
    if port.uses_cluster_endpoints:
        cluster = _near(tuple(e for e in endpoints if e.ready), node_name, zone) or _draining(
            endpoints
        )
    local: tuple[Endpoint, ...] = ()
    if port.uses_local_endpoints:
        here = tuple(e for e in endpoints if e.is_local)
        local = tuple(e for e in here if e.ready) or _draining(here)
    if not local:
        reachable = cluster
    elif not cluster:
        reachable = local
    else:
        used = {e.address for e in cluster} | {e.address for e in local}
        reachable = tuple(e for e in endpoints if e.address in used)
    anywhere = bool(reachable) or any(e.ready or (e.serving and e.terminating) for e in endpoints)
    return Categories(cluster=cluster, local=local, reachable=reachable, anywhere=anywhere)


def _draining(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Endpoints that terminate but still answer: better than nothing while a rollout replaces the last pod."""
    return tuple(e for e in endpoints if e.serving and e.terminating)


def _near(ready: tuple[Endpoint, ...], node_name: str, zone: str) -> tuple[Endpoint, ...]:
    """Ready endpoints hinted at this node or zone; all of them as soon as one endpoint carries no hint."""
    if ready and all(e.node_hints for e in ready):
        same_node = tuple(e for e in ready if node_name in e.node_hints)
        if same_node:
            return same_node
    if zone and ready and all(e.zone_hints for e in ready):
        same_zone = tuple(e for e in ready if zone in e.zone_hints)
        if same_zone:
            return same_zone
    return ready
