"""How evenly pods would lie, in upstream's numbers: cases of podtopologyspread/scoring_test.go."""

import pytest

from netpod.api.apps import ReplicaSet, ReplicaSetSpec
from netpod.api.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from netpod.api.node import Node
from netpod.api.pod import TopologySpreadConstraint
from netpod.api.service import Service, ServiceSpec
from netpod.scheduler import filters, model, spreadscore
from netpod.scheduler.cache import Cache
from tests.unit.scheduler import builders

HOST = "kubernetes.io/hostname"
FOO = {"foo": ""}


def _soft(key: str, skew: int = 1, label: str = "foo") -> TopologySpreadConstraint:
    exists = LabelSelectorRequirement(key=label, operator="Exists")
    return TopologySpreadConstraint(
        max_skew=skew,
        topology_key=key,
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelector(match_expressions=(exists,)),
    )


def _crowded(nodes: list[Node], crowds: dict[str, str]) -> Cache:
    """Nodes with pods on them: for each node a letter per pod, f with label foo, b with bar, * with both."""
    labels = {"f": FOO, "b": {"bar": ""}, "*": {"foo": "", "bar": ""}}
    return builders.cluster(
        nodes,
        [
            (builders.pod(f"{name}{number}", labels=labels[letter]), name)
            for name, letters in crowds.items()
            for number, letter in enumerate(letters)
        ],
    )


def _scores(cache: Cache, *spreads: TopologySpreadConstraint, closed: str = "") -> list[int]:
    info = model.pod_info(builders.pod("new", labels={"foo": "", "bar": ""}, spreads=spreads))
    nodes = cache.candidates()
    state = filters.counting.prepare(info, nodes, cache)
    fits = [node for node in nodes if node.name not in closed]
    return spreadscore.topology_spread(info, fits, state)


@pytest.mark.parametrize(
    ("crowds", "skew", "scores"),
    [
        ("2103", 1, [20, 60, 100, 0]),
        ("2103", 2, [33, 66, 100, 16]),
        ("4321", 3, [44, 66, 77, 100]),
        ("1111", 1, [100, 100, 100, 100]),
        ("0000", 1, [100, 100, 100, 100]),
    ],
)
def test_nodes(crowds: str, skew: int, scores: list[int]) -> None:
    """Fewer pods on the node is better; a larger maxSkew waters the difference down."""
    nodes = [builders.node(name) for name in "abcd"]
    cache = _crowded(nodes, {n: "f" * int(c) for n, c in zip("abcd", crowds, strict=True)})
    assert _scores(cache, _soft(HOST, skew)) == scores


def test_nodes_that_do_not_fit_and_nodes_without_the_label() -> None:
    """The first do not count; a node without a label that is asked for has 0."""
    crowds = {"a": "ffff", "b": "ff", "x": "f", "y": "fff"}
    whole = [builders.node(name) for name in "abxy"]
    assert _scores(_crowded(whole, crowds), _soft(HOST), closed="y") == [33, 83, 100]
    bare = [builders.node(n, labels={} if n == "b" else {"rack": n}) for n in "abxy"]
    assert _scores(_crowded(bare, crowds), _soft("rack"), closed="y")[1] == 0


def _zoned(*names: str) -> list[Node]:
    return [builders.node(n, labels={"zone": "1" if n in "ab" else "2"}) for n in names]


@pytest.mark.parametrize(
    ("crowds", "labels", "closed", "scores"),
    [
        ({"a": "ffff", "b": "ff", "x": "f", "y": "fff"}, "", "y", [75, 75, 100]),
        ({"a": "ff", "b": "f", "x": "ff", "y": "ffff"}, "f", "by", [100, 63]),
        ({"a": "f", "b": "*", "y": "fb"}, "b", "", [60, 20, 100, 60]),
        ({"b": "b", "x": "f", "y": "*"}, "b", "", [100, 60, 40, 0]),
    ],
)
def test_zones_and_nodes(
    crowds: dict[str, str], labels: str, closed: str, scores: list[int]
) -> None:
    """Pods of a zone count for all its nodes, also those on nodes that do not fit; constraints add up."""
    more = {"": (), "f": (_soft(HOST),), "b": (_soft(HOST, label="bar"),)}[labels]
    cache = _crowded(_zoned(*"abxy"), crowds)
    assert _scores(cache, _soft("zone"), *more, closed=closed) == scores


def test_pods_without_constraints_are_spread_by_service_and_set() -> None:
    """Upstream's defaults; nothing is counted for a pod that is like no other."""
    cache = _crowded(
        [builders.node(name) for name in "abcd"], {"a": "ffff", "b": "fff", "c": "ff", "d": "f"}
    )
    assert _scores(cache) == [0, 0, 0, 0]
    about = ObjectMeta(name="s", namespace="shop")
    service = Service(metadata=about, spec=ServiceSpec(selector=FOO))
    cache.likeness.set_service(None, service)
    assert _scores(cache) == [44, 66, 77, 100]
    cache.likeness.set_service(service, None)
    assert _scores(cache) == [0, 0, 0, 0]
    selector = LabelSelector(match_labels=FOO)
    made_by = ReplicaSet(
        metadata=ObjectMeta(name="rs", namespace="shop"), spec=ReplicaSetSpec(selector=selector)
    )
    cache.likeness.set_set(None, made_by)
    query = cache.likeness.of(builders.pod("new", labels=FOO, owner="rs"))
    assert query is not None
    assert query.matches(FOO)
    assert cache.likeness.of(builders.pod("new", labels=FOO, owner="other")) is None


def test_a_crowd_is_counted_once_and_kept() -> None:
    """The answer follows pods that come and go; pods on their way out do not count."""
    cache = _crowded([builders.node("a")], {"a": "ff"})
    (node,) = cache.candidates()
    query = model.selectors.from_labels(FOO)
    assert (node.crowd("shop", query), node.crowd("other", query)) == (2, 0)
    cache.assume(model.pod_info(builders.pod("third", labels=FOO)), "a")
    assert node.crowd("shop", query) == 3
    cache.remove_pod(next(iter(node.pods)))
    assert node.crowd("shop", query) == 2
