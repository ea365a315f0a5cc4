"""Where is the pod best."""

from collections import Counter

from netpod.api.meta import Json, ObjectMeta
from netpod.api.node import Taint
from netpod.api.pod import Pod
from netpod.api.service import Service, ServiceSpec
from netpod.scheduler import filters, model, scores
from netpod.scheduler.cache import Cache
from tests.unit.scheduler import builders


def choose(pod: Pod, cache: Cache) -> str:
    """Return the node the scheduler would take."""
    info = model.pod_info(pod)
    found = filters.feasible(info, cache.candidates(), cache)
    return scores.best(info, found.fits, found.state).name


def test_a_burst_spreads_evenly_before_any_echo() -> None:
    """100 pods of a Service over 3 nodes, decided on assumptions alone, are 33 or 34 each."""
    cache = builders.cluster([builders.node(n) for n in ("a", "b", "c")])
    app = {"app": "web"}
    service = Service(
        metadata=ObjectMeta(name="s", namespace="shop"), spec=ServiceSpec(selector=app)
    )
    cache.likeness.set_service(None, service)
    where: Counter[str] = Counter()
    for number in range(100):
        info = model.pod_info(builders.pod(f"p{number}", labels=app))
        found = filters.feasible(info, cache.candidates(), cache)
        chosen = scores.best(info, found.fits, found.state).name
        cache.assume(info, chosen)
        where[chosen] += 1
    assert sorted(where.values()) == [33, 33, 34]


def test_emptier_node_is_better() -> None:
    """The node with more CPU left takes the pod."""
    busy = builders.pod("busy", requests={"cpu": "3", "memory": "6Gi"})
    cache = builders.cluster([builders.node("a"), builders.node("b")], [(busy, "a")])
    assert choose(builders.pod(requests={"cpu": "100m"}), cache) == "b"


def test_equal_nodes_are_decided_by_name() -> None:
    """The same cluster always gives the same answer."""
    cache = builders.cluster([builders.node("b"), builders.node("a")])
    assert choose(builders.pod(), cache) == "a"


def test_preferred_node_affinity_and_taints_count() -> None:
    """A preference is followed where nothing forbids it, a PreferNoSchedule taint avoided."""
    nodes = [builders.node("a"), builders.node("b", labels={"disk": "ssd"})]
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    wish: Json = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]
    }
    assert choose(builders.pod(node_affinity=wish), builders.cluster(nodes)) == "b"
    taint = Taint(key="old", effect="PreferNoSchedule")
    nodes = [builders.node("a", taints=(taint,)), builders.node("b")]
    assert choose(builders.pod(), builders.cluster(nodes)) == "b"


def test_preferred_pod_affinity_counts() -> None:
    """Being beside the pods it prefers wins over an empty node."""
    term = {
        "labelSelector": {"matchLabels": {"app": "db"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    wish: Json = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}
        ]
    }
    placed = [(builders.pod("db", labels={"app": "db"}), "b")]
    cache = builders.cluster([builders.node("a"), builders.node("b")], placed)
    assert choose(builders.pod(pod_affinity=wish), cache) == "b"
    assert choose(builders.pod(pod_anti_affinity=wish), cache) == "a"
    # The wishes of those who are there count, too, and what one of them required when it came.
    required: Json = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    there = {"a": {"pod_affinity": required}, "b": {"pod_anti_affinity": wish}}
    for home, affinity in there.items():
        placed = [(builders.pod("there", **affinity), home)]
        nodes = [builders.node("b", cpu="8"), builders.node("a", cpu="8")]
        cache = builders.cluster(nodes, [*placed, (builders.pod("even"), "ba"[home == "b"])])
        info = model.pod_info(builders.pod("new", labels={"app": "db"}))
        found = filters.feasible(info, cache.candidates(), cache)
        assert scores.inter_pod_affinity(info, found.fits, found.state) == [100, 0]


def test_a_node_that_has_the_image_is_better() -> None:
    """A large image that is there already outweighs nothing else; a small one does not count."""
    big, small = 700 << 20, 1 << 20
    nodes = [builders.node("a"), builders.node("b", images={"shop/web:latest": big})]
    assert choose(builders.pod(image="shop/web"), builders.cluster(nodes)) == "b"
    full = {"docker.io/library/web:1": big}
    nodes = [builders.node("a"), builders.node("b", images=full)]
    assert choose(builders.pod(image="web:1"), builders.cluster(nodes)) == "b"
    nodes = [builders.node("a"), builders.node("b", images={"shop/web:1": small})]
    assert choose(builders.pod(image="shop/web:1"), builders.cluster(nodes)) == "a"
