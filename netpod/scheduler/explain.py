"""Why a pod runs where it runs, or nowhere: every filter and score of every node (pure).

Asked of objects as the API server has them, so that anybody who can read them can ask.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from netpod.api import meta
from netpod.api.core import Namespace
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.policy import PodDisruptionBudget
from netpod.api.service import Service
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from netpod.errors import BadRequest
from netpod.scheduler import filters, model, preemption, scores
from netpod.scheduler.cache import Cache
from netpod.scheduler.likeness import Set


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The objects that a decision depends on."""

    nodes: Iterable[Node] = ()
    pods: Iterable[Pod] = ()
    namespaces: Iterable[Namespace] = ()
    claims: Iterable[PersistentVolumeClaim] = ()
    volumes: Iterable[PersistentVolume] = ()
    classes: Iterable[StorageClass] = ()
    budgets: Iterable[PodDisruptionBudget] = ()
    services: Iterable[Service] = ()
    sets: Iterable[Set] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerdict:
    """What is said of one node.

    Attributes:
        node: Its name.
        plugin: The filter that refuses it, "" when it fits.
        reasons: In its words.
        scores: From 0 to 100, by plug-in; only of nodes that fit.
        total: Their weighted sum.
    """

    node: str
    plugin: str = ""
    reasons: tuple[str, ...] = ()
    scores: dict[str, int] = field(default_factory=dict)
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would be decided about a pod now.

    Attributes:
        nodes: Best first, then those that do not fit.
        chosen: The node it would get, "" for none.
        message: Why none, as the FailedScheduling event says it.
        victims: Pods that would be evicted for it, as namespace/name.
    """

    nodes: tuple[NodeVerdict, ...]
    chosen: str
    message: str = ""
    victims: tuple[str, ...] = ()


def explain(pod: Pod, world: World) -> Explanation:
    """Decide about a pod as if it had no node yet and everything else stood as it does.

    Raises:
        BadRequest: the pod's affinity, spread constraints or requests are malformed.
    """
    info = model.pod_info(pod)
    cache = _cache(pod, world)
    nodes = cache.candidates()
    outcome = filters.feasible(info, nodes, cache)
    parts, totals = scores.rate(info, outcome.fits, outcome.state)
    fitting = [
        NodeVerdict(node=outcome.fits[i].name, scores=parts[i], total=totals[i])
        for i in scores.order(outcome.fits, totals)
    ]
    others = [
        NodeVerdict(node=name, plugin=refused.plugin, reasons=refused.reasons)
        for name, refused in outcome.refused.items()
    ]
    message = "" if fitting else outcome.message()
    victims: tuple[str, ...] = ()
    chosen = fitting[0].node if fitting else ""
    if not fitting and nodes and not (why := preemption.objection(info, cache)):
        candidate, why = preemption.find(info, nodes, outcome, cache, world.budgets)
        if candidate is not None:
            victims = tuple(str(victim.key) for victim in candidate.victims)
            chosen = candidate.node
        else:
            message = f"{message} preemption: {why}"
    elif not fitting and nodes:
        message = f"{message} preemption: {why}"
    return Explanation(nodes=(*fitting, *others), chosen=chosen, message=message, victims=victims)


def _cache(pod: Pod, world: World) -> Cache:
    cache = Cache()
    for node in world.nodes:
        cache.set_node(node.metadata.name, node)
    for namespace in world.namespaces:
        cache.namespaces[namespace.metadata.name] = namespace.metadata.labels
    cache.volumes.claims = {meta.key_of(it): it for it in world.claims}
    cache.volumes.volumes = {it.metadata.name: it for it in world.volumes}
    cache.volumes.classes = {it.metadata.name: it for it in world.classes}
    for service in world.services:
        cache.likeness.set_service(None, service)
    for made_by in world.sets:
        cache.likeness.set_set(None, made_by)
    for other in world.pods:
        if other.metadata.uid == pod.metadata.uid or other.status.phase in ("Succeeded", "Failed"):
            continue
        try:
            info = model.pod_info(other)
        except BadRequest:
            info = model.bare(other)
        if other.spec.node_name:
            cache.set_pod(info, other.spec.node_name)
        elif other.status.nominated_node_name:
            cache.nominated[info.key] = (info, other.status.nominated_node_name)
    return cache
