"""May the pod run there, and in which words it may not."""

import pytest

from netpod.api.meta import Json, Key, LabelSelector
from netpod.api.node import Node, Taint
from netpod.api.pod import (
    Container,
    Pod,
    PodSpec,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
)
from netpod.api.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from netpod.scheduler import filters, model
from netpod.scheduler.cache import Cache
from tests.unit.scheduler import builders

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
APP = {"app": "web"}


def ask(pod: Pod, cache: Cache) -> tuple[list[str], str]:
    """Return the nodes that fit, and the message if none does."""
    nodes = cache.candidates()
    outcome = filters.feasible(model.pod_info(pod), nodes, cache)
    return [n.name for n in outcome.fits], "" if outcome.fits else outcome.message()


def test_message_counts_nodes_by_reason_as_upstream_does() -> None:
    """One tainted node and two full ones: sorted reasons, each with its number of nodes."""
    taint = Taint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule")
    nodes = [
        builders.node("control-plane", taints=(taint,)),
        builders.node("worker"),
        builders.node("worker2"),
    ]
    _, message = ask(builders.pod(requests={"cpu": "5"}), builders.cluster(nodes))
    assert message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint "
        "{node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu."
    )
    assert ask(builders.pod(), builders.cluster([]))[1] == (
        "0/0 nodes are available: no nodes available to schedule pods."
    )


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (builders.node("n", unschedulable=True), "node(s) were unschedulable"),
        (
            builders.node("n", ready="False"),
            "node(s) had untolerated taint {node.kubernetes.io/not-ready: }",
        ),
        (
            builders.node("n", ready="Unknown"),
            "node(s) had untolerated taint {node.kubernetes.io/unreachable: }",
        ),
        (
            builders.node("n", taints=(Taint(key="db", value="x", effect="NoExecute"),)),
            "node(s) had untolerated taint {db: x}",
        ),
        (builders.node("n", pods="0"), "Too many pods"),
        (builders.node("n", memory="1Mi"), "Insufficient memory"),
    ],
)
def test_one_reason_per_obstacle(node: Node, reason: str) -> None:
    """Each obstacle is named in upstream's words."""
    pod = builders.pod(requests={"memory": "2Mi"})
    assert ask(pod, builders.cluster([node])) == ([], f"0/1 nodes are available: 1 {reason}.")


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="db", operator="Exists"), True),
        (Toleration(key="db", operator="Equal", value="x", effect="NoSchedule"), True),
        (Toleration(key="db", value="y"), False),
        (Toleration(key="db", value="x", effect="NoExecute"), False),
    ],
)
def test_tolerations_cover_taints(toleration: Toleration, fits: bool) -> None:
    """Key, value and effect must agree; what is left out agrees with all."""
    node = builders.node("n", taints=(Taint(key="db", value="x", effect="NoSchedule"),))
    found, _ = ask(builders.pod(tolerations=(toleration,)), builders.cluster([node]))
    assert bool(found) is fits


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ({"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}, ["a"]),
        ({"key": "disk", "operator": "NotIn", "values": ["ssd"]}, ["b", "c"]),
        ({"key": "disk", "operator": "Exists"}, ["a", "b"]),
        ({"key": "disk", "operator": "DoesNotExist"}, ["c"]),
        ({"key": "cores", "operator": "Gt", "values": ["8"]}, ["b"]),
        ({"key": "cores", "operator": "Lt", "values": ["8"]}, ["a"]),
    ],
)
def test_node_affinity_operators(requirement: Json, fits: list[str]) -> None:
    """Each operator, on nodes with and without the label."""
    nodes = [
        builders.node("a", labels={"disk": "ssd", "cores": "4"}),
        builders.node("b", labels={"disk": "hdd", "cores": "16"}),
        builders.node("c"),
    ]
    terms = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    assert ask(builders.pod(node_affinity=affinity), builders.cluster(nodes))[0] == fits


