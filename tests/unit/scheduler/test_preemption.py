"""Whom a pod of higher priority displaces, and whom it leaves alone."""

from netpod.api.meta import LabelSelector, ObjectMeta
from netpod.api.pod import Pod
from netpod.api.policy import (
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from netpod.scheduler import explain, filters, model, preemption
from netpod.scheduler.cache import Cache
from netpod.scheduler.explain import World
from tests.unit.scheduler import builders

CPU = {"cpu": "2"}


def ask(pod: Pod, cache: Cache, *budgets: PodDisruptionBudget) -> tuple[str, list[str], str]:
    """Return the node that would be cleared, of whom, and why none."""
    info, nodes = model.pod_info(pod), cache.candidates()
    outcome = filters.feasible(info, nodes, cache)
    assert not outcome.fits
    found, why = preemption.find(info, nodes, outcome, cache, budgets)
    if found is None:
        return "", [], why
    return found.node, [victim.key.name for victim in found.victims], why


def budget(allowed: int, label: str) -> PodDisruptionBudget:
    """A budget over app=LABEL that lets so many pods go."""
    return PodDisruptionBudget(
        metadata=ObjectMeta(name=label, namespace="shop"),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": label})),
        status=PodDisruptionBudgetStatus(disruptions_allowed=allowed),
    )


def test_only_as_many_go_as_must() -> None:
    """The lowest priority goes first, and of equals the one that started last."""
    placed = [
        (builders.pod("old", requests=CPU, started="2026-01-01T00:00:00Z"), "a"),
        (builders.pod("new", requests=CPU, started="2026-01-02T00:00:00Z"), "a"),
    ]
    cache = builders.cluster([builders.node("a")], placed)
    assert ask(builders.pod("p", requests=CPU, priority=5), cache) == ("a", ["new"], "")
    placed.append((builders.pod("least", requests={"cpu": "0"}, priority=-1), "a"))
    cache = builders.cluster([builders.node("a")], placed)
    # Evicting the least would not help, so it stays.
    assert ask(builders.pod("p", requests=CPU, priority=5), cache) == ("a", ["new"], "")


def test_the_node_whose_victims_matter_least_is_chosen() -> None:
    """Fewest broken budgets, then the lowest highest priority, then the fewest victims."""
    nodes = [builders.node("a"), builders.node("b"), builders.node("c")]
    big = {"cpu": "4"}
    placed = [
        (builders.pod("a1", requests=big, labels={"app": "db"}), "a"),
        (builders.pod("b1", requests=big, priority=3), "b"),
        (builders.pod("c1", requests=CPU, priority=2), "c"),
        (builders.pod("c2", requests=CPU, priority=2), "c"),
    ]
    cache = builders.cluster(nodes, placed)
    wanted = builders.pod("p", requests=big, priority=10)
    assert ask(wanted, cache)[:2] == ("a", ["a1"])
    assert ask(wanted, cache, budget(0, "db"))[:2] == ("c", ["c1", "c2"])
    assert ask(wanted, cache, budget(1, "db"))[:2] == ("a", ["a1"])


def test_a_budget_saves_one_of_two_equals() -> None:
    """Where either would do, the one that no budget protects goes."""
    placed = [
        (builders.pod("kept", requests=CPU, labels={"app": "db"}, started="2026-01-02"), "a"),
        (builders.pod("gone", requests=CPU, started="2026-01-01"), "a"),
    ]
    cache = builders.cluster([builders.node("a")], placed)
    wanted = builders.pod("p", requests=CPU, priority=1)
    assert ask(wanted, cache, budget(0, "db"))[:2] == ("a", ["gone"])
    assert ask(wanted, cache)[:2] == ("a", ["kept"])


def test_why_not_is_said_in_upstreams_words() -> None:
    """Nobody weaker is there, or nothing that eviction could change."""
    nodes = [builders.node("a"), builders.node("b", unschedulable=True)]
    cache = builders.cluster(nodes, [(builders.pod("x", requests=CPU, priority=9), "a")])
    why = ask(builders.pod("p", requests={"cpu": "3"}, priority=5), cache)[2]
    assert why == (
        "0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_preemption_policy_never_displaces_nobody() -> None:
    """It only goes before others in the queue."""
    cache = builders.cluster(
        [builders.node("a")], [(builders.pod("x", requests={"cpu": "4"}), "a")]
    )
    never = builders.pod("p", requests=CPU, priority=5, preempts=False)
    assert preemption.objection(model.pod_info(never), cache) == (
        "not eligible due to preemptionPolicy=Never."
    )


def test_room_made_for_a_pod_is_kept_for_it() -> None:
    """A nominated pod counts for those of lower priority, not for those above it."""
    cache = builders.cluster([builders.node("a")])
    nominated = model.pod_info(builders.pod("n", requests={"cpu": "3"}, priority=5))
    cache.nominated[nominated.key] = (nominated, "a")

    def fits(priority: int) -> bool:
        info = model.pod_info(builders.pod("p", requests=CPU, priority=priority))
        return bool(filters.feasible(info, cache.candidates(), cache).fits)

    assert [fits(priority) for priority in (0, 5, 6)] == [False, False, True]


def test_explain_shows_every_nodes_filter_and_scores() -> None:
    """The chosen node first, then the other that fits, then why not the third."""
    nodes = [builders.node("a"), builders.node("b", cpu="8"), builders.node("c", cpu="1")]
    pod = builders.pod("p", requests=CPU)
    found = explain.explain(pod, World(nodes=nodes))
    assert [n.node for n in found.nodes] == ["b", "a", "c"]
    assert found.chosen == "b"
    assert found.nodes[0].total > found.nodes[1].total
    assert found.nodes[0].scores["NodeResourcesFit"] > found.nodes[1].scores["NodeResourcesFit"]
    assert (found.nodes[2].plugin, found.nodes[2].reasons) == (
        "NodeResourcesFit",
        ("Insufficient cpu",),
    )
