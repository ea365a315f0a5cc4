"""What scheduling knows of a pod and of a node, in numbers.

CPU is in thousandths, everything else in whole units, both rounded up.

Source: kubernetes pkg/scheduler/framework/types.go, k8s.io/component-helpers resource.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from netpod.api import hostports, meta, podamounts, quantity, selectors
from netpod.api.hostports import HostPort
from netpod.api.meta import IntOrString, Key
from netpod.api.node import Node, Taint
from netpod.api.pod import Pod, PodSpec, TopologySpreadConstraint
from netpod.api.selectors import LabelQuery
from netpod.errors import BadRequest
from netpod.scheduler import terms, volumes
from netpod.scheduler.terms import NodeTerm, PodTerm

Amounts = Mapping[str, int]

DEFAULT_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024
"""What a container that asks for nothing counts for in scores. Source: scheduler/util/pod_resources.go."""
_ASSUMED = {"cpu": DEFAULT_CPU, "memory": DEFAULT_MEMORY}
CROWDS = 128
"""Questions of which a node remembers the answer; then it begins anew."""


def amount(name: str, value: IntOrString) -> int:
    """Turn a quantity into this module's unit for the resource."""
    number = quantity.parse(value)
    return math.ceil(number * 1000) if name == "cpu" else math.ceil(number)


def amounts(quantities: Mapping[str, IntOrString]) -> dict[str, int]:
    """Turn a list of quantities into numbers."""
    return {name: amount(name, value) for name, value in quantities.items()}


def requests_of(spec: PodSpec) -> dict[str, int]:
    """Return what a pod needs at any one time.

    The sum of its containers and sidecars, or the most any init container needs beside the sidecars before it,
    whichever is more, and the overhead of its runtime class.
    """
    total = Counter(podamounts.total(spec, lambda c: amounts(c.resources.requests)))
    total.update(amounts(spec.overhead))
    return {name: value for name, value in total.items() if value > 0}


def _scored(spec: PodSpec) -> tuple[int, int]:
    """Return CPU and memory for scores, with defaults for containers that say nothing."""
    total = Counter(podamounts.total(spec, lambda c: _ASSUMED | amounts(c.resources.requests)))
    total.update(amounts(spec.overhead))
    return total["cpu"], total["memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A topology spread constraint, ready to be asked."""

    query: LabelQuery
    key: str
    max_skew: int
    min_domains: int
    hard: bool
    counts_itself: bool
    honors_affinity: bool = True
    honors_taints: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """A pod and what scheduling asks of it; made once per version of the pod."""

    pod: Pod
    key: Key
    requests: Amounts
    scored_cpu: int
    scored_memory: int
    ports: tuple[HostPort, ...]
    node_terms: tuple[NodeTerm, ...] | None
    node_wishes: tuple[NodeTerm, ...]
    near: tuple[PodTerm, ...]
    far: tuple[PodTerm, ...]
    near_wishes: tuple[PodTerm, ...]
    far_wishes: tuple[PodTerm, ...]
    spreads: tuple[Spread, ...]
    priority: int
    claims: tuple[str, ...]
    """Names of the PersistentVolumeClaims it mounts."""
    images: tuple[str, ...]
    """Images of its containers, with tag, as nodes report theirs."""


def pod_info(pod: Pod) -> PodInfo:
    """Read a pod.

    Raises:
        BadRequest: its affinity, spread constraints or requests are malformed.
    """
    try:
        return _read(pod)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"cannot read spec of pod {meta.key_of(pod)}: {error}") from error


def bare(pod: Pod) -> PodInfo:
    """Read a malformed pod that runs all the same: only that it is there counts."""
    return _read(dataclasses.replace(pod, spec=PodSpec(node_name=pod.spec.node_name)))


def _read(pod: Pod) -> PodInfo:
    cpu, memory = _scored(pod.spec)
    return PodInfo(
        pod=pod,
        key=meta.key_of(pod),
        requests=requests_of(pod.spec),
        scored_cpu=cpu,
        scored_memory=memory,
        ports=hostports.of(pod),
        node_terms=terms.required_node_terms(pod),
        node_wishes=terms.preferred_node_terms(pod),
        near=terms.required_pod_terms(pod, "pod_affinity"),
        far=terms.required_pod_terms(pod, "pod_anti_affinity"),
        near_wishes=terms.preferred_pod_terms(pod, "pod_affinity"),
        far_wishes=terms.preferred_pod_terms(pod, "pod_anti_affinity"),
        spreads=tuple(_spread(pod, item) for item in pod.spec.topology_spread_constraints),
        priority=pod.spec.priority or 0,
        claims=volumes.claims_of(pod),
        images=tuple(with_tag(c.image) for c in (*pod.spec.init_containers, *pod.spec.containers)),
    )