def test_node_selector_and_fields_must_match() -> None:
    """nodeSelector names labels; matchFields the node's name; an empty term matches nothing."""
    cache = builders.cluster([builders.node("a"), builders.node("b")])
    assert ask(builders.pod(node_selector={HOST: "b"}), cache)[0] == ["b"]
    field = {"key": "metadata.name", "operator": "In", "values": ["a"]}
    cases: tuple[tuple[Json, list[str]], ...] = (
        ([{"matchFields": [field]}, {}], ["a"]),
        ([{}], []),
    )
    for terms, fits in cases:
        affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        assert ask(builders.pod(node_affinity=affinity), cache)[0] == fits


def test_host_port_is_free_once_per_node() -> None:
    """A second pod with the same host port goes elsewhere, a third nowhere."""
    nodes = [builders.node("a"), builders.node("b")]
    placed = [(builders.pod("x", host_port=8080), "a")]
    assert ask(builders.pod(host_port=8080), builders.cluster(nodes, placed))[0] == ["b"]
    placed.append((builders.pod("y", host_port=8080), "b"))
    _, message = ask(builders.pod(host_port=8080), builders.cluster(nodes, placed))
    assert "2 node(s) didn't have free ports for the requested pod ports" in message


def test_requests_are_the_sum_or_the_largest_init_container() -> None:
    """Init containers run one after the other, beside the sidecars before them."""

    def container(cpu: str, *, sidecar: bool = False) -> Container:
        wanted = ResourceRequirements(requests={"cpu": cpu})
        return Container(resources=wanted, restart_policy="Always" if sidecar else None)

    spec = PodSpec(
        containers=(container("100m"), container("200m")),
        init_containers=(container("50m", sidecar=True), container("1"), container("20m")),
        overhead={"cpu": "10m"},
    )
    assert model.requests_of(spec) == {"cpu": 1060}


def required(term: Json) -> Json:
    """Return affinity that requires a term."""
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


NEAR_WEB = {"labelSelector": {"matchLabels": APP}, "topologyKey": HOST}


def test_anti_affinity_holds_both_ways() -> None:
    """A pod keeps away from others, and others keep away from it, though they did not ask."""
    nodes = [builders.node("a"), builders.node("b")]
    shy = builders.pod("shy", labels=APP, pod_anti_affinity=required(NEAR_WEB))
    web = builders.pod("web", labels=APP)
    assert ask(shy, builders.cluster(nodes, [(web, "a")]))[0] == ["b"]
    assert ask(web, builders.cluster(nodes, [(shy, "a")]))[0] == ["b"]
    _, message = ask(web, builders.cluster(nodes[:1], [(shy, "a")]))
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in message


def test_affinity_needs_company_except_for_the_first_of_its_kind() -> None:
    """The first pod of a group that wants to be together may go anywhere."""
    nodes = [builders.node("a"), builders.node("b")]
    first = builders.pod("first", labels=APP, pod_affinity=required(NEAR_WEB))
    guest = builders.pod("guest", pod_affinity=required(NEAR_WEB))
    assert ask(first, builders.cluster(nodes))[0] == ["a", "b"]
    assert ask(first, builders.cluster(nodes, [(first, "b")]))[0] == ["b"]
    assert "didn't match pod affinity rules" in ask(guest, builders.cluster(nodes))[1]


def test_affinity_looks_into_the_namespaces_it_names() -> None:
    """Its own by default; those with the labels of namespaceSelector otherwise."""
    nodes = [builders.node("a"), builders.node("b")]
    other = builders.pod("web", namespace="other", labels=APP)
    cache = builders.cluster(nodes, [(other, "b")])
    cache.namespaces = {"shop": {}, "other": {"team": "x"}}
    plain = builders.pod("p", pod_affinity=required(NEAR_WEB))
    assert ask(plain, cache)[0] == []
    term = {**NEAR_WEB, "namespaceSelector": {"matchLabels": {"team": "x"}}}
    assert ask(builders.pod("p", pod_affinity=required(term)), cache)[0] == ["b"]


