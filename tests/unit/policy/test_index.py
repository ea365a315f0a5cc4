"""The table follows what changes, with commands for what changed only."""

import random

from netpod.api.meta import Key, key_of
from netpod.policy import compile, model
from netpod.policy.index import Index
from tests.unit.policy import builders

Y = {"matchLabels": {"ns": "y"}}


def index_with(*policies: object, node: str = "node1") -> Index:
    """The nine pods and these policies, handed over."""
    index = Index(node)
    for name in builders.NAMESPACES:
        index.put_namespace(name, builders.namespace(name).metadata.labels)
    for name in builders.ALL:
        put(index, builders.pod(name))
    for policy in policies:
        put_policy(index, policy)
    index.table.applied()
    return index


def put(index: Index, pod: object) -> None:
    """Take a pod in."""
    index.put_pod(key_of(pod), model.pod_of(pod))  # type: ignore[arg-type]


def put_policy(index: Index, policy: object) -> None:
    """Take a policy in."""
    index.put_policy(key_of(policy), model.policy_of(policy))  # type: ignore[arg-type]


ALLOW_Y = builders.policy("allow-y", ingress=[{"from": [{"namespaceSelector": Y}]}])


def test_a_pod_that_joins_is_one_element() -> None:
    """A peer that starts elsewhere costs one element of its selector's set, no rule."""
    index = index_with(ALLOW_Y)
    put(index, builders.pod("y/new", address="10.244.2.77", node="node2"))
    (line,) = index.table.pending().change.splitlines()
    assert line.startswith("add element ip netpod-policy pods-")
    assert line.endswith("{ 10.244.2.77 }")


def test_a_pod_nobody_chooses_is_nothing() -> None:
    """What no selector chooses and no policy isolates here changes nothing."""
    index = index_with(ALLOW_Y)
    put(index, builders.pod("z/new", address="10.244.2.77", node="node2"))
    assert not index.table.pending().change


def test_a_local_pod_is_isolated_by_elements() -> None:
    """A pod that starts here joins the chain of its policies; the chain is not written again."""
    index = index_with(ALLOW_Y)
    put(index, builders.pod("x/new", address="10.244.1.77", node="node1"))
    delta = index.table.pending()
    assert not delta.prepare
    lines = delta.change.splitlines()
    assert all(line.startswith("add element") for line in lines)
    assert len(lines) == 2


def test_a_pod_that_ends_leaves_the_sets() -> None:
    """An address that another pod may get is allowed nothing."""
    index = index_with(ALLOW_Y)
    put(index, builders.pod("y/a", phase="Succeeded"))
    (line,) = index.table.pending().change.splitlines()
    assert line.startswith("delete element ip netpod-policy pods-")


def test_labels_of_a_namespace_choose_its_pods() -> None:
    """A namespace that gets the label brings all its pods in; one that loses it takes them out."""
    index = index_with(ALLOW_Y)
    index.put_namespace("z", {"ns": "y"})
    assert index.table.pending().change.count("add element") == 3
    index.table.applied()
    index.put_namespace("y", {"ns": "other"})
    assert index.table.pending().change.count("delete element") == 3


def test_an_address_belongs_to_the_younger_pod() -> None:
    """What is left in the API of the pod that had an address before does not take it back."""
    index = index_with(ALLOW_Y)
    old = builders.pod("y/a")
    put(index, builders.pod("z/new", address=old.status.pod_ip, node="node2"))
    assert index.table.pending().change.startswith("delete element")
    index.put_pod(Key("y", "a"), None)
    assert index.table.pending().change.startswith("delete element")


def test_without_policies_for_local_pods_there_is_nothing() -> None:
    """A policy whose pods run elsewhere costs this node nothing."""
    index = index_with(builders.policy("p", podSelector={"matchLabels": {"pod": "nobody"}}))
    assert index.table.empty


def test_deleting_the_last_policy_empties_the_table() -> None:
    """Chains, sets and elements go with the policy that needed them."""
    index = index_with(ALLOW_Y)
    index.put_policy(key_of(ALLOW_Y), None)
    table = index.table
    assert table.empty
    assert not table.sets
    assert not any(table.elements.values())


def test_rules_name_their_policy() -> None:
    """Every rule says whose it is, the drop says whom it serves."""
    index = index_with(ALLOW_Y)
    (rules,) = index.table.chains.values()
    assert rules[0].endswith('counter return comment "x/allow-y"')
    assert rules[-1] == 'counter drop comment "isolated by x/allow-y"'


def test_steps_end_where_a_fresh_start_does() -> None:
    """Whatever came and went, the table is the one that a fresh index makes of what is there."""
    rng = random.Random(7)
    index = index_with()
    policies: dict[str, object] = {}
    pods = {name: builders.pod(name) for name in builders.ALL}
    for _ in range(300):
        name = rng.choice(builders.ALL)
        match rng.randrange(3):
            case 0:
                pods[name] = builders.pod(
                    name,
                    labels={"pod": rng.choice("abc"), "tier": rng.choice("de")},
                    phase=rng.choice(("Running", "Running", "Failed")),
                )
                put(index, pods[name])
            case 1:
                rule = {
                    "from": [{"namespaceSelector": {"matchLabels": {"ns": rng.choice("xyz")}}}],
                    "ports": [{"port": rng.choice(("serve-80-tcp", 80, 81))}],
                }
                made = builders.policy(
                    f"p{rng.randrange(4)}",
                    rng.choice("xy"),
                    podSelector={"matchLabels": {"tier": rng.choice("de")}},
                    ingress=[rule],
                    policyTypes=rng.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"])),
                )
                policies[str(key_of(made))] = made
                put_policy(index, made)
            case _:
                if policies:
                    gone = policies.pop(rng.choice(list(policies)))
                    index.put_policy(key_of(gone), None)  # type: ignore[arg-type]
        fresh = Index("node1")
        for space in builders.NAMESPACES:
            fresh.put_namespace(space, builders.namespace(space).metadata.labels)
        for pod in pods.values():
            put(fresh, pod)
        for policy in policies.values():
            put_policy(fresh, policy)
        assert index.table.chains == fresh.table.chains
        assert index.table.sets == fresh.table.sets
        assert index.table.elements == fresh.table.elements


def test_ranges_that_overlap_are_one() -> None:
    """The kernel refuses a set whose ranges overlap."""
    policy = builders.policy(
        "p", ingress=[{"ports": [{"port": 80, "endPort": 90}, {"port": 85, "endPort": 99}]}]
    )
    rules = compile.chain(model.Direction.INGRESS, [model.policy_of(policy)])
    assert rules[0] == 'tcp dport 80-99 counter return comment "x/p"'