def with_tag(image: str) -> str:
    """Return an image's name with the tag it means. Source: imagelocality normalizedImageName."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _spread(pod: Pod, constraint: TopologySpreadConstraint) -> Spread:
    query = terms.with_own_labels(
        selectors.from_label_selector(constraint.label_selector),
        pod,
        constraint.match_label_keys,
    )
    return Spread(
        query=query,
        key=constraint.topology_key,
        max_skew=constraint.max_skew,
        min_domains=constraint.min_domains or 1,
        hard=constraint.when_unsatisfiable != "ScheduleAnyway",
        counts_itself=query.matches(pod.metadata.labels),
        honors_affinity=constraint.node_affinity_policy != "Ignore",
        honors_taints=constraint.node_taints_policy == "Honor",
    )


class NodeInfo:
    """A node, the pods on it or on their way to it, and the sums over them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.allocatable: Amounts = {}
        self.taints: tuple[Taint, ...] = ()
        self.pods: dict[Key, PodInfo] = {}
        self.requested: Counter[str] = Counter()
        self.scored_cpu = 0
        self.scored_memory = 0
        self._crowds: dict[tuple[str, LabelQuery], int] = {}
        self.ports: Counter[HostPort] = Counter()
        self.images: Mapping[str, int] = {}

    def set_node(self, node: Node | None) -> None:
        """Take the Node object; None when it is gone and only pods are left."""
        self.node = node
        try:
            self.allocatable = amounts(node.status.allocatable) if node is not None else {}
        except ValueError:
            # A status may be patched by hand: a node that cannot say what it has, has nothing.
            self.allocatable = {}
        self.taints = effective_taints(node) if node is not None else ()
        self.images = _images(node) if node is not None else {}

    def changed(
        self, *, without: Collection[Key] = (), with_: Iterable[PodInfo] = ()
    ) -> "NodeInfo":
        """Return this node as it would be with some pods gone and others added."""
        other = NodeInfo(self.name)
        other.node, other.allocatable, other.taints = self.node, self.allocatable, self.taints
        other.images = self.images
        for info in (*self.pods.values(), *with_):
            if info.key not in without and info.key not in other.pods:
                other.add(info)
        return other

    def add(self, info: PodInfo) -> None:
        """Count a pod."""
        self.pods[info.key] = info
        self._count(info, 1)

    def remove(self, info: PodInfo) -> None:
        """Stop counting a pod."""
        del self.pods[info.key]
        self._count(info, -1)

    def _count(self, info: PodInfo, sign: int) -> None:
        for name, value in info.requests.items():
            self.requested[name] += sign * value
        self.scored_cpu += sign * info.scored_cpu
        self.scored_memory += sign * info.scored_memory
        for namespace, query in self._crowds:
            if _is_counted(info, namespace, query):
                self._crowds[namespace, query] += sign
        for port in info.ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]

    def crowd(self, namespace: str, query: LabelQuery) -> int:
        """Return how many pods of a namespace that are not on their way out a query matches."""
        found = self._crowds.get((namespace, query))
        if found is None:
            if len(self._crowds) >= CROWDS:
                self._crowds.clear()
            found = sum(_is_counted(info, namespace, query) for info in self.pods.values())
            self._crowds[namespace, query] = found
        return found

    def label(self, key: str) -> str | None:
        """Return a label of the node, None when it has none of that name."""
        return self.node.metadata.labels.get(key) if self.node is not None else None


def _is_counted(info: PodInfo, namespace: str, query: LabelQuery) -> bool:
    about = info.pod.metadata
    return (
        about.namespace == namespace
        and not about.deletion_timestamp
        and query.matches(about.labels)
    )


def _images(node: Node) -> dict[str, int]:
    """Return the size in bytes of each image the node has, by each of its names, also as authors shorten them."""
    found: dict[str, int] = {}
    for image in node.status.images:
        if isinstance(image, Mapping):
            for name in image.get("names") or ():
                short = str(name).removeprefix("docker.io/")
                size = int(image.get("sizeBytes") or 0)
                found |= dict.fromkeys((str(name), short, short.removeprefix("library/")), size)
    return found


def effective_taints(node: Node) -> tuple[Taint, ...]:
    """Return the node's taints, and the one its condition Ready will bring if it has not come yet."""
    ready = meta.condition(node.status.conditions, "Ready")
    if ready is not None and ready.status == "True":
        return node.spec.taints
    unknown = ready is not None and ready.status == "Unknown"
    key = f"node.kubernetes.io/{'unreachable' if unknown else 'not-ready'}"
    if any(t.key == key and t.effect == "NoSchedule" for t in node.spec.taints):
        return node.spec.taints
    return (*node.spec.taints, Taint(key=key, effect="NoSchedule"))