def test_spread_keeps_the_skew() -> None:
    """With maxSkew 1 the third pod must go to the zone that has none."""
    nodes = [
        builders.node("a", labels={ZONE: "x"}),
        builders.node("b", labels={ZONE: "y"}),
        builders.node("c"),
    ]
    spread = TopologySpreadConstraint(
        max_skew=1,
        topology_key=ZONE,
        when_unsatisfiable="DoNotSchedule",
        label_selector=LabelSelector(match_labels=APP),
    )
    pod = builders.pod("new", labels=APP, spreads=(spread,))
    placed = [(builders.pod("w1", labels=APP), "a")]
    assert ask(pod, builders.cluster(nodes, placed))[0] == ["b"]
    _, message = ask(pod, builders.cluster([nodes[2]]))
    assert (
        "node(s) didn't match pod topology spread constraints (missing required label)" in message
    )


def test_spread_counts_the_nodes_its_policies_let_count() -> None:
    """A tainted node counts as an empty domain, one the nodeSelector excludes does not; both can be turned."""
    taint = Taint(key="gpu", effect="NoSchedule")
    nodes = [
        builders.node("a", labels={ZONE: "x", "disk": "ssd"}),
        builders.node("b", labels={ZONE: "y", "disk": "ssd"}, taints=(taint,)),
        builders.node("c", labels={ZONE: "z"}),
    ]
    placed = [(builders.pod("w1", labels=APP), "a")]

    def fits(choice: dict[str, str], **policies: str) -> list[str]:
        spread = TopologySpreadConstraint(
            max_skew=1,
            topology_key=ZONE,
            when_unsatisfiable="DoNotSchedule",
            label_selector=LabelSelector(match_labels=APP),
            **policies,
        )
        pod = builders.pod("new", labels=APP, spreads=(spread,), node_selector=choice)
        return ask(pod, builders.cluster(nodes, placed))[0]

    ssd = {"disk": "ssd"}
    assert fits(ssd) == []
    assert fits(ssd, node_taints_policy="Honor") == ["a"]
    assert fits(ssd, node_taints_policy="Honor", node_affinity_policy="Ignore") == []


def test_min_domains_treats_missing_domains_as_empty() -> None:
    """With fewer domains than asked for, the least is 0: each domain takes maxSkew pods and no more."""
    nodes = [builders.node("a", labels={ZONE: "x"}), builders.node("b", labels={ZONE: "y"})]
    placed = [
        (builders.pod("w1", labels=APP), "a"),
        (builders.pod("w2", labels=APP), "b"),
    ]
    for domains, expected in ((2, ["a", "b"]), (3, [])):
        spread = TopologySpreadConstraint(
            max_skew=1,
            topology_key=ZONE,
            when_unsatisfiable="DoNotSchedule",
            label_selector=LabelSelector(match_labels=APP),
            min_domains=domains,
        )
        pod = builders.pod("new", labels=APP, spreads=(spread,))
        assert ask(pod, builders.cluster(nodes, placed))[0] == expected


def test_a_volume_that_is_on_one_node_keeps_its_pod_there() -> None:
    """A PersistentVolume's node affinity is obeyed."""
    nodes = [builders.node("a"), builders.node("b")]
    cache = builders.cluster(nodes)
    key = Key("shop", "data")
    cache.volumes.claims[key] = PersistentVolumeClaim(
        spec=PersistentVolumeClaimSpec(volume_name="pv"),
        status=PersistentVolumeClaimStatus(phase="Bound"),
    )
    there = {"matchExpressions": [{"key": HOST, "operator": "In", "values": ["b"]}]}
    cache.volumes.volumes["pv"] = PersistentVolume(
        spec=PersistentVolumeSpec(node_affinity={"required": {"nodeSelectorTerms": [there]}})
    )
    assert ask(builders.pod(claims=("data",)), cache)[0] == ["b"]
    cache.set_node("b", None)
    message = ask(builders.pod(claims=("data",)), cache)[1]
    assert message == "0/1 nodes are available: 1 node(s) had volume node affinity conflict."
