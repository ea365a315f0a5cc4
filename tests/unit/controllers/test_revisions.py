"""Templates, hashes, revisions and history."""

from netpod.controllers import revisions, rollout
from tests.unit.controllers import builders


def test_hash_depends_on_template_and_collisions_only() -> None:
    """The same template gives the same name in every process; a collision gives another."""
    first = revisions.template_hash(builders.template(), None)
    assert first == revisions.template_hash(builders.template(), None)
    assert first != revisions.template_hash(builders.template(), 1)
    assert first != revisions.template_hash(builders.template("web:2"), None)
    assert set(first) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_new_replica_set_is_found_by_template_without_its_hash_label() -> None:
    """The label pod-template-hash does not make a template another one."""
    wanted = builders.deployment(image="web:2")
    made = revisions.new_replica_set(wanted, 3, 1)
    other = builders.replica_set("old", 3)
    assert revisions.find_new(wanted, [other, made]) is made
    labels = made.spec.template.metadata.labels
    assert labels["pod-template-hash"] == made.metadata.labels["pod-template-hash"]
    assert made.spec.selector is not None
    assert made.spec.selector.match_labels == {
        **builders.APP,
        "pod-template-hash": labels["pod-template-hash"],
    }


def test_rollback_gets_the_next_revision_and_remembers_the_old() -> None:
    """A template that returns is revision 3, and was 1."""
    found = revisions.new_annotations(builders.deployment(), {rollout.REVISION: "1"}, 3)
    assert found[rollout.REVISION] == "3"
    assert found[revisions.HISTORY] == "1"


def test_a_deployments_own_bookkeeping_is_not_copied() -> None:
    """kubectl's annotation stays on the Deployment; the user's go to the ReplicaSet."""
    wanted = builders.deployment(
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"}
    )
    found = revisions.new_annotations(wanted, {}, 1)
    assert found == {"team": "a", rollout.REVISION: "1"}


def test_history_beyond_the_limit_is_surplus_oldest_first() -> None:
    """Only empty, settled ReplicaSets go."""
    wanted = builders.deployment(history=1)
    old = [builders.replica_set(f"r{n}", 0, revision=n) for n in (3, 1, 2)]
    busy = builders.replica_set("r0", 0, revision=0, there=1)
    assert [rs.metadata.name for rs in revisions.surplus(wanted, [*old, busy])] == ["r1", "r2"]
